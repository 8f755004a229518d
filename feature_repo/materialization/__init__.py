"""Compute feature views from the raw tables, and materialize them in the online store."""
