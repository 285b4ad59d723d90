"""Orchestrator: who consumes what, how events become state, and how a pipeline is replayed."""
