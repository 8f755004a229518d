"""Feature values as the endpoint reads them: one row per entity, the latest known."""
