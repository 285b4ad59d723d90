"""What identifies the content of a pack?"""

import hashlib

import msgspec

from sentinai.packs.content import Content

_encode = msgspec.json.Encoder(order="sorted").encode


def content_hash(content: Content) -> str:
    """SHA-256 (hex) of the content as JSON with sorted keys: order and layout of the document do not matter."""
    return hashlib.sha256(_encode(content)).hexdigest()
