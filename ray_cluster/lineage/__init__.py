"""Lineage of a version: its inputs, its uses, and the changes since; and the same for one prediction."""
