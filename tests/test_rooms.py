"""Does every statement live where statements live, lean nothing on what is beside it, and mean every name one thing?"""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "sentinai"
WITH_STATEMENTS = ("infrastructure", "messaging", "cli/doctor.py")
"""Rooms, and the one command that looks at the database itself."""
COMPOSING = ("infrastructure", "messaging")
DEFINED_TWICE = {"Connection": {"infrastructure/database.py", "messaging/broker.py"}}
"""The driver's connection, in two rooms that may not import each other, and in both the same."""
ANY_PER_1000_LINES_MAX = 8

_NAME = r'[\w."{}$]+'
_OBJECT = (
    r"(or\s+replace\s+|unique\s+|temp\w*\s+|unlogged\s+|materialized\s+)?"
    r"(table|index|view|schema|database|role|user|function|procedure|trigger|sequence|type|domain|policy|extension)\b"
)
STATEMENT = re.compile(
    rf"""\s*\(?\s*(
      select\b
      | insert\s+into\b
      | update\s+(only\s+)?{_NAME}(\s+(as\s+)?\w+)?\s+set\b
      | delete\s+from\b
      | with\s+(recursive\s+)?{_NAME}\s*(\([^)]*\)\s*)?as\s+(not\s+)?(materialized\s*)?\(
      | (create|alter|drop)\s+{_OBJECT}
      | (listen|notify)\s+{_NAME}\s*(,|;|$)
      | set\s+local\b
      | lock\s+table\b
      | truncate\s
    )""",
    re.IGNORECASE | re.VERBOSE,
)


def _outside(*rooms: str) -> list[Path]:
    inside = [SOURCE / room for room in rooms]
    return [m for m in sorted(SOURCE.rglob("*.py")) if not any(m == room or room in m.parents for room in inside)]


def _name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def statements_in(code: str) -> list[str]:
    """String literals, also the beginnings of f-strings, that look like SQL; docstrings are nobody's statements."""
    tree = ast.parse(code)
    no_values = {id(n.value) for n in ast.walk(tree) if isinstance(n, ast.Expr)}
    no_values |= {id(part) for n in ast.walk(tree) if isinstance(n, ast.JoinedStr) for part in n.values}
    return [text for node, text in _texts(tree) if id(node) not in no_values and STATEMENT.match(text)]


def _texts(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value
        elif isinstance(node, ast.JoinedStr):  # what is put in is a name, or a further part
            yield node, "".join(str(v.value) if isinstance(v, ast.Constant) else "{}" for v in node.values)


def imported_by(code: str) -> set[str]:
    """Modules that are imported, wherever in the file; of `from a import b` also a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def names_defined_in(code: str) -> set[str]:
    """Classes, and aliases of types: names in CamelCase that a module assigns. Constants and single letters are neither."""
    found: set[str] = set()
    for node in ast.parse(code).body:
        if isinstance(node, ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
            found |= {name for name in names if name[0].isupper() and not name.isupper()}
    return found


def tuples_without_names(code: str) -> list[str]:
    """Parameters that take a pair or a triple, of which nobody can say what stands first."""
    functions = [n for n in ast.walk(ast.parse(code)) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [
        f"{function.name}({parameter.arg})"
        for function in functions
        for parameter in _parameters(function.args)
        if parameter.annotation is not None and _takes_a_tuple(parameter.annotation)
    ]


def _parameters(of: ast.arguments) -> list[ast.arg]:
    starred = [one for one in (of.vararg, of.kwarg) if one is not None]
    return [*of.posonlyargs, *of.args, *of.kwonlyargs, *starred]


def _takes_a_tuple(annotation: ast.expr) -> bool:
    """Also where it may be None; `tuple[a, ...]` is a sequence, and needs no names."""
    if isinstance(annotation, ast.BinOp):
        return _takes_a_tuple(annotation.left) or _takes_a_tuple(annotation.right)
    text = ast.unparse(annotation).strip("'")
    return text.startswith("tuple[") and "..." not in text


def count_any(code: str) -> int:
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(ast.parse(code)))


def _is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


@pytest.mark.parametrize("path", _outside(*WITH_STATEMENTS), ids=_name)
def test_no_statement_stands_outside_of_the_rooms_for_statements(path: Path) -> None:
    assert statements_in(path.read_text()) == [], "move it into infrastructure/repositories/ or messaging/"


@pytest.mark.parametrize("path", _outside(*COMPOSING), ids=_name)
def test_no_query_is_composed_outside_of_the_rooms_for_statements(path: Path) -> None:
    composing = ("sqlalchemy", "sentinai.infrastructure.tables")
    assert [m for m in imported_by(path.read_text()) if any(_is_within(m, c) for c in composing)] == []


@pytest.mark.parametrize("path", _outside(), ids=_name)
def test_the_product_does_not_need_its_benchmark(path: Path) -> None:
    assert [m for m in imported_by(path.read_text()) if _is_within(m, "bench") or _is_within(m, "tests")] == []


@pytest.mark.parametrize(
    "literal",
    [
        '"select 1"',
        '"""\n  SELECT name from tenant"""',
        '"insert into event (a) values ($1)"',
        '"update exception e set a = 1"',
        'f"update {table} set a = 1"',
        '"delete from parked"',
        'f"delete from {table}"',
        '"with due as (select 1) select 1"',
        '"with recursive t(a) as (select 1) select 1"',
        '"create unique index a on b (c)"',
        '"alter table a add b int"',
        '"drop table a"',
        '"listen sentinai_events"',
        "\"notify sentinai_events, 'x'\"",
        '"set local role sentinai_api"',
        '"lock table event in exclusive mode"',
    ],
)
def test_a_planted_statement_is_seen(literal: str) -> None:
    assert len(statements_in(f"x = tx.execute({literal})")) == 1


@pytest.mark.parametrize(
    "literal",
    [
        '"Create a tenant"',
        '"Create, list and suspend tenants"',
        '"Update the settings, then start"',
        '"With Kafka as the broker"',
        '"Listen on this port, and say so"',
        '"Drop what is left"',
    ],
)
def test_a_sentence_is_no_statement(literal: str) -> None:
    assert statements_in(f"help = {literal}") == []


def test_a_planted_import_is_seen() -> None:
    code = "def f():\n    from sqlalchemy.ext import asyncio\n    from sentinai.infrastructure import tables\n"
    assert {"sqlalchemy.ext", "sentinai.infrastructure.tables"} <= imported_by(code)


@pytest.mark.parametrize("path", sorted((SOURCE / "workers").glob("*.py")), ids=_name)
def test_a_loop_decides_nothing(path: Path) -> None:
    """Business stands in the stages; a loop that imports an agent or the machine of runs would be deciding by itself."""
    rooms = ("sentinai.agents", "sentinai.playbooks")
    assert [m for m in imported_by(path.read_text()) if any(_is_within(m, room) for room in rooms)] == []


def test_no_name_is_defined_twice() -> None:
    places: dict[str, set[str]] = defaultdict(set)
    for path in _outside():
        for name in names_defined_in(path.read_text()):
            places[name].add(_name(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == DEFINED_TWICE


@pytest.mark.parametrize("path", _outside(), ids=_name)
def test_no_parameter_is_a_tuple_without_names(path: Path) -> None:
    assert tuples_without_names(path.read_text()) == [], "make it a NamedTuple, or parameters of their own"


def test_few_types_are_left_open() -> None:
    codes = [path.read_text() for path in _outside()]
    lines = sum(code.count("\n") for code in codes)
    assert sum(map(count_any, codes)) * 1000 <= ANY_PER_1000_LINES_MAX * lines


def test_a_planted_name_is_seen() -> None:
    code = 'T = TypeVar("T")\nLIMIT = 3\nlog = 1\nRow = rows.Row\nKey: TypeAlias = str\nclass Source:\n    Inner = 1\n'
    assert names_defined_in(code) == {"Row", "Key", "Source"}


@pytest.mark.parametrize(
    "parameters",
    [
        "end: tuple[str, int]",
        "*, end: tuple[str, int]",
        "end: tuple[str, int], /",
        "*ends: tuple[str, int]",
        "end: tuple[str, int] | None = None",
        "end: 'tuple[str, int]'",
    ],
)
def test_a_planted_tuple_is_seen(parameters: str) -> None:
    assert len(tuples_without_names(f"class A:\n    async def f(self, {parameters}): ...")) == 1


@pytest.mark.parametrize(
    "parameters", ["ends: tuple[str, ...]", "end: StreamEnd", "end", "ends: list[tuple[str, int]]"]
)
def test_a_sequence_is_no_tuple_without_names(parameters: str) -> None:
    assert tuples_without_names(f"def f({parameters}): ...") == []


def test_a_planted_any_is_seen() -> None:
    assert count_any("def f(a: Any, b: dict[str, Any]) -> Any: ...") == 3
