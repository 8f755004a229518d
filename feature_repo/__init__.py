"""Feature definitions, sources, quality rules and transforms."""
