"""SentinAI: takes business exceptions of many tenants from arrival to resolution."""

__version__ = "0.1.0"
