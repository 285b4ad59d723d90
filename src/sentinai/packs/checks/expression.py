"""Does a condition or a template compile, and are the names it reads there?"""

from collections.abc import Iterator

from sentinai.errors import Problem, Rejected
from sentinai.models.json import Json
from sentinai.packs.checks.finding import Finding
from sentinai.packs.checks.spelling import Spelling
from sentinai.packs.expressions import Condition, Scope, Template, split_template
from sentinai.packs.members import members_read
from sentinai.packs.places import Placed
from sentinai.packs.pointer import pointer_part

CONTEXT = "normalizedContext"


def condition(text: str | None, scope: Scope, place: str, context: Spelling | None = None) -> Iterator[Finding]:
    """`context` are the names that normalizedContext may hold, where they are known."""
    if text is not None:
        try:
            Condition.compile(text, scope)
        except Rejected as error:
            yield from _expression(error, place)
        yield from misspelt(Placed(place, text), context)


def template(value: Json, scope: Scope, place: str, context: Spelling | None = None) -> Iterator[Finding]:
    """The same for a value whose strings may hold `${…}`."""
    if value is not None:
        try:
            Template.compile(value, scope)
        except Rejected as error:
            yield from _expression(error, place)
        for expression in expressions_in(value, place):
            yield from misspelt(expression, context)


def expressions_in(value: Json, place: str = "") -> Iterator[Placed[str]]:
    """Every expression inside the templates of a value; one that does not end is none."""
    if isinstance(value, str):
        try:
            parts = split_template(value)
        except Rejected:
            return  # the check of the template says so
        yield from (Placed(place, part.expression) for part in parts if part.expression is not None)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from expressions_in(inner, place + pointer_part(key))
    elif isinstance(value, list):
        for n, inner in enumerate(value):
            yield from expressions_in(inner, f"{place}/{n}")


def _expression(error: Rejected, place: str) -> Iterator[Finding]:
    for problem in error.problems or (Problem("", error.message),):
        yield Finding(place + problem.pointer, problem.detail + _at(problem.line, problem.column))


def misspelt(expression: Placed[str], context: Spelling | None) -> Iterator[Finding]:
    """Members of normalizedContext that nothing ever puts there."""
    if context is None:
        return
    for member in members_read(expression.entry, CONTEXT):
        if member.name not in context:
            detail = f"neither an entity nor a source has `{member.name}`: {context.instead_of(member.name)}"
            yield Finding(expression.place, detail + _at(member.line, member.column))


def _at(line: int | None, column: int | None) -> str:
    return f" (line {line}, column {column} of the expression)" if line else ""
