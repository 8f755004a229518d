"""Feature definitions, sources, quality rules and transforms: what the data is."""
