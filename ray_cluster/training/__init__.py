"""Fit models: splits, preprocessing, model families, the search over them on Ray, and the final fit."""
