"""Measure scores against outcomes. Pure functions of arrays and frames; they use no server and no clock."""
