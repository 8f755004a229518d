"""Rare positives: samplers, the checks of the rows they make, and the selection that keeps them only where they help."""
