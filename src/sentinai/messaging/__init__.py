"""Messaging: the broker protocol, its engines, cursors and parked events."""
