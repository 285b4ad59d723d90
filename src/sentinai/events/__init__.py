"""Events: immutable facts, one module of types per stage, and the envelope they travel in."""
