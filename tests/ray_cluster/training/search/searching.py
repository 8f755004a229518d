"""A driver of a search that stops three trials at no rung; it writes what it found as a line of JSON.

    python -m tests.ray_cluster.training.search.searching ADDRESS HOME [REPORTS]

It writes a line ``report TRIAL ITERATIONS`` for each report, and kills itself after REPORTS of them. On SIGTERM it ends
as Prefect ends a flow that is cancelled: by an exception that no handler of ``Exception`` sees.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from ray_cluster.training.search import tune_families
from tests.ray_cluster.training.search.problem import facts, rows, settings_at, spec_of


class Cancelled(BaseException):
    """As ``prefect.exceptions.TerminationSignal``."""


def cancel(*_: Any) -> None:
    raise Cancelled


def main() -> None:
    import ray

    from ray_cluster.training.search.budget import BudgetStopper

    address, home, *reports = sys.argv[1:]
    ray.init(address=address, log_to_driver=False, namespace="headrace")
    signal.signal(signal.SIGTERM, cancel)
    count, seen = BudgetStopper.__call__, []

    def counting(self: BudgetStopper, trial_id: str, result: dict[str, Any]) -> bool:
        seen.append(trial_id)
        sys.stdout.write(f"report {trial_id} {result['iterations']}{' last' if result['done'] else ''}\n")
        sys.stdout.flush()
        if reports and len(seen) == int(reports[0]):
            os.kill(os.getpid(), signal.SIGKILL)
        return count(self, trial_id, result)

    BudgetStopper.__call__ = counting  # type: ignore[method-assign]
    boosted = {"family": "xgboost", "iterations": 300, "grace_iterations": 300, "space": {"subsample": 0.7}}
    mlp = {"family": "mlp", "iterations": 40, "grace_iterations": 40, "space": {"hidden_layer_sizes": [16]}}
    spec = spec_of({"trials": 3}, [boosted, mlp], report_every=5)  # ASHA, which goes by who comes first, stops none
    try:
        found = tune_families(settings_at(Path(home)), spec, "key", lambda: rows(6000))
    finally:
        ray.shutdown()
    sys.stdout.write(json.dumps(facts(found)) + "\n")


if __name__ == "__main__":
    main()
