"""Which names may the parts of a pack use of each other?

Names are taken from the document as it is written: a type whose declaration is broken is still a type, and nobody who
names it is told that there is none. Where even the names cannot be read, nothing is said about them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sentinai.models.json import Json
from sentinai.packs.checks.spelling import Spelling
from sentinai.packs.content import Content
from sentinai.packs.vocabulary import Vocabulary

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class KnownNames:
    """None stands for names that are not known here."""

    vocabulary: Vocabulary
    types: Names | None = None
    tools: Names | None = None
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """JSON Schemas of the tools' inputs."""
    playbooks: Names | None = None
    attributes: Spelling | None = None
    """What entities declare; None where the pack declares no attribute at all."""
    context: Spelling | None = None
    """What normalizedContext may hold; None where the pack declares no attribute at all."""


def known_of(domain: Content, vocabulary: Vocabulary) -> KnownNames:
    """What a Domain Pack declares, as far as it can be read."""
    tools = domain.get("tools", {})
    attributes = _attributes(domain.get("entities", {}))
    fields = _united(
        keys_of(s.get("fields", {})) if isinstance(s, dict) else None for s in _list(domain.get("sources"))
    )
    return KnownNames(
        vocabulary,
        types=keys_of(domain.get("exceptionTypes")),
        tools=keys_of(tools),
        inputs={
            name: tool.get("inputSchema")
            for name, tool in (tools.items() if isinstance(tools, dict) else ())
            if isinstance(tool, dict)
        },
        playbooks=names_of(domain.get("playbooks", [])),
        attributes=Spelling(attributes) if attributes is not None else None,
        context=Spelling(attributes | fields) if attributes is not None and fields is not None else None,
    )


def keys_of(declared: Json) -> Names | None:
    return frozenset(declared) if isinstance(declared, dict) else None


def names_of(entries: Json) -> Names | None:
    """The names of a list's entries; None if one of them has none that can be read."""
    if not isinstance(entries, list):
        return None
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    readable = frozenset(name for name in names if isinstance(name, str))
    return None if any(not isinstance(name, str) for name in names) else readable


def _attributes(entities: Json) -> Names | None:
    if not isinstance(entities, dict):
        return None
    declared = [entity.get("attributes", {}) if isinstance(entity, dict) else None for entity in entities.values()]
    return _united(map(keys_of, declared)) or None


def _united(names: Iterable[Names | None]) -> Names | None:
    """None if one of them is not known."""
    found: Names = frozenset()
    for some in names:
        if some is None:
            return None
        found |= some
    return found


def _list(value: Json) -> Json:
    return value if isinstance(value, list) else [None] if value is not None else []
