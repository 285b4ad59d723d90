"""How do commands speak to people: tables, problems, and how to fix them?"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentinai.errors import Problem, SentinaiError

console = Console()
errors = Console(stderr=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows; empty values as a dash. Ids and times stay on one line, so that they can be copied."""
    shown = Table(title=title, title_justify="left", header_style="bold", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        shown.add_column(column.replace("_", " "), overflow="fold", no_wrap=column.endswith(("_id", "_at")))
    for row in rows:
        shown.add_row(*(_shown(column, value) for column, value in zip(columns, row, strict=True)))
    console.print(shown)


def _shown(column: str, value: object) -> str:
    if value is None:
        return "–"
    text = str(value)
    return escape(text[:19].replace("T", " ") if column.endswith("_at") else text)


def pick(items: Iterable[Mapping[str, object]], names: Sequence[str]) -> list[list[object]]:
    """The values of these keys, row by row."""
    return [[item.get(name) for name in names] for item in items]


def show_problem(message: str, problems: Sequence[Problem] = ()) -> None:
    errors.print(f"[bold red]✗[/] {escape(message)}")
    for problem in problems:
        place = f"line {problem.line}, column {problem.column}  " if problem.line else ""
        errors.print(f"  [dim]{place}{escape(problem.pointer)}[/] {escape(problem.detail)}")


@contextmanager
def told_plainly() -> Iterator[None]:
    """An expected error ends the command with a sentence and exit code 1, not with a traceback."""
    try:
        yield
    except SentinaiError as error:
        show_problem(error.message, error.problems)
        sys.exit(1)
