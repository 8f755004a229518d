"""Search the model families together on Ray, under one budget."""

from ray_cluster.training.search.driver import SearchError
from ray_cluster.training.search.results import Search, TrialResult
from ray_cluster.training.search.tuning import search_points, tune_families

__all__ = ["Search", "SearchError", "TrialResult", "search_points", "tune_families"]
