"""Can the steps of a playbook be taken: their actions, parameters, tools, and what they use of each other?"""

from collections.abc import Iterator, Sequence

from sentinai.models.json import Json
from sentinai.packs.checks.expression import condition, expressions_in, template
from sentinai.packs.checks.finding import Finding, unique
from sentinai.packs.checks.known import KnownNames
from sentinai.packs.expressions import Scope
from sentinai.packs.fit import NOT_YET
from sentinai.packs.members import members_read
from sentinai.packs.model.playbook import PlaybookDeclaration, StepDeclaration
from sentinai.packs.model.values import ENTRIES_MAX
from sentinai.packs.parameters import misfit
from sentinai.packs.places import Placed, Places
from sentinai.packs.pointer import pointer_part
from sentinai.packs.vocabulary import ActionWord

ACTIONS_LATER = frozenset({"wait"})
"""Actions that the format reserves."""


def step_findings(playbook: PlaybookDeclaration, place: str, known: KnownNames, places: Places) -> Iterator[Finding]:
    steps = list(places.of(playbook.steps, f"{place}/steps"))
    yield from unique(steps, "name", lambda step: step.name)
    for at, step in steps:
        yield from _action(step, at, known)
        yield from condition(step.when, Scope.PLAYBOOK, f"{at}/when", known.context)
        yield from template(step.params, Scope.PLAYBOOK, f"{at}/params", known.context)
    yield from _order(steps)
    yield from _answers_ignored(steps[:ENTRIES_MAX], known, places)


def _order(steps: Sequence[Placed[StepDeclaration]]) -> Iterator[Finding]:
    """A step uses only what earlier steps have left; of a step that could not be read, not even the name is sure."""
    earlier: set[str] = set()
    for n, (at, step) in enumerate(steps):
        all_read = at.endswith(f"/{n}")
        for name in sorted(_steps_used(step) - earlier) if all_read else ():
            yield Finding(at, f"uses steps.{name}, which is no earlier step")
        earlier.add(step.name)


def _steps_used(step: StepDeclaration) -> set[str]:
    expressions = [step.when or "", *(found.entry for found in expressions_in(step.params))]
    return {member.name for text in expressions for member in members_read(text, "steps")}


def _answers_ignored(steps: Sequence[Placed[StepDeclaration]], known: KnownNames, places: Places) -> Iterator[Finding]:
    """A person's no has to reach the tools that come after the question."""
    asked = [{member.name for member in members_read(step.when or "", "steps")} for _, step in steps]
    for n, (at, asking) in enumerate(steps):
        action = known.vocabulary.action(asking.action)
        if action is None or not action.asks_people or asking.on_failure != "CONTINUE":
            continue
        for (later_at, later), reads in zip(steps[n + 1 :], asked[n + 1 :], strict=True):
            if _calls_a_tool(later, known) and asking.name not in reads and places.whole(f"{later_at}/when"):
                detail = f"after a no, step {later.name!r} would call its tool all the same"
                yield Finding(f"{at}/onFailure", f"{detail}: give it a `when` that reads steps.{asking.name}")


def _calls_a_tool(step: StepDeclaration, known: KnownNames) -> bool:
    action = known.vocabulary.action(step.action)
    return action is not None and any(one.refers_to == "tool" for one in action.parameters)


def _action(step: StepDeclaration, place: str, known: KnownNames) -> Iterator[Finding]:
    action = known.vocabulary.action(step.action)
    if action is None:
        hint = f"`{step.action}` {NOT_YET}; " if step.action in ACTIONS_LATER else ""
        there_are = ", ".join(word.name for word in known.vocabulary.actions)
        yield Finding(f"{place}/action", f"{hint}there is no action {step.action!r}; use one of {there_are}")
        return
    if action.asks_people and step.mode == "human":
        yield Finding(f"{place}/mode", f"{action.name} asks a person by itself: leave the mode out")
    yield from _parameters(action, step, f"{place}/params", known)


def _parameters(action: ActionWord, step: StepDeclaration, place: str, known: KnownNames) -> Iterator[Finding]:
    declared = {one.name: one for one in action.parameters}
    for name in sorted(one.name for one in action.parameters if one.required and one.name not in step.params):
        yield Finding(place, f"{action.name} needs the parameter `{name}`")
    for name, value in step.params.items():
        at = place + pointer_part(name)
        if name not in declared:
            yield Finding(at, f"{action.name} has no parameter `{name}`")
            continue
        one = declared[name]
        if one.only_with is not None and one.only_with not in step.params:
            yield Finding(at, f"decides nothing without `{one.only_with}`")
        reason = None if _computed(value) else misfit(one, value)
        if reason is not None:
            yield Finding(at, reason)
        elif one.refers_to == "tool":
            yield from _tool(value, step, place, name, known)


def _computed(value: Json) -> bool:
    """Whether what it will be is known only when the step is taken."""
    return "${" in value if isinstance(value, str) else next(expressions_in(value), None) is not None


def _tool(tool: Json, step: StepDeclaration, place: str, name: str, known: KnownNames) -> Iterator[Finding]:
    if not isinstance(tool, str) or _computed(tool):
        yield Finding(place + pointer_part(name), "the tool's name has to be written out, not computed")
    elif known.tools is not None and tool not in known.tools:
        yield Finding(place + pointer_part(name), f"there is no tool {tool!r}")
    else:
        content = step.params.get("input", {})
        for missing in _required(known.inputs.get(tool)) if isinstance(content, dict) else ():
            if missing not in content:
                yield Finding(place, f"tool {tool!r} requires the input `{missing}`")


def _required(schema: Json) -> list[str]:
    """Whatever else is wrong with the schema, the check of the tool says so."""
    required = schema.get("required") if isinstance(schema, dict) else None
    return [name for name in required if isinstance(name, str)] if isinstance(required, list) else []
