"""Feast's registry: what the definitions are, what a change of them would do, and one writer at a time."""
