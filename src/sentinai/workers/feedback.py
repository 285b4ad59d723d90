"""Feedback: what can be learnt from the way an exception went."""

from typing import ClassVar

from sentinai.agents import feedback as agent
from sentinai.events.feedback import FeedbackCaptured
from sentinai.workers.base import BaseWorker
from sentinai.workers.work import Answer, Work


class FeedbackWorker(BaseWorker):
    name: ClassVar[str] = "feedback"

    def handle(self, work: Work) -> Answer:
        state = work.state
        decision = agent.decide(agent.FeedbackFacts(state, work.now))
        yield FeedbackCaptured(
            decision,
            str(state.status),
            decision.decision == "AUTOMATED",
            state.occurrences,
            state.run.playbook if state.run else None,
            agent.elapsed_ms(state.received_at, state.triaged_at),
            agent.elapsed_ms(state.received_at, state.resolved_at or work.event.occurred_at),
            agent.step_durations_ms(state),
        )
