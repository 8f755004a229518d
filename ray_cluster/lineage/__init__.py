"""Where a version came from and where it went, what has changed since, and the same for one prediction."""
