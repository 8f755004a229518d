"""Who searches: each gives the moments at which it knew which validation metric."""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

import numpy as np

from configs import load_settings
from configs.model import ModelSpec

__all__ = ["Empty", "Timeline", "headrace", "optuna_joblib", "ray_tune", "sequential"]

CPUS = 2


class Timeline:
    """When which metric was reached."""

    def __init__(self) -> None:
        self.begun, self.seen = time.perf_counter(), []

    def add(self, metric: float) -> None:
        self.seen.append([time.perf_counter() - self.begun, metric])


def sequential(data: dict[str, np.ndarray], spec: ModelSpec, drawn: list[dict[str, Any]]) -> Timeline:
    """One fit after the other, each with all threads."""
    import xgboost
    from sklearn.metrics import average_precision_score

    line = Timeline()
    for point in drawn:
        model = xgboost.XGBClassifier(
            **point, n_estimators=spec.tuning.families[0].iterations, tree_method="hist", n_jobs=CPUS
        )
        model.fit(data["x"], data["y"])
        line.add(average_precision_score(data["y_validation"], model.predict_proba(data["x_validation"])[:, 1]))
    return line


def optuna_joblib(data: dict[str, np.ndarray], spec: ModelSpec, drawn: list[dict[str, Any]]) -> Timeline:
    """``study.optimize(n_jobs=2)``, each trial with one thread, and ASHA by a callback of XGBoost's."""
    import optuna
    import xgboost
    from sklearn.metrics import average_precision_score

    tuning = spec.tuning
    pruner = optuna.pruners.SuccessiveHalvingPruner(
        min_resource=tuning.grace_iterations, reduction_factor=tuning.reduction_factor
    )
    line, study = Timeline(), optuna.create_study(direction="maximize", pruner=pruner)

    def objective(trial: optuna.Trial) -> float:
        class Reporting(xgboost.callback.TrainingCallback):
            best = 0.0

            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                if (epoch + 1) % tuning.report_every:
                    return False
                scores = model.inplace_predict(data["x_validation"])
                value = average_precision_score(data["y_validation"], scores)
                self.best = max(self.best, value)
                line.add(value)
                trial.report(value, epoch + 1)
                if trial.should_prune():
                    raise optuna.TrialPruned
                return False

        reporting = Reporting()
        xgboost.XGBClassifier(
            **drawn[trial.number],
            n_estimators=tuning.families[0].iterations,
            tree_method="hist",
            n_jobs=1,
            callbacks=[reporting],
        ).fit(data["x"], data["y"])
        return reporting.best

    study.optimize(objective, n_trials=len(drawn), n_jobs=CPUS)
    return line


def cluster(cpus: int) -> None:
    """Start Ray, on a busy machine at the second attempt."""
    import ray

    for _ in range(5):
        try:
            ray.init(num_cpus=cpus, object_store_memory=400_000_000, include_dashboard=False, log_to_driver=False)
        except Exception as error:  # its raylet has 30 seconds to answer
            print(error, file=sys.stderr)
            ray.shutdown()
        else:
            return


def headrace(data: dict[str, np.ndarray], spec: ModelSpec) -> Timeline:
    """The search of Headrace on a Ray cluster that is up."""
    from ray_cluster.training.families.fit_steps import NUMBERS
    from ray_cluster.training.search.tuning import tune_families

    cluster(CPUS)
    parts = (data["x"], data["y"], NUMBERS), (data["x_validation"], data["y_validation"], NUMBERS)

    def rows() -> Any:
        from ray_cluster.training.search.budget import BudgetStopper

        count = BudgetStopper.__call__

        def counting(self: BudgetStopper, trial_id: str, result: dict[str, Any]) -> bool:
            line.add(result[spec.tuning.metric])
            return count(self, trial_id, result)

        BudgetStopper.__call__ = counting  # type: ignore[method-assign]
        return {"categories": parts, "one_hot": parts}

    with tempfile.TemporaryDirectory() as home:
        settings = load_settings("local", {"HEADRACE_HOME": home})
        line = Timeline()
        tune_families(settings, spec, "benchmark", rows)
    line.add(-1.0)
    return line


def ray_tune(data: dict[str, np.ndarray], spec: ModelSpec, drawn: list[dict[str, Any]]) -> Timeline:
    """Tune's ASHA and ``with_parameters``, as its guide shows them."""
    from ray import tune

    tuning = spec.tuning
    cluster(CPUS)

    def trainable(config: dict[str, Any], data: dict[str, np.ndarray]) -> None:
        import xgboost
        from sklearn.metrics import average_precision_score

        class Reporting(xgboost.callback.TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                if (epoch + 1) % tuning.report_every == 0:
                    scores = model.inplace_predict(data["x_validation"])
                    value = average_precision_score(data["y_validation"], scores)
                    tune.report({"validation": value, "iterations": epoch + 1, "at": time.time()})
                return False

        rounds = tuning.families[0].iterations
        xgboost.XGBClassifier(
            **config["point"], n_estimators=rounds, tree_method="hist", n_jobs=1, callbacks=[Reporting()]
        ).fit(data["x"], data["y"])

    scheduler = tune.schedulers.ASHAScheduler(
        time_attr="iterations",
        max_t=tuning.families[0].iterations,
        grace_period=tuning.grace_iterations,
        reduction_factor=tuning.reduction_factor,
    )
    line, began = Timeline(), time.time()
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(tune.with_parameters(trainable, data=data), {"cpu": 1}),
            param_space={"point": tune.grid_search(drawn)},
            tune_config=tune.TuneConfig(metric="validation", mode="max", scheduler=scheduler),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        frames = [result.metrics_dataframe for result in results if result.metrics_dataframe is not None]
    line.seen = sorted(
        [at - began, value] for frame in frames for at, value in zip(frame["at"], frame["validation"], strict=True)
    )
    line.add(-1.0)
    return line


class Empty:
    """An estimator that does nothing, to see what a trial costs beside its fit."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {}

    def fit(self, x: Any, y: Any) -> Empty:
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.full((len(x), 2), 0.5)
