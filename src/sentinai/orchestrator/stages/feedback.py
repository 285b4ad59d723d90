"""Feedback: what can be learnt from the way an exception went."""

from sentinai.agents import feedback as agent
from sentinai.events.feedback import FeedbackCaptured
from sentinai.orchestrator.stages.occasion import Decided, Occasion, Stage


def decide(occasion: Occasion, _known: None) -> Decided:
    state = occasion.state
    decision = agent.decide(agent.FeedbackFacts(state, occasion.now))
    return [
        FeedbackCaptured(
            decision,
            str(state.status),
            decision.decision == "AUTOMATED",
            state.occurrences,
            state.run.playbook if state.run else None,
            agent.elapsed_ms(state.received_at, state.triaged_at),
            agent.elapsed_ms(state.received_at, state.resolved_at or occasion.event.occurred_at),
            agent.step_durations_ms(state),
        )
    ]


STAGE = Stage("feedback", decide, ("ExceptionResolved", "ExceptionEscalated"))
