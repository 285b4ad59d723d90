"""Agents: pure decision functions of the stages; facts in, decision out."""
