"""How is one step of an RFC 6901 JSON pointer written?"""


def pointer_part(key: object) -> str:
    """`/key`, with `~` and `/` inside the key escaped."""
    return "/" + str(key).replace("~", "~0").replace("/", "~1")
