"""SentinAI: takes business exceptions of many tenants from arrival to resolution."""
