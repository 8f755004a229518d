"""Parity: compare served features with those that training retrieves for the same entity and time."""
