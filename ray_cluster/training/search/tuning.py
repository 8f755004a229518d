"""Search the model families together with Ray Tune: random points, trials stopped early by ASHA.

ASHA: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from configs.model import ModelSpec
from configs.settings import Settings
from configs.tuning import Tuning
from ray_cluster.training.data import TrainingData
from ray_cluster.training.families import fit_steps, preprocessing
from ray_cluster.training.search.results import Search, TrialResult
from ray_cluster.training.search.searcher import Searcher

__all__ = ["search_points", "tune_families"]


def search_points(settings: Settings, spec: ModelSpec, key: str, data: TrainingData) -> Search:
    """Search on the latest ``tuning.rows`` of the training period, measured on the validation period."""
    train = np.flatnonzero(data.periods.train)[-spec.tuning.rows :]
    encode = preprocessing(data.features, spec.inputs).fit(data.features.iloc[train])
    x = encode.transform(data.features.iloc[train]).astype("float32")
    validation = data.periods.validation
    x_validation = encode.transform(data.features[validation]).astype("float32")
    return tune_families(settings, spec, key, (x, data.y[train]), (x_validation, data.y[validation]))


def tune_families(
    settings: Settings,
    spec: ModelSpec,
    key: str,
    train: tuple[np.ndarray, np.ndarray],
    validation: tuple[np.ndarray, np.ndarray],
) -> Search:
    """Run the search of ``spec.tuning``; a search of the same ``key`` that was cut off is continued.

    Args:
        train, validation: (features float32 of shape (n, d), labels of shape (n,)).

    Raises:
        RuntimeError: every trial failed; the message carries the first failure.
    """
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    tuning = spec.tuning
    storage = settings.home / "tune"
    folder = storage / key
    trainable = tune.with_resources(
        tune.with_parameters(_trial, data=(*train, *validation), tuning=tuning.model_dump(mode="json")),
        {"cpu": tuning.cpus_per_trial, "gpu": tuning.gpus_per_trial},
    )
    if tune.Tuner.can_restore(str(folder)):
        tuner = tune.Tuner.restore(
            str(folder), trainable=trainable, resume_unfinished=True, restart_errored=True, param_space=_space(tuning)
        )
    else:
        tuner = tune.Tuner(
            trainable,
            param_space=_space(tuning),
            tune_config=tune.TuneConfig(
                metric="validation",
                mode="max",
                scheduler=ASHAScheduler(
                    time_attr="iterations",
                    max_t=max(family.iterations for family in tuning.families),
                    grace_period=tuning.grace_iterations,
                    reduction_factor=tuning.reduction_factor,
                ),
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(name=key, storage_path=str(storage), verbose=0, log_to_file=False),
        )
    results = tuner.fit()
    trials = []
    for number in range(len(results)):
        result = results[number]
        if result.error is not None or result.metrics_dataframe is None:
            continue
        trials.append((_summary(result), result))
    if not trials:
        raise RuntimeError(f"Every trial of model '{spec.name}' failed; the first said: {results.errors[0]}.")
    trials.sort(key=lambda pair: -(pair[0].metric or 0.0))
    best = max(trials[0][1].best_checkpoints or [], key=lambda pair: pair[1]["validation"])[0]
    with best.as_directory() as path:
        scores = np.load(Path(path) / "scores.npy")
    shutil.rmtree(folder, ignore_errors=True)
    return Search([summary for summary, _ in trials], scores)


def _space(tuning: Tuning) -> dict[str, Any]:
    """The points to try, drawn up front from the seed: the same search again is the same trials."""
    import optuna
    from ray import tune

    searcher = Searcher(tuning, optuna.create_study(direction="maximize"))
    points = [searcher.point(searcher.ask()) for _ in range(tuning.budget.trials or len(tuning.families))]
    drawn = [
        {"family": point.family.key, "iterations": point.family.iterations, "params": point.params} for point in points
    ]
    return {"point": tune.grid_search(drawn)}


def _trial(config: dict[str, Any], data: tuple[np.ndarray, ...], tuning: dict[str, Any]) -> None:
    """Fit one point on a Ray worker and report the validation metric as it goes."""
    from ray import tune
    from sklearn.metrics import average_precision_score, roc_auc_score

    x, y, x_validation, y_validation = data
    score = {"average_precision": average_precision_score, "roc_auc": roc_auc_score}[tuning["metric"]]
    point = config["point"]
    best = -np.inf

    def report(iterations: int, predict: Any) -> bool:
        nonlocal best
        scores = np.asarray(predict(x_validation), dtype="float32")
        metrics = {"validation": float(score(y_validation, scores)), "iterations": iterations}
        checkpoint = None
        with tempfile.TemporaryDirectory() as folder:
            if metrics["validation"] > best:
                best = metrics["validation"]
                np.save(Path(folder) / "scores.npy", scores)
                checkpoint = tune.Checkpoint.from_directory(folder)
            tune.report(metrics, checkpoint=checkpoint)
        return False

    fit_steps(
        point["family"],
        point["params"],
        x,
        y,
        point["iterations"],
        tuning["seed"],
        threads=max(1, int(tuning["cpus_per_trial"])),
        every=tuning["report_every"],
        report=report,
        device="cuda" if tuning["gpus_per_trial"] else "cpu",
    )


def _summary(result: Any) -> TrialResult:
    point = result.config["point"]
    history = result.metrics_dataframe[["iterations", "validation", "time_total_s"]]
    best = history.loc[history["validation"].idxmax()]
    last = int(history["iterations"].max())
    return TrialResult(
        trial=str(result.metrics["trial_id"]),
        family=point["family"],
        params=point["params"],
        status="finished" if last >= point["iterations"] else "stopped early",
        iterations=int(best["iterations"]),
        metric=float(best["validation"]),
        seconds=float(history["time_total_s"].max()),
        history=[[float(a), float(b)] for a, b in zip(history["iterations"], history["validation"], strict=True)],
    )
