"""What is wrong with a pack whose parts have the right form, one noun per module."""
