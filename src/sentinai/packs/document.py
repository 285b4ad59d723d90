"""How is the text of a pack read, so that every later finding can name its line and column?"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sentinai.errors import Problem, Rejected
from sentinai.packs.content_hash import content_hash

BYTES_MAX = 1024 * 1024
DEPTH_MAX = 40
KINDS = ("DomainPack", "TenantPolicyPack")

Place = tuple[int, int]
"""(line, column), both from 1"""

_INT = re.compile(r"[-+]?[0-9]+")
_TAG = "tag:yaml.org,2002:"


@dataclass(frozen=True, slots=True)
class PackDocument:
    """A parsed pack. `places` has the place of every value by its JSON pointer."""

    kind: str
    name: str
    """The domain's name."""
    version: str
    content: dict[str, Any]
    content_hash: str
    places: Mapping[str, Place]

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
    content = reader.value(root, "", 0)
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
    if len(text) > BYTES_MAX:
        raise _rejected([Problem("", f"the document is larger than {BYTES_MAX} bytes", 1, 1)])
    try:
        decoded = text.decode() if isinstance(text, bytes) else text
        decoded.encode()
    except UnicodeError as error:
        raise _rejected([Problem("", f"the document is not UTF-8: {error}", 1, 1)]) from error
    if "\0" in decoded:
        raise _rejected(
            [Problem("", "the document holds a NUL character", decoded[: decoded.index("\0")].count("\n") + 1, 1)]
        )
    return decoded


def _compose(text: str) -> Node:
    try:
        root: Node | None = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        raise _rejected([Problem("", str(error.problem or error.context), line, column)]) from error
    except (YAMLError, ValueError, RecursionError, AttributeError) as error:
        raise _rejected([Problem("", f"the document cannot be read: {type(error).__name__}", 1, 1)]) from error
    if root is None:
        raise _rejected([Problem("", "the document is empty", 1, 1)])
    return root


class _Reader:
    """Turns nodes into plain values, and remembers where each stood."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.problems: list[Problem] = []
        self._seen: set[int] = set()

    def value(self, node: Node, pointer: str, depth: int) -> Any:
        place = node.start_mark.line + 1, node.start_mark.column + 1
        self.places[pointer] = place
        if id(node) in self._seen:
            self.problems.append(Problem(pointer, "aliases are not accepted: write the value out", *place))
            return None
        self._seen.add(id(node))
        if depth > DEPTH_MAX:
            self.problems.append(Problem(pointer, f"nested deeper than {DEPTH_MAX} levels", *place))
            return None
        if isinstance(node, MappingNode):
            return self._mapping(node, pointer, depth)
        if isinstance(node, SequenceNode):
            return [self.value(inner, f"{pointer}/{n}", depth + 1) for n, inner in enumerate(node.value)]
        assert isinstance(node, ScalarNode)
        return self._scalar(node, pointer, place)

    def _mapping(self, node: MappingNode, pointer: str, depth: int) -> dict[str, Any]:
        content: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = key_node.start_mark.line + 1, key_node.start_mark.column + 1
            if not isinstance(key_node, ScalarNode) or key_node.value == "<<":
                self.problems.append(Problem(pointer, "keys have to be plain text", *place))
                continue
            inner = f"{pointer}/{key_node.value.replace('~', '~0').replace('/', '~1')}"
            if key_node.value in content:
                self.problems.append(Problem(inner, f"the key {key_node.value!r} is there twice", *place))
                continue
            content[key_node.value] = self.value(value_node, inner, depth + 1)
        return content

    def _scalar(self, node: ScalarNode, pointer: str, place: Place) -> Any:
        """YAML 1.2 core types; dates and anything else stay the text they are."""
        text: str = node.value
        match str(node.tag).removeprefix(_TAG):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if _INT.fullmatch(text):
                number = int(text) if len(text) <= 20 else 2**64
                if not -(2**63) <= number < 2**63:
                    self.problems.append(Problem(pointer, "an integer beyond 64 bits: write it as text", *place))
                return number
            case "float":
                return self._float(text, pointer, place)
        return text

    def _float(self, text: str, pointer: str, place: Place) -> float | None:
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
