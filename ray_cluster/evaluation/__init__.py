"""Measure scores against outcomes. Pure functions of arrays and frames: no server, no clock."""
