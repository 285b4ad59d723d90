"""Was this said by the installation itself, or by somebody who could write to its database?"""

import hashlib
import hmac

KEY_ID_CHARS = 16


def key_id(key: bytes) -> str:
    """Tells keys apart without giving them away."""
    return hashlib.sha256(b"sentinai signing key" + key).hexdigest()[:KEY_ID_CHARS]


def sign(key: bytes, content: bytes) -> str:
    """HMAC-SHA-256, as hexadecimal digits."""
    return hmac.new(key, content, hashlib.sha256).hexdigest()


def is_signed(key: bytes, content: bytes, signature: str) -> bool:
    return hmac.compare_digest(sign(key, content), signature)
