"""Prefect flows and the command line: the order things happen in."""
