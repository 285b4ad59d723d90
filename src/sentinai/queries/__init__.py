"""Queries: what people and systems read; one module per noun, filters and page cursors as values, no side effect."""
