"""Average precision on the held-out period beside FLAML, on the same frame, with the same seconds, in one run.

    pip install flaml lightgbm
    python -m benchmarks.quality HOME [--models flight_delay flight_cancelled card_fraud] [--seconds 0]

HOME is that of an environment whose data of the models are ingested and materialized; its stack need not be up. Ours is
the search of the model's file, the choice among its finalists, and the fit on all rows before the held-out period, on
two CPUs. With ``--seconds`` the search has 45 % of them and all training rows, and the best finalists are blended.
FLAML gets the same rows and features, with texts as categories, and as many seconds as that took: its search validates
on the latest rows and fits the best on all of them. Neither sees the held-out rows.
"""

from __future__ import annotations

import argparse
import os
from time import perf_counter
from typing import Any

import pandas as pd

from configs import load_model, load_settings
from configs.model import ModelSpec
from configs.settings import Settings
from configs.tuning import Tuning
from ray_cluster.evaluation.intervals import paired_gain
from ray_cluster.evaluation.metrics import ranking
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.families import encoded
from ray_cluster.training.final_fit import fit_before
from ray_cluster.training.finalists import choose
from ray_cluster.training.search import tune_families


def headrace(settings: Settings, spec: ModelSpec, data: TrainingData) -> tuple[Any, str]:
    """Scores of the held-out rows, and the chosen point."""
    search = tune_families(settings, spec, "benchmark", lambda: encoded(spec, data))
    trial = choose(spec, data, search).trial
    [fitted] = fit_before(spec, trial, data, data.periods.origins[:1])
    scores = fitted.pipeline.predict_proba(data.features[data.periods.held_out])[:, 1]
    return scores, f"{len(search.trials)} trials, {' + '.join(part.family for part in trial.parts)}"


def larger(spec: ModelSpec, seconds: float) -> ModelSpec:
    """The model's file with a search of that many seconds in all."""
    tuning = spec.tuning.model_dump(mode="json", exclude={"scheduler"})
    tuning |= {"budget": {"seconds": seconds * 0.45}, "rows": 10_000_000, "finalists": 5, "blend": "mean"}
    return spec.model_copy(update={"tuning": Tuning.model_validate(tuning)})


def flaml(spec: ModelSpec, data: TrainingData, seconds: float) -> tuple[Any, str]:
    """The same by FLAML's AutoML."""
    from flaml import AutoML

    features = data.features.copy()
    for name in features:
        if features[name].dtype == object:
            features[name] = features[name].astype("category")
    early, automl = data.early, AutoML()
    automl.fit(
        X_train=features[early].reset_index(drop=True),
        y_train=pd.Series(data.y[early]),
        task="classification",
        metric="ap" if spec.tuning.metric == "average_precision" else "roc_auc",
        time_budget=seconds,
        eval_method="holdout",
        split_type="time",
        estimator_list=["lgbm", "xgboost", "xgb_limitdepth", "rf", "extra_tree"],
        n_jobs=2,
        seed=spec.tuning.seed,
        verbose=0,
    )
    return automl.predict_proba(features[data.periods.held_out])[:, 1], str(automl.best_estimator)


def main() -> None:
    """Print the table."""
    import ray

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("home")
    parser.add_argument("--models", nargs="+", default=["flight_delay", "flight_cancelled", "card_fraud"])
    parser.add_argument("--seconds", type=float, default=0, help="about so many for each; 0: as the model's file")
    given = parser.parse_args()
    settings = load_settings(None, {"HEADRACE_HOME": given.home})
    os.environ.update(settings.variables())
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    print("| model | rows | Headrace | s | FLAML | s | gain (95 %) |\n|---|---|---|---|---|---|---|")
    for name in given.models:
        spec = load_model(name)
        if given.seconds:
            spec = larger(spec, given.seconds)
        data = prepare(settings, spec, settings.demo.as_of)
        held_out, started = data.periods.held_out, perf_counter()
        ours, what = headrace(settings, spec, data)
        seconds, started = perf_counter() - started, perf_counter()
        theirs, best = flaml(spec, data, seconds)
        taken, y, metric = perf_counter() - started, data.y[held_out], spec.tuning.metric
        gain = paired_gain(y, theirs, ours, data.days[held_out], metric)
        print(
            f"| {name} | {len(data.rows):,} | {ranking(y, ours)[metric]:.4f} ({what}) | {seconds:.0f} | "
            f"{ranking(y, theirs)[metric]:.4f} ({best}) | {taken:.0f} | {gain.gain:+.4f} ({gain.low:+.4f} to "
            f"{gain.high:+.4f}) |",
            flush=True,
        )
        data.release()
    ray.shutdown()


if __name__ == "__main__":
    main()
