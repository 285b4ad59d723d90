"""Values named by business nouns."""
