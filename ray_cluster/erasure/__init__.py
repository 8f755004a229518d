"""Erase an entity from everything that Headrace keeps, with a receipt."""
