"""Feature views computed from the raw tables and brought online."""
