"""The documents as typed values, one noun per module: what each field means, its default, and what it may hold."""
