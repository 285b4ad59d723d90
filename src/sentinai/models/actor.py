"""Who did something, as events name it: `user:<subject>/<key id>`, `agent:<stage>`, `tool:<name>` or `system:<part>`.

A subject is a person or a service; it may have many keys. Every rule about people compares subjects, never keys. Keys made
before subjects were known are subjects of their own: `user:<key id>`.
"""

import unicodedata
from uuid import UUID

_USER = "user:"


def canonical(subject: str) -> str | None:
    """How a subject is written and compared: one form of each letter, small, single blanks; None for what is no name.

    `Dora`, ` dora` and `DORA` are one person; so are two ways to write é.
    """
    text = " ".join(unicodedata.normalize("NFKC", subject).casefold().split())
    return text if text and text.isprintable() and not any(unicodedata.category(c) == "Cf" for c in text) else None


def user(subject: str, key_id: UUID) -> str:
    """The actor of an event that a caller's key caused."""
    return f"{_USER}{subject}/{key_id}"


def subject_of(actor: str) -> str | None:
    """The person or service behind an event; None for agents, tools and the system."""
    return (
        actor.removeprefix(_USER).rpartition("/")[0] or actor.removeprefix(_USER) if actor.startswith(_USER) else None
    )
