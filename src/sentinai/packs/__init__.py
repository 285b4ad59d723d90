"""Packs: parse, validate, compile and merge the documents in which all domain behaviour lives."""
