"""Held-out figures of both example models beside their baselines, from the training the flows do.

Run with the stack up: ``python -m benchmarks.held_out [--as-of 2013-12-31]``. Each model is trained as of that moment
(a training done before is not repeated) with the held-out period beginning 1 October.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime

from configs import load_model, load_settings


def main() -> None:
    """Print one Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--as-of", default="2013-12-31", type=lambda text: datetime.fromisoformat(text).replace(tzinfo=UTC)
    )
    as_of = parser.parse_args().as_of
    settings = load_settings()
    os.environ.update(settings.variables())
    from ray_cluster import registry
    from ray_cluster.training.train import train_model

    print("| model | held out | rows | who | ROC AUC | PR AUC |\n|---|---|---|---|---|---|")
    for name in ("flight_delay", "flight_cancelled"):
        spec = load_model(name)
        split = spec.split.model_copy(update={"held_out": as_of - datetime(2013, 10, 1, tzinfo=UTC)})
        spec = spec.model_copy(update={"split": split})
        trained = train_model(settings, spec, as_of, {"headrace.flow_run": "benchmark"}, lambda *_: None)
        evaluation = registry.evidence(settings, trained["run_id"]).evaluation
        period = evaluation.periods["held_out"]
        contenders = {**evaluation.baselines, f"champion ({evaluation.family})": evaluation.metrics}
        for who, figures in contenders.items():
            print(
                f"| {name} | {period['start'][:10]} to {period['end'][:10]} | {period['rows']:,} | {who} "
                f"| {figures['roc_auc']:.4f} | {figures['average_precision']:.4f} |"
            )


if __name__ == "__main__":
    main()
