"""Benchmarks: what this machine does with the real code, on a database of their own."""
