"""Rare positives: samplers, checks of synthetic rows, and the selection that uses a sampler only if it helps."""
