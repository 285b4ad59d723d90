"""Playbooks: the next step of an approved sequence, and the actions steps can take."""
