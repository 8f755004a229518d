"""The final fit in memory and out of core, and by two workers: peak memory, seconds and held-out PR AUC.

    python -m benchmarks.fitting [--rows 100000] [--part all]

Memory: simulated card payments, 1, 4 and 16 times ``--rows``; training frame, preprocessing and 100 boosting rounds in
a process of its own, in memory (``fit.memory: in_memory``) and out of core (``external``, parts of 25,000 rows; bins in
memory, or on disk where there are more than four parts). Workers: a drawn frame of 4 times ``--rows``; XGBoost in one
process with two threads, ``fit.workers: 2`` with one each, and ``XGBoostTrainer`` of Ray Train with two workers, as its
documentation has it and configured; Ray's own start is not counted. Contenders of one table run one after the other in
one run; trust the ratios.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any
from unittest.mock import patch

import numpy as np

from configs import load_model, load_settings
from configs.model import ModelSpec
from configs.reading import merge
from configs.settings import Settings

AS_OF = datetime(2014, 1, 1, tzinfo=UTC)
MULTIPLES = (1, 4, 16)
PARAMS = {"max_depth": 6, "learning_rate": 0.1, "subsample": 0.8, "colsample_bytree": 0.8}
ROUNDS = 100
#: Ray Train's controller takes one report of each worker when it polls, by default every 2 s.
LEAN = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.1",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
}


def spec_of(**fit: Any) -> ModelSpec:
    """The card model with one family and short last periods: most rows are of the final fit alone."""
    base = load_model("card_fraud", "local").model_dump()
    boosted = [family for family in base["tuning"]["families"] if family["family"] == "xgboost"]
    changes = {
        "label": {"positive": "fraud OR hash(transaction_id) % 10 = 0"},  # both outcomes in short periods of few rows
        "split": {"validation": "45d", "held_out": "45d"},
        "sampling": {"method": "none"},
        "tuning": {"rows": 10_000, "families": boosted, "cpus_per_trial": 1},
        "fit": {"rows_per_part": 25_000, **fit},
    }
    return ModelSpec.model_validate(merge(base, changes))


def home_of(folder: Path, rows: int) -> Settings:
    """Settings of a home with ``rows`` simulated payments a year."""
    from feature_repo.definitions.dependencies import model_tables

    loaded = load_settings("local", {"HEADRACE_HOME": str(folder)})
    tables = {
        name: loaded.tables[name].model_copy(
            update={"source": loaded.tables[name].source.model_copy(update={"options": {"rows": rows, "seed": 7}})}
        )
        for name in model_tables(loaded, spec_of(), references=True)
    }
    return loaded.model_copy(update={"tables": tables})


def fill(settings: Settings) -> None:
    """Ingest the tables and compute the views."""
    from configs.table import ingest_order
    from feature_repo.definitions.dependencies import service_views
    from feature_repo.definitions.feature_store import apply
    from feature_repo.materialization.backfill import compute
    from feature_repo.tables import ingest_table

    apply(settings)
    for name in ingest_order(settings.tables):
        ingest_table(settings, name, AS_OF)
    for view in service_views(settings, spec_of().feature_service):
        compute(settings, view)


def peak() -> float:
    """Peak resident size of this process in MB; not getrusage's, which counts the parent's from before the program."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def fitted(settings: Settings, memory: str) -> dict[str, float]:
    """Frame and fit in this process."""
    import xgboost
    from sklearn.metrics import average_precision_score

    from ray_cluster.training.data import prepare
    from ray_cluster.training.distributed.out_of_core import encoder_of_parts, shares_on_disk
    from ray_cluster.training.distributed.workers import Worker
    from ray_cluster.training.families import columns_of, fit_steps, preprocessing

    imports, started = peak(), perf_counter()
    spec = spec_of(memory=memory)
    data = prepare(settings, spec, AS_OF)
    framed, frame_peak = perf_counter() - started, peak()
    if data.parts is None:
        encode = preprocessing(data.features, spec.inputs).fit(data.features[data.early])
        x = encode.transform(data.features[data.early])
        y, columns = data.y[data.early], columns_of(encode)
        classifier = fit_steps("xgboost", PARAMS, x, y, ROUNDS, 0, threads=1, columns=columns)
    else:
        until = data.periods.origins[0].start
        encode = encoder_of_parts(spec, data.parts, until)
        native = {**PARAMS, "objective": "binary:logistic", "tree_method": "hist", "nthread": 1, "seed": 0}
        with shares_on_disk(spec, PARAMS, data.parts, until, encode, paged=True) as (share,):
            worker = Worker(0)
            worker.load(share, native, columns_of(encode))
            model: bytes | None = None
            for done in range(0, ROUNDS, spec.fit.checkpoint_every):
                model = worker.boost(model, done, spec.fit.checkpoint_every)
        classifier = xgboost.XGBClassifier()
        classifier.load_model(bytearray(model or b""))
    seconds = perf_counter() - started
    whole = peak()
    held_out = data.periods.held_out
    scores = classifier.predict_proba(encode.transform(data.features[held_out]))[:, 1]
    data.release()
    return {
        "rows": data.row_count,
        "in memory": len(data.rows),
        "imports": imports,
        "frame, s": framed,
        "frame, MB": frame_peak,
        "whole, s": seconds,
        "whole, MB": whole,
        "PR AUC": float(average_precision_score(data.y[held_out], scores)),
    }


def drawn(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """30 columns with gaps, and an outcome of one in ten that a few of them tell."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 30)).astype("float32")
    signal = x[:, 0] * x[:, 1] + x[:, 2] + np.abs(x[:, 3]) + generator.normal(size=rows)
    x[generator.random(x.shape) < 0.05] = np.nan
    return x, (signal > 3.2).astype("int64")


def workers(rows: int) -> dict[str, tuple[float, float]]:
    """Seconds and PR AUC of each contender on a drawn frame."""
    import ray
    import xgboost
    from sklearn.metrics import average_precision_score

    from ray_cluster.training.distributed.shares import ArrayShare, deal
    from ray_cluster.training.distributed.workers import fit_by_workers

    (x, y), (x_test, y_test) = drawn(rows, 1), drawn(100_000, 2)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        log_to_driver=False,
        object_store_memory=10**9,
        logging_level=logging.ERROR,
        runtime_env={"env_vars": {"PYTHONPATH": str(Path.cwd())}},
    )

    def alone() -> Any:
        return xgboost.XGBClassifier(**PARAMS, n_estimators=ROUNDS, tree_method="hist", n_jobs=2, random_state=0).fit(
            x, y
        )

    def shared(count: int) -> Any:
        shares = [ray.put(ArrayShare(*deal(rank, count, x, y))) for rank in range(count)]
        return fit_by_workers(spec_of(workers=count), PARAMS, ROUNDS, shares)

    def trainer(loop: Callable[[dict[str, Any]], None], **environment: str) -> Any:
        return ray_train(loop, [ray.put(deal(rank, 2, x, y)) for rank in range(2)], environment)

    found = {}
    for name, fit in (
        ("XGBoost in one process, 2 threads", alone),
        ("fit.workers: 2", lambda: shared(2)),
        ("Ray Train, a report each round", lambda: trainer(documented)),
        ("Ray Train, a report each 25 rounds", lambda: trainer(checkpointed)),
        ("Ray Train, a report each 25 rounds, polled each 0.1 s", lambda: trainer(checkpointed, **LEAN)),
    ):
        started = perf_counter()
        classifier = fit()
        seconds = perf_counter() - started
        scores = classifier.predict_proba(x_test)[:, 1]
        found[name] = (seconds, float(average_precision_score(y_test, scores)))
    ray.shutdown()
    return found


NATIVE = {**PARAMS, "objective": "binary:logistic", "tree_method": "hist", "nthread": 1, "seed": 0}


def documented(config: dict[str, Any]) -> None:
    """Ray Train's loop as its documentation has it: the callback reports after each round."""
    import ray
    import xgboost
    from ray import train
    from ray.train.xgboost import RayTrainReportCallback

    x, y = ray.get(config["shares"][train.get_context().get_world_rank()])
    matrix = xgboost.QuantileDMatrix(x, y, nthread=1)
    xgboost.train(NATIVE, matrix, ROUNDS, callbacks=[RayTrainReportCallback(frequency=0)])


def checkpointed(config: dict[str, Any]) -> None:
    """The work of ``fit.workers`` in Ray Train's loop: it resumes, and reports only with a checkpoint."""
    import ray
    import xgboost
    from ray import train
    from ray.train.xgboost import RayTrainReportCallback

    rank = train.get_context().get_world_rank()
    x, y = ray.get(config["shares"][rank])
    matrix = xgboost.QuantileDMatrix(x, y, nthread=1)
    model: bytearray | None = None
    done = 0
    if (checkpoint := train.get_checkpoint()) is not None:
        booster = RayTrainReportCallback.get_model(checkpoint)
        model, done = booster.save_raw("ubj"), booster.num_boosted_rounds()
    while done < ROUNDS:
        step = min(config["every"], ROUNDS - done)
        booster = xgboost.Booster({**NATIVE, "seed": done}, [matrix], model)
        for number in range(done, done + step):
            booster.update(matrix, number)
        model, done = booster.save_raw("ubj"), done + step
        with TemporaryDirectory() as folder:
            (Path(folder) / RayTrainReportCallback.CHECKPOINT_NAME).write_bytes(model)
            train.report({}, checkpoint=train.Checkpoint(folder) if rank == 0 else None)


def ray_train(loop: Callable[[dict[str, Any]], None], shares: list[Any], environment: dict[str, str]) -> Any:
    """The classifier that ``loop`` fits on two workers of Ray Train, with ``environment`` set meanwhile."""
    import xgboost
    from ray import train
    from ray.train.xgboost import RayTrainReportCallback, XGBoostTrainer

    with TemporaryDirectory() as folder, patch.dict(os.environ, environment):
        result = XGBoostTrainer(
            loop,
            train_loop_config={"shares": shares, "every": spec_of().fit.checkpoint_every},
            scaling_config=train.ScalingConfig(num_workers=2, resources_per_worker={"CPU": 1}),
            run_config=train.RunConfig(
                storage_path=folder, name="benchmark", failure_config=train.FailureConfig(max_failures=3)
            ),
        ).fit()
        classifier = xgboost.XGBClassifier()
        classifier.load_model(bytearray(RayTrainReportCallback.get_model(result.checkpoint).save_raw("ubj")))
    return classifier


def child(what: str, home: Path, rows: int) -> Any:
    """Do one thing in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.fitting", "--child", what, "--home", str(home), "--rows", str(rows)]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--part", choices=["all", "memory", "workers"], default="all")
    for hidden in ("--child", "--home"):
        parser.add_argument(hidden, default="", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.child == "workers":
        print(json.dumps(workers(arguments.rows)))
    elif arguments.child:
        settings = home_of(Path(arguments.home), arguments.rows)
        print(json.dumps(fill(settings) if arguments.child == "fill" else fitted(settings, arguments.child)))
    else:
        report(arguments.rows, arguments.part)


def report(rows: int, part: str) -> None:
    """Print a Markdown table of each part."""
    if part != "workers":
        names = ("rows", "in memory", "imports", "frame, s", "frame, MB", "whole, s", "whole, MB", "PR AUC")
        print("| payments | fit | " + " | ".join(names) + " |\n|---|---|" + "---|" * len(names), flush=True)
        for multiple in MULTIPLES:
            with TemporaryDirectory() as folder:
                child("fill", Path(folder), rows * multiple)
                for memory in ("in_memory", "external"):
                    found = child(memory, Path(folder), rows * multiple)
                    told = [f"{found[name]:.3f}" if name == "PR AUC" else f"{found[name]:,.0f}" for name in names]
                    print(f"| {rows * multiple:,} | {memory} | " + " | ".join(told) + " |", flush=True)
    if part != "memory":
        found = child("workers", Path(), rows * 4)
        print(f"\n{rows * 4:,} rows x 30, {ROUNDS} rounds\n| | s | of one process | PR AUC |\n|---|---|---|---|")
        base = next(iter(found.values()))[0]
        for name, (seconds, precision) in found.items():
            print(f"| {name} | {seconds:.1f} | {seconds / base:.2f} | {precision:.4f} |")


if __name__ == "__main__":
    main()
