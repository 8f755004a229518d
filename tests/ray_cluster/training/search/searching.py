"""A driver to be killed; run as a module with ADDRESS and HOME, it writes what it found to its standard output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ray_cluster.training.search import tune_families
from tests.ray_cluster.training.search.in_process import rows, settings_at, spec_of


def main() -> None:
    import ray

    address, home = sys.argv[1:]
    ray.init(address=address, log_to_driver=False, namespace="headrace")
    family = {"family": "xgboost", "iterations": 600, "space": {"max_depth": {"choices": [3, 4]}, "subsample": 0.7}}
    mlp = {"family": "mlp", "iterations": 40, "space": {"hidden_layer_sizes": [16]}}
    spec = spec_of({"trials": 3}, [family, mlp], grace_iterations=10, reduction_factor=1000, report_every=5)
    found = tune_families(settings_at(Path(home)), spec, "key", rows(20000))
    facts = sorted([trial.trial, trial.family, trial.status, trial.history] for trial in found.trials)
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
