"""The search beside plain sequential fits, Optuna with joblib, and Ray Tune as shipped: same points, rows and budget.

``python -m benchmarks.tuning [--rows 300000] [--trials 8] [--home HOME]``. With ``--home`` the rows are the training
frame of ``flight_delay`` of that environment's home (its stack need not be up), else seeded synthetic ones.
Each contender runs in a process of its own; Ray's own start-up is not counted. It prints two Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from configs import load_model, load_settings
from configs.model import ModelSpec
from configs.tuning import Tuning

CPUS = 2
SPACE = {
    "learning_rate": {"low": 0.05, "high": 0.3, "log": True},
    "max_depth": {"low": 3, "high": 8, "integer": True},
    "min_child_weight": {"low": 1, "high": 60, "log": True},
    "subsample": {"low": 0.6, "high": 1.0},
    "colsample_bytree": {"low": 0.5, "high": 1.0},
}


def synthetic(rows: int) -> dict[str, np.ndarray]:
    """Seeded rows with a rare outcome; the last fifth is for validation."""
    random = np.random.default_rng(11)
    x = random.normal(size=(rows, 20)).astype("float32")
    score = x[:, 0] + x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + 0.5 * x[:, 4] * (x[:, 5] > 0)
    y = (score + 1.5 * random.normal(size=rows) > 2.5).astype(int)
    cut = rows * 4 // 5
    return {"x": x[:cut], "y": y[:cut], "x_validation": x[cut:], "y_validation": y[cut:]}


def flights(home: str) -> dict[str, np.ndarray]:
    """The encoded rows that a training of flight_delay searches on."""
    from ray_cluster.training.data import prepare
    from ray_cluster.training.families import preprocessing

    settings = load_settings(None, {"HEADRACE_HOME": home})
    import os

    os.environ.update(settings.variables())
    spec = load_model("flight_delay")
    data = prepare(settings, spec, settings.demo.as_of)
    train, validation = np.flatnonzero(data.periods.train), data.periods.validation
    encode = preprocessing(data.features, spec.inputs).fit(data.features.iloc[train])
    x, x_validation = (
        encode.transform(part).astype("float32") for part in (data.features.iloc[train], data.features[validation])
    )
    return {"x": x, "y": data.y[train], "x_validation": x_validation, "y_validation": data.y[validation]}


def spec_of(trials: int, iterations: int, families: list[dict[str, Any]] | None = None) -> ModelSpec:
    """flight_delay with one family and this budget."""
    family = {"family": "xgboost", "iterations": iterations, "space": SPACE}
    tuning = {"rows": 1000, "budget": {"trials": trials}, "report_every": 10, "grace_iterations": 20, "seed": 5}
    given = Tuning.model_validate({**tuning, "families": families or [family]})
    return load_model("flight_delay", "local").model_copy(update={"tuning": given})


def points(spec: ModelSpec, trials: int) -> list[dict[str, Any]]:
    """The parameters that the searcher draws from the seed."""
    import optuna

    from ray_cluster.training.search.searcher import Searcher

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    searcher = Searcher(spec.tuning, optuna.create_study(direction="maximize"))
    return [searcher.point(searcher.ask()).params for _ in range(trials)]


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


def headrace(data: dict[str, np.ndarray], spec: ModelSpec, cpus: int) -> Timeline:
    """The search of Headrace on a Ray cluster that is up."""
    from ray_cluster.training.search import tuning

    cluster(cpus)
    heard = tuning.Driver._heard

    def noting(self: tuning.Driver, event: Any) -> None:
        if event.progress is not None:
            line.add(event.progress.history[-1][1])
        heard(self, event)

    begin = tuning.Pool.begin

    def beginning(self: tuning.Pool, job: Any) -> None:
        if not line.seen:
            line.add(-1.0)  # the worker's process is up: what went before is Ray's start-up
        begin(self, job)

    tuning.Driver._heard = noting  # type: ignore[method-assign]
    tuning.Pool.begin = beginning  # type: ignore[method-assign]
    parts = (data["x"], data["y"]), (data["x_validation"], data["y_validation"])
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings("local", {"HEADRACE_HOME": home})
        line = Timeline()
        tuning.tune_families(settings, spec, "benchmark", {"ordinal": parts, "one_hot": parts})
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


def overhead(trials: int) -> float:
    """Milliseconds per empty trial of Headrace, from trial 10 on."""
    family = {"family": "custom", "estimator": "benchmarks.tuning:Empty"}
    line = headrace(synthetic(1000), spec_of(trials, 1, [family]), CPUS)
    reports = [at for at, metric in line.seen if metric >= 0]
    return 1000 * (reports[-1] - reports[9]) / (len(reports) - 10)


def contender(name: str, path: str, trials: int, iterations: int) -> None:
    """Run one contender, here, and print its timeline as JSON."""
    with np.load(path) as kept:
        data = dict(kept)
    spec = spec_of(trials, iterations)
    drawn = points(spec, trials)
    import xgboost  # noqa: F401

    run = {
        "plain sequential fits": lambda: sequential(data, spec, drawn),
        "Optuna with joblib": lambda: optuna_joblib(data, spec, drawn),
        "Headrace, 2 Ray CPUs": lambda: headrace(data, spec, CPUS),
        "Headrace, 1 Ray CPU": lambda: headrace(data, spec, 1),
        "Ray Tune as shipped": lambda: ray_tune(data, spec, drawn),
    }[name]
    print(json.dumps(run().seen), flush=True)


def measured(arguments: list[str]) -> dict[str, Any]:
    """Run a contender in a process of its own, with the CPU seconds and peak memory of all its processes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.tuning", *arguments], stdout=subprocess.PIPE, text=True
    )
    cpu: dict[int, float] = {}
    peak, root = 0.0, psutil.Process(process.pid)

    def sample() -> None:
        nonlocal peak
        while process.poll() is None:
            memory = 0.0
            for each in [root, *root.children(recursive=True)]:
                try:
                    times = each.cpu_times()
                    cpu[each.pid] = times.user + times.system
                    memory += each.memory_full_info().pss
                except psutil.Error:
                    continue
            peak = max(peak, memory)
            time.sleep(0.3)

    watching = threading.Thread(target=sample, daemon=True)
    watching.start()
    out = process.communicate()[0].strip().splitlines()
    seen = json.loads(out[-1]) if process.returncode == 0 and out else []
    return {"seen": seen, "cpu": sum(cpu.values()), "peak": peak / 1e9}


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--trials", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--home")
    parser.add_argument("--contender", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--empty", type=int, default=60)
    given = parser.parse_args()
    if given.contender:
        contender(*given.contender, given.trials, given.iterations)
        return
    data = flights(given.home) if given.home else synthetic(given.rows)
    print(
        f"{len(data['x']):,} rows of {data['x'].shape[1]} features, {given.trials} trials, {given.iterations} rounds\n"
    )
    names = ["plain sequential fits", "Optuna with joblib", "Headrace, 2 Ray CPUs", "Headrace, 1 Ray CPU"]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "rows.npz")
        np.savez(path, **data)
        for name in [*names, "Ray Tune as shipped"]:
            same = ["--trials", str(given.trials), "--iterations", str(given.iterations)]
            found[name] = measured(["--contender", name, path, *same])
            print(f"{name}: {found[name]['seen'][-1:] or 'failed'}", file=sys.stderr, flush=True)
    done = {name: each for name, each in found.items() if each["seen"]}
    best = {name: max(metric for _, metric in each["seen"]) for name, each in done.items()}
    target = min(best.values())
    started = {name: each["seen"][0][0] if each["seen"][0][1] < 0 else 0.0 for name, each in done.items()}
    reached = {
        name: next(at for at, metric in each["seen"] if metric >= target) - started[name] for name, each in done.items()
    }
    faster = min(reached[name] for name in names[:2])
    columns = [
        "contender",
        "workers start, s",
        "then to the same PR AUC, s",
        "of the faster",
        "whole, s",
        "CPU s",
        "peak GB",
    ]
    print(f"| {' | '.join([*columns, 'best PR AUC'])} |\n|{'---|' * (len(columns) + 1)}")
    for name, each in done.items():
        times = f"{started[name]:.1f} | {reached[name]:.1f} | {reached[name] / faster:.2f} | {each['seen'][-1][0]:.1f}"
        print(f"| {name} | {times} | {each['cpu']:.0f} | {each['peak']:.1f} | {best[name]:.4f} |")
    print(f"\nOverhead of an empty trial: {overhead(given.empty):.0f} ms")


if __name__ == "__main__":
    main()
