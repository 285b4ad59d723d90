"""Are the names of log lines in the code the ones that are listed?"""

import ast
from pathlib import Path

import pytest

import sentinai
from sentinai.observability.events import LOG_EVENTS

SOURCE = Path(sentinai.__file__).parent
METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = {"log", "logger"}


def calls(source: str) -> list[ast.Call]:
    """Calls such as `log.info(…)` and `self._log.info(…)`."""
    found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]
    return [
        c for c in found if c.func.attr in METHODS and ast.unparse(c.func.value).split(".")[-1].strip("_") in LOGGERS
    ]


def names(source: str) -> set[str]:
    """The first argument of each; one that is computed has no name that could be listed."""
    return {
        c.args[0].value if c.args and isinstance(c.args[0], ast.Constant) else ast.unparse(c) for c in calls(source)
    }


USED = {(path.relative_to(SOURCE).as_posix(), n) for path in SOURCE.rglob("*.py") for n in names(path.read_text())}


def test_a_log_line_is_found_in_code() -> None:
    assert names("log.info('a', x=1); self._log.error('b'); math.log(2); log.warning(f'c{x}')") == {
        "a",
        "b",
        "log.warning(f'c{x}')",
    }


def test_every_log_line_has_a_listed_name() -> None:
    assert sorted((place, name) for place, name in USED if name not in LOG_EVENTS) == []


def test_every_listed_name_is_logged_somewhere() -> None:
    assert sorted(set(LOG_EVENTS) - {name for _, name in USED}) == []


@pytest.mark.parametrize(("name", "sentence"), LOG_EVENTS.items())
def test_a_name_is_snake_case_and_has_a_sentence(name: str, sentence: str) -> None:
    assert name.isidentifier()
    assert name == name.lower()
    assert sentence[0].isupper()
    assert sentence.endswith(".")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: p.relative_to(SOURCE).as_posix())
def test_nothing_is_logged_past_the_masking(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = {ast.unparse(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    assert not called & {"logging.getLogger", "traceback.print_exc", "sys.stderr.write"} or path.name == "logs.py"
