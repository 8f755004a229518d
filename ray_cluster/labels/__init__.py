"""Dirty labels: which ones are suspect, a queue to review them, and the corrections that a person accepts."""
