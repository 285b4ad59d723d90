"""Tools: the gate every call passes, the deadline around it, and the providers that make it."""
