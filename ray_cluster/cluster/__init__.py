"""The Ray cluster: connect to it, its free capacity, and feature work that runs on it."""
