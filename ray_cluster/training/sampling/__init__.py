"""Rare positives: samplers, the checks of the rows they make, and the court that keeps them only where they help."""
