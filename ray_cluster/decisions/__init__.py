"""Decisions as values: measurements, the rules applied to them, and the outcome with its reasons."""
