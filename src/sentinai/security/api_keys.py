"""What is an API key, and what of it is stored?"""

import hashlib
import secrets

PREFIX = "sk_sentinai_"
SECRET_BYTES = 32


def new_api_key() -> tuple[str, bytes]:
    """A new secret (256 random bits; shown once) and its hash (what is stored)."""
    secret = PREFIX + secrets.token_urlsafe(SECRET_BYTES)
    return secret, hash_api_key(secret)


def hash_api_key(secret: str) -> bytes:
    """SHA-256: the secret has full entropy, so a slow password hash would add nothing."""
    return hashlib.sha256(secret.encode(errors="replace")).digest()


def key_hint(secret: str) -> str:
    """The last four characters, for people to tell keys apart."""
    return f"…{secret[-4:]}"
