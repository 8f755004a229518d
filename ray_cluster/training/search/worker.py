"""What runs the trials of one node: a long-lived Ray actor that holds the rows once and runs trials as threads."""

from __future__ import annotations

import queue
import threading
from typing import Any

from ray_cluster.training.families import Rows
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.search.trial import Event, Job, Metric, run_trial

__all__ = ["Worker", "load_libraries", "metric"]


def load_libraries() -> None:
    """Import what every trial needs, which takes a second or two."""
    import xgboost  # noqa: F401


def metric(name: str) -> Metric:
    """The validation metric by its name in a model's file."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    return {"average_precision": average_precision_score, "roc_auc": roc_auc_score}[name]  # type: ignore[no-any-return]


class Worker:
    """Trials of one node as threads of one process, so that they share the rows and the binned matrices.

    The fits leave the interpreter's lock while they compute.
    """

    def __init__(self, threads: int, slots: int) -> None:
        """``threads`` of each trial, and ``slots`` for them."""
        from threadpoolctl import threadpool_limits

        load_libraries()
        self._blas = threadpool_limits(threads, user_api="blas")  # one limit for the whole process
        self._threads = threads * slots
        self.said: queue.Queue[Event] = queue.Queue()
        self._stopped: set[int] = set()
        self._loaded = threading.Event()  # Ray runs the methods side by side

    def load(self, rows: dict[str, list[list[Any]]], name: str) -> None:
        """Take the rows out of the object store, without a copy.

        Args:
            rows: encoding -> references to (x, y, weights) for fitting, and to the same for validation.
            name: of the metric.
        """
        import ray

        self.rows = {encoding: [self._rows(ray.get(part)) for part in parts] for encoding, parts in rows.items()}
        self.metric = metric(name)
        self._loaded.set()

    def _rows(self, arrays: list[Any]) -> Rows:
        x, y, weights = [*arrays, None][:3]
        return Rows(x, y, weights, self._threads)

    def begin(self, job: Job) -> None:
        """Run a trial in a thread of its own."""

        def run() -> None:
            self._loaded.wait()
            try:
                train, validation = self.rows[fit_class(job.family).encoding]
            except ValueError as error:  # an estimator that this node does not have
                self.said.put(Event(job.number, "failed", reason=str(error)))
                return
            run_trial(job, train, validation, self.metric, self.said.put, lambda: job.number in self._stopped)

        threading.Thread(target=run, name=f"trial {job.number}", daemon=True).start()

    def stop(self, number: int) -> None:
        """Have a trial end at its next iteration."""
        self._stopped.add(number)

    def events(self) -> list[Event]:
        """What the trials said since the last call; waits for the first of it, for a while."""
        found: list[Event] = []
        try:
            found.append(self.said.get(timeout=20))
            while True:
                found.append(self.said.get_nowait())
        except queue.Empty:
            return found
