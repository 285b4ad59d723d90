"""Does the tree keep the house rules that no linter checks: names, sizes, empty packages, complete catalogs?"""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "sentinai"
TESTS = Path(__file__).parent
MODULES = sorted([*SOURCE.rglob("*.py"), *(ROOT / "bench").rglob("*.py")])
CATALOGS = sorted(SOURCE.rglob("catalog.py"))

NAMES_WITHOUT_MEANING = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "managers"}
MODULE_LINES_MAX = 400
FUNCTION_LINES_MAX = 60

NOT_LISTED: dict[str, set[str]] = {
    "events": {"envelope"},
    "orchestrator/stages": {"occasion", "timers"},
    "workers": {"base", "batch", "channels", "executor", "health", "runner"},
}
"""Siblings of a catalog that are not of the kind it lists."""


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_module_or_folder_has_a_name_without_meaning() -> None:
    places = [*MODULES, *TESTS.rglob("*.py")]
    assert [p for p in places if NAMES_WITHOUT_MEANING & {part.removesuffix(".py") for part in p.parts[-4:]}] == []


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_opens_with_a_docstring_and_is_not_too_long(path: Path) -> None:
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "open with one sentence that says what question this module answers"
    assert len(text.splitlines()) <= MODULE_LINES_MAX


@pytest.mark.parametrize("path", [m for m in MODULES if m.name == "__init__.py"], ids=_name)
def test_a_package_file_holds_a_docstring_at_most(path: Path) -> None:
    body = ast.parse(path.read_text()).body
    versions = [n for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__version__"]
    assert len(body) - len(versions) <= 1


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_no_function_is_too_long(path: Path) -> None:
    functions = [
        n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert [f.name for f in functions if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION_LINES_MAX] == []


@pytest.mark.parametrize("catalog", CATALOGS, ids=_name)
def test_a_catalog_lists_every_sibling(catalog: Path) -> None:
    siblings = {p.stem for p in catalog.parent.glob("*.py")} - {"__init__", "catalog"}
    siblings |= {p.parent.name for p in catalog.parent.glob("*/__init__.py")}
    of_another_kind = NOT_LISTED.get(str(catalog.parent.relative_to(SOURCE)), set())
    assert siblings - _imported(catalog) - of_another_kind == set()


def _imported(catalog: Path) -> set[str]:
    """Names of the sibling modules that a catalog imports, or imports something from."""
    package = ".".join(("sentinai", *catalog.parent.relative_to(SOURCE).parts))
    found: set[str] = set()
    for node in ast.walk(ast.parse(catalog.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package + "."):
            found.add(str(node.module).removeprefix(package + ".").split(".")[0])
    return found
