"""Feast's feature definitions and registry: load them, plan a change, apply it, and call Feast."""
