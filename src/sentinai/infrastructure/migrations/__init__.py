"""Alembic environment and migrations: forward only, safe on a running system."""
