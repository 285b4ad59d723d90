"""Security: masking, API keys, roles, secret references and the guard on outgoing addresses."""
