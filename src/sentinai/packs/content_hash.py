"""What identifies the content of a pack?"""

import hashlib
from collections.abc import Mapping
from typing import Any

import msgspec

_encode = msgspec.json.Encoder(order="sorted").encode


def content_hash(content: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of the content as JSON with sorted keys: order and layout of the document do not matter."""
    return hashlib.sha256(_encode(content)).hexdigest()
