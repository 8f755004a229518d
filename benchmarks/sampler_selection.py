"""The sampler selection on all three example models, and how many planted label errors confident learning finds.

``HEADRACE_HOME=<an empty folder> python -m benchmarks.sampler_selection``: ingests what the models need and starts a
Ray of its own, so no stack is needed. Each model's point is fixed (no search), so that the run is about sampling. Every
sampler is fitted on the same training fold and measured on the same real rows.
"""

from __future__ import annotations

import argparse
import os
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import numpy as np

from configs import load_model, load_settings
from configs.settings import Settings
from configs.table import ingest_order
from configs.training import Sampling

MODELS = ("flight_delay", "flight_cancelled", "card_fraud")
AS_OF = datetime(2013, 12, 17, tzinfo=UTC)
POINT = {"max_depth": 5, "learning_rate": 0.08, "min_child_weight": 8, "subsample": 0.8, "colsample_bytree": 0.7}
ROUNDS = 120


def main() -> None:
    """Print two Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--flip", type=float, default=0.01, help="share of labels to flip")
    parser.add_argument("--rows", type=int, default=None, help="latest training rows; default: the model's own")
    arguments = parser.parse_args()
    settings = load_settings()
    os.environ.update(settings.variables())
    import ray

    from ray_cluster.training.data import prepare

    frames = {}
    for name in arguments.models:
        _fill(settings, name)
        frames[name] = prepare(settings, load_model(name), AS_OF)
    ray.init(address="local", num_cpus=2, log_to_driver=False, include_dashboard=False)
    _selection(frames, arguments.rows)
    ray.shutdown()
    _flips(frames, arguments.flip, arguments.rows)


def _selection(frames: dict[str, Any], rows: int | None) -> None:
    from ray_cluster.training.sampling.sampler_selection import select_sampler
    from ray_cluster.training.search import TrialResult

    trial = TrialResult("0", "xgboost", POINT, "finished", ROUNDS, 0.0, 0.0, [])
    print(
        "| model | contender | fit rows (synthetic) | s | validation gain (interval) | held-out PR AUC (95 %) ", end=""
    )
    print("| held-out gain (95 %) | held-out F1 | copies, DCR ratio, columns |\n|---|---|---|---|---|---|---|---|---|")
    for name, data in frames.items():
        ratio = {"flight_delay": 0.6}.get(name, 0.1)  # a fifth of the flights is late already
        spec = load_model(name)
        tuning = spec.tuning.model_copy(update={"rows": rows or spec.tuning.rows})
        spec = spec.model_copy(update={"sampling": Sampling(method="select", ratio=ratio), "tuning": tuning})
        started = perf_counter()
        selection = select_sampler(spec, trial, data)
        assert selection.result is not None
        for row in selection.result.contenders:
            if row["error"]:
                print(f"| {name} | {row['contender']} | {row['error']} | {row['seconds']:.1f} | | | | | |")
                continue
            later = row["held_out"]
            kept = " (**kept**)" if selection.method == row["contender"] else ""
            checks = row["checks"]
            quality = ""
            if checks:
                ratio_of = checks["closest"]["ratio"]
                near = "-" if ratio_of is None else f"{ratio_of:.2f}"
                quality = f"{checks['duplicates']['share']:.1%}, {near}, {checks['columns']['mean']:.2f}"
            print(
                f"| {name} | {row['contender']}{kept} | {row['rows']:,} ({row['synthetic']:,}) | {row['seconds']:.1f} "
                f"| {row['gain']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f}) "
                f"| {later['average_precision']:.4f} ({later['interval'][0]:.3f} to {later['interval'][1]:.3f}) "
                f"| {later['gain']:+.4f} ({later['low']:+.4f} to {later['high']:+.4f}) "
                f"| {later['f1']:.3f} | {quality} |"
            )
        print(f"| {name} | whole selection | | {perf_counter() - started:.1f} | kept: {selection.method} | | | | |")


def _flips(frames: dict[str, Any], share: float, rows: int | None) -> None:
    """Flip labels (of the latest ``rows``, where said), and look how many of the most suspect ones are flipped."""
    from ray_cluster.labels.suspect_labels import out_of_fold, suspects

    print(f"\n{share:.0%} of the labels flipped at random:\n")
    print("| model | labels | flipped | suspects | precision@n/2 | precision@n | of 1s that are 0 | random | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, data in frames.items():
        random = np.random.default_rng(0)
        y = data.y.astype("int64")[-(rows or 0) :].copy()
        planted = np.sort(random.choice(len(y), int(share * len(y)), replace=False))
        y[planted] = 1 - y[planted]
        started = perf_counter()
        out = out_of_fold(data.features.tail(len(y)), y, 0, load_model(name).inputs)
        found = suspects(y, out.probability)
        seconds = perf_counter() - started
        said = np.where(y == 1, out.probability, 1 - out.probability)
        order, count = np.argsort(said, kind="stable"), len(planted)
        hit = np.isin(order, planted)
        ones = [place for place in order if y[place] == 1][: int((y[planted] == 1).sum())]
        print(
            f"| {name} | {len(y):,} | {count:,} | {len(found):,} | {hit[: count // 2].mean():.3f} "
            f"| {hit[:count].mean():.3f} | {np.isin(ones, planted).mean():.3f} | {count / len(y):.3f} | {seconds:.0f} |"
        )


def _fill(settings: Settings, name: str) -> None:
    """Ingest and compute what the model needs, where it is not there yet."""
    from feature_repo.definitions.dependencies import model_tables, service_views
    from feature_repo.definitions.feature_store import apply
    from feature_repo.materialization.backfill import compute
    from feature_repo.tables import ingest_table, manifest

    spec = load_model(name)
    wanted = set(model_tables(settings, spec, references=True))
    tables = {each: table for each, table in settings.tables.items() if each in wanted}
    for table in ingest_order(tables):
        if manifest(settings, table) is None:
            ingest_table(settings, table, AS_OF)
    for view in service_views(settings, spec.feature_service):
        compute(settings, view)
    apply(settings)


if __name__ == "__main__":
    main()
