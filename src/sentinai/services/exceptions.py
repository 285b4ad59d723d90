"""Commands of people on an exception: lock it, have `orchestrator/people.py` decide, record, answer with the event's id."""

from collections.abc import Callable
from typing import TypeAlias
from uuid import UUID

from sentinai.events.envelope import Body
from sentinai.events.playbook import CommentAdded
from sentinai.models.exception_record import ExceptionState
from sentinai.orchestrator import people
from sentinai.orchestrator.people import Person, StepDone
from sentinai.security.masking import redact_pii
from sentinai.security.roles import Principal
from sentinai.services.recording import Commands, actor, on_exception

Decide: TypeAlias = Callable[[ExceptionState, Person], list[Body]]


async def command(commands: Commands, principal: Principal, exception_id: UUID, decide: Decide) -> UUID:
    """One transaction: what the person may do is decided by the locked state. Returns the id of the last event."""
    async with on_exception(commands, principal, exception_id) as exception:
        who = Person(principal.subject, actor(principal), exception.recorder.now)
        recorded = [exception.record(body) for body in decide(exception.state, who)]
        return recorded[-1]


async def comment(commands: Commands, principal: Principal, exception_id: UUID, text: str) -> UUID:
    return await command(commands, principal, exception_id, lambda _state, _who: [CommentAdded(clean(text))])


async def assign(commands: Commands, principal: Principal, exception_id: UUID, owner: str) -> UUID:
    return await command(commands, principal, exception_id, lambda state, who: people.assign(state, who, clean(owner)))


async def escalate(
    commands: Commands, principal: Principal, exception_id: UUID, reason: str, queue: str | None
) -> UUID:
    return await command(
        commands, principal, exception_id, lambda state, who: people.escalate(state, who, clean(reason), queue)
    )


async def resolve(commands: Commands, principal: Principal, exception_id: UUID, reason: str) -> UUID:
    return await command(
        commands, principal, exception_id, lambda state, who: people.resolve(state, who, clean(reason))
    )


async def reopen(commands: Commands, principal: Principal, exception_id: UUID, reason: str) -> UUID:
    return await command(commands, principal, exception_id, lambda state, who: people.reopen(state, who, clean(reason)))


async def recalculate(commands: Commands, principal: Principal, exception_id: UUID, reason: str | None) -> UUID:
    why = clean(reason) if reason else None
    return await command(commands, principal, exception_id, lambda state, who: people.recalculate(state, who, why))


async def complete_step(commands: Commands, principal: Principal, exception_id: UUID, done: StepDone) -> UUID:
    comment = clean(done.comment) if done.comment else None
    kept = done._replace(output=redact_pii(done.output), comment=comment)
    return await command(commands, principal, exception_id, lambda state, who: people.complete(state, who, kept))


async def skip_step(commands: Commands, principal: Principal, exception_id: UUID, step: str, reason: str) -> UUID:
    return await command(
        commands, principal, exception_id, lambda state, who: people.skip(state, who, step, clean(reason))
    )


def clean(text: str) -> str:
    """People paste secrets, too."""
    return str(redact_pii(text))
