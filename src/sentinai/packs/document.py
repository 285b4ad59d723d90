"""How is the text of a pack read, so that every later finding can name its line and column?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from sentinai.errors import Problem, Rejected
from sentinai.models.json import Json
from sentinai.packs.content_hash import content_hash
from sentinai.packs.pointer import pointer_part

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 40
NODES_MAX = 50_000
"""Keys and values together. Reading takes about 60 µs for each, so this bounds a hostile document to 3 s."""
KINDS = ("DomainPack", "TenantPolicyPack")


class TextPlace(NamedTuple):
    """Both count from 1."""

    line: int
    column: int


_INT = re.compile(r"[-+]?[0-9]+")
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_NULL = ("", "~", "null", "Null", "NULL")
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS = frozenset({"map", "seq", "str", "null", "bool", "int", "float", "timestamp", "merge", "value"})
_SURROGATE = re.compile("[\\ud800-\\udfff]")


@dataclass(frozen=True, slots=True)
class PackDocument:
    """A parsed pack. `places` has the place of every value by its JSON pointer."""

    kind: str
    name: str
    """The domain's name."""
    version: str
    content: dict[str, Json]
    content_hash: str
    places: Mapping[str, TextPlace]

    def problem(self, pointer: str, detail: str) -> Problem:
        """A finding, with the place of the nearest value that is there."""
        known = pointer
        while known not in self.places:
            known = known.rpartition("/")[0]
        line, column = self.places[known]
        return Problem(pointer, detail, line, column)


def parse(text: str | bytes) -> PackDocument:
    """Read YAML 1.2 or JSON. Raises Rejected, with places, for what cannot be read at all."""
    root = _compose(_decoded(text))
    reader = _Reader()
    content = reader.value(root, "")
    if not isinstance(content, dict):
        raise _rejected([Problem("", "a pack is a mapping that begins with `kind`", 1, 1)])
    if reader.problems:
        raise _rejected(reader.problems)
    kind = content.get("kind")
    if kind not in KINDS:
        line, column = reader.places.get("/kind", (1, 1))
        raise _rejected([Problem("/kind", f"`kind` has to be one of {', '.join(KINDS)}", line, column)])
    name, version = str(content.get("domainName", "")), str(content.get("version", ""))
    return PackDocument(kind, name, version, content, content_hash(content), reader.places)


def _decoded(text: str | bytes) -> str:
    try:
        encoded = text.encode() if isinstance(text, str) else text
        if len(encoded) > BYTES_MAX:
            raise _rejected([Problem("", f"the document is larger than {BYTES_MAX} bytes", 1, 1)])
        decoded = encoded.decode()
    except UnicodeError as error:
        raise _rejected([Problem("", "the document is not UTF-8", 1, 1)]) from error
    if "\0" in decoded:
        raise _rejected([Problem("", "the document holds a NUL character", *_place(decoded, decoded.index("\0")))])
    return decoded


def _place(text: str, position: int) -> TextPlace:
    return TextPlace(text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position))


class _Composer(Composer):
    """Refuses aliases (an expansion could be exponential), and more nodes than a pack can need, while it reads."""

    warn_double_anchors = False

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader=loader)
        self._nodes = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        self._nodes += 1
        if isinstance(event, AliasEvent):
            raise ComposerError(None, None, "aliases are not accepted: write the value out", event.start_mark)
        if self.depth > DEPTH_MAX:
            raise ComposerError(None, None, f"nested deeper than {DEPTH_MAX} levels", event.start_mark)
        if self._nodes > NODES_MAX:
            raise ComposerError(None, None, f"more than {NODES_MAX} keys and values", event.start_mark)
        return super().compose_node(parent, index)


def _compose(text: str) -> Node:
    yaml = YAML(typ="safe", pure=True)
    yaml.Composer = _Composer
    try:
        root: Node | None = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        detail = ": ".join(str(part) for part in (error.context, error.problem) if part)
        raise _rejected([Problem("", detail, line, column)]) from error
    except ReaderError as error:
        detail = f"the character {error.character!r} is not accepted"
        raise _rejected([Problem("", detail, *_place(text, error.position))]) from error
    except (YAMLError, ValueError, AttributeError, IndexError) as error:
        raise _rejected([Problem("", f"the document cannot be read: {type(error).__name__}", 1, 1)]) from error
    if root is None:
        raise _rejected([Problem("", "the document is empty", 1, 1)])
    return root


class _Reader:
    """Turns nodes into plain values, and remembers where each stood."""

    def __init__(self) -> None:
        self.places: dict[str, TextPlace] = {}
        self.problems: list[Problem] = []

    def value(self, node: Node, pointer: str) -> Json:
        place = TextPlace(node.start_mark.line + 1, node.start_mark.column + 1)
        self.places[pointer] = place
        if str(node.tag).removeprefix(_TAG) not in _PLAIN_TAGS:
            self.problems.append(Problem(pointer, f"the tag {node.tag} is not accepted", *place))
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, pointer)
        if isinstance(node, SequenceNode):
            return [self.value(inner, f"{pointer}/{n}") for n, inner in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, pointer, place)

    def _mapping(self, node: MappingNode, pointer: str) -> dict[str, Json]:
        content: dict[str, Json] = {}
        for key_node, value_node in node.value:
            place = TextPlace(key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            key = self._scalar(key_node, pointer, place) if isinstance(key_node, ScalarNode) else None
            if not isinstance(key, str) or key == "<<":
                self.problems.append(Problem(pointer, "keys have to be text: put it in quotes", *place))
                continue
            inner = pointer + pointer_part(key)
            if key in content:
                self.problems.append(Problem(inner, f"the key {key!r} is there twice", *place))
                continue
            content[key] = self.value(value_node, inner)
        return content

    def _scalar(self, node: ScalarNode, pointer: str, place: TextPlace) -> Json:
        """YAML 1.2 core types; dates, octals and anything else stay the text they are."""
        text: str = node.value
        match str(node.tag).removeprefix(_TAG):
            case "null" if text in _NULL:
                return None
            case "bool" if text in _BOOL:
                return _BOOL[text]
            case "int" if _INT.fullmatch(text):
                return self._int(text, pointer, place)
            case "float":
                return self._float(text, pointer, place)
        return self._text(text, pointer, place)

    def _text(self, text: str, pointer: str, place: TextPlace) -> str:
        """JSON writes characters beyond 16 bits as two escapes, which belong together."""
        if text.isascii() or not _SURROGATE.search(text):
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeError:
            self.problems.append(Problem(pointer, "half of a surrogate pair is not text", *place))
            return ""

    def _int(self, text: str, pointer: str, place: TextPlace) -> int:
        number = int(text) if len(text) <= 20 else 2**64
        if not -(2**63) <= number < 2**63:
            self.problems.append(Problem(pointer, "an integer beyond 64 bits: write it as text", *place))
        return number

    def _float(self, text: str, pointer: str, place: TextPlace) -> float | None:
        try:
            number = float(text)
        except ValueError:
            number = float("nan")
        if number in (float("inf"), float("-inf")) or number != number:  # noqa: PLR0124 - NaN is not itself
            self.problems.append(Problem(pointer, f"{text!r} is not a number that JSON has", *place))
            return None
        return number


def _rejected(problems: list[Problem]) -> Rejected:
    first = problems[0]
    return Rejected(
        f"The pack cannot be read: line {first.line}, column {first.column}: {first.detail}", problems=problems
    )
