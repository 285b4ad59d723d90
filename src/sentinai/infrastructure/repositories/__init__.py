"""Repositories: the statements, one module per noun."""
