"""Stages: one module each, a pure function from an occasion and what is known to the events that follow."""
