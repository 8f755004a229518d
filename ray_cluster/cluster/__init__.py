"""The Ray cluster: the connection to it, its free capacity, and feature work that runs on it."""
