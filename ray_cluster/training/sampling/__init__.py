"""Rare positives: samplers, checks of the rows they make, and the selection that keeps one only if it helps."""
