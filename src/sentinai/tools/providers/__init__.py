"""Providers: how a tool is reached, one module each, listed in the catalog."""
