"""Requests and responses of the HTTP interface, one noun per module."""
