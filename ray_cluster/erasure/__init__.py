"""Erase an entity from all data that Headrace stores, with a receipt."""
