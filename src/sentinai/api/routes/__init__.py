"""Routes, one module per noun, listed in the catalog."""
