"""Search the model families together with Ray Tune, under one budget."""

from ray_cluster.training.search.results import Search, SearchError, TrialResult
from ray_cluster.training.search.tuning import tune_families

__all__ = ["Search", "SearchError", "TrialResult", "tune_families"]
