"""How do commands speak to people: tables, problems, and how to mend them?"""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sentinai.errors import Problem, SentinaiError

console = Console()
errors = Console(stderr=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows; empty values as a dash."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*("–" if value is None else escape(str(value)) for value in row))
    console.print(shown)


def pick(items: Iterable[Mapping[str, Any]], names: Sequence[str]) -> list[list[Any]]:
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
