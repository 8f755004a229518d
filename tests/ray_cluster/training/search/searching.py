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
    boosted = {"family": "xgboost", "iterations": 300, "grace_iterations": 300, "space": {"subsample": 0.7}}
    mlp = {"family": "mlp", "iterations": 40, "grace_iterations": 40, "space": {"hidden_layer_sizes": [16]}}
    spec = spec_of({"trials": 3}, [boosted, mlp], report_every=5)  # ASHA, which goes by who comes first, stops none
    found = tune_families(settings_at(Path(home)), spec, "key", lambda: rows(6000))
    facts = sorted([trial.trial, trial.family, trial.status, trial.history] for trial in found.trials)
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
