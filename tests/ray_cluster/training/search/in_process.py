"""The search without Ray: its own driver and its own worker, in one process, with a pool that passes events on."""

from __future__ import annotations

import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from configs.model import ModelSpec, load_model
from configs.settings import Settings, load_settings
from configs.tuning import Tuning
from ray_cluster.training.families import Rows
from ray_cluster.training.search.driver import Driver
from ray_cluster.training.search.results import Search
from ray_cluster.training.search.study import SearchCheckpoint
from ray_cluster.training.search.trial import Event, Job
from ray_cluster.training.search.worker import Worker, metric

SLOTS = 2


def rows(count: int = 900) -> dict[str, tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]]:
    """Encoded rows for both encodings; two thirds to fit on."""
    random = np.random.default_rng(3)
    x = random.normal(size=(count, 5)).astype("float32")
    y = (x[:, 0] + x[:, 1] * x[:, 2] + random.normal(size=count) > 0.7).astype(int)
    cut = count * 2 // 3
    parts = (x[:cut], y[:cut]), (x[cut:], y[cut:])
    return {"ordinal": parts, "one_hot": parts}


class InProcessPool:
    """A worker in this process; ``dies`` is asked before each event and drops everything when it says so."""

    def __init__(self, tuning: Tuning, dies: Callable[[Event], bool] = lambda _: False) -> None:
        self.tuning, self.dies = tuning, dies
        self.jobs: set[int] = set()
        self._start()

    def _start(self) -> None:
        self.worker = Worker(1, 2)
        self.worker.rows = {encoding: [Rows(*part) for part in both] for encoding, both in rows().items()}
        self.worker.metric = metric(self.tuning.metric)
        self.worker._loaded.set()

    @property
    def free(self) -> int:
        return SLOTS - len(self.jobs)

    def begin(self, job: Job) -> None:
        assert self.free
        self.jobs.add(job.number)
        self.worker.begin(job)

    def stop(self, number: int) -> None:
        self.worker.stop(number)

    def events(self, seconds: float = 0.5) -> list[Event]:
        try:
            event = self.worker.said.get(timeout=seconds)
        except queue.Empty:
            return []
        if self.dies(event):
            lost, self.jobs = self.jobs, set()
            self.worker._stopped.update(lost)
            self._start()
            return [Event(number, "lost", reason="the worker process died") for number in sorted(lost)]
        if event.kind != "report":
            self.jobs.discard(event.number)
        return [event]


def spec_of(budget: dict[str, Any], families: list[dict[str, Any]] | None = None, **more: Any) -> ModelSpec:
    tuning = {"rows": 1000, "budget": budget, "report_every": 4, "grace_iterations": 8, "reduction_factor": 2}
    default = [
        {
            "family": "xgboost",
            "iterations": 32,
            "space": {"learning_rate": {"low": 0.01, "high": 0.5, "log": True}, "max_depth": 3, "subsample": 0.7},
        },
        {"family": "logistic_regression", "space": {"C": {"low": 0.01, "high": 10.0, "log": True}}},
    ]
    given = Tuning.model_validate({**tuning, "families": families or default, **more})
    return load_model("flight_delay", "local").model_copy(update={"tuning": given})


def settings_at(home: Path) -> Settings:
    return load_settings("local", {"HEADRACE_HOME": str(home)})


def search(home: Path, spec: ModelSpec, dies: Callable[[Event], bool] = lambda _: False) -> tuple[Search, Driver]:
    pool: Any = InProcessPool(spec.tuning, dies)
    driver = Driver(settings_at(home), spec, pool, SearchCheckpoint(home / "tune" / "key"))
    return driver.run(), driver
