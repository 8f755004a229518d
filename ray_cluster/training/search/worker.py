"""The worker of one node: a long-lived Ray actor that has one copy of the rows and runs the trials' fits as threads."""

from __future__ import annotations

import math
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from configs.tuning import Family, Tuning
from ray_cluster.cluster.capacity import all_resources, capacity
from ray_cluster.evaluation.metrics import metric
from ray_cluster.training.families import Fit, Rows, start
from ray_cluster.training.families.family import fit_class
from ray_cluster.training.search.checkpoint import Progress

__all__ = ["Worker", "failed", "worker_of"]


@dataclass(frozen=True)
class _Running:
    """A fit in this process; its slot determines its GPU, and ``dropped`` ends its step early."""

    slot: int
    fit: Fit
    dropped: threading.Event


class Worker:
    """Fit the trials of one node in one process, so that they share the rows and the binned matrices.

    The fits release the interpreter's lock while they compute. The CPUs and GPUs are reserved by the trials. After a
    report, the trial's next step begins at once, so that no CPU waits for Tune's decision.
    """

    def __init__(self, tuning: Tuning, slots: int) -> None:
        """Prepare for ``slots`` concurrent trials."""
        import xgboost  # noqa: F401  # takes a second or two
        from threadpoolctl import threadpool_limits

        if tuning.gpus_per_trial:
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # Ray hides all GPUs from an actor that reserves none
        self.tuning, self.slots, self.threads = tuning, slots, max(1, int(tuning.cpus_per_trial))
        self._blas = threadpool_limits(self.threads, user_api="blas")  # one limit for the whole process
        self.rows: dict[str, list[Rows]] = {}
        self.running: dict[int, _Running] = {}  # by the trial's number
        self._ahead: dict[int, tuple[int, Future[Progress]]] = {}  # trial -> iterations before its next step, that step
        self._steps = ThreadPoolExecutor(slots)  # few threads: a fit that often changes its thread is 15 % slower
        self._lock, self._working, self._alone = threading.Lock(), 0, False

    def load(self, rows: dict[str, list[list[Any]]]) -> None:
        """Map the rows from the object store without a copy, unless they are already mapped.

        Args:
            rows: encoding -> references to (x, y, columns) for fitting, and to the same for validation.
        """
        import ray

        with self._lock:  # Ray runs the methods concurrently
            for encoding, parts in {} if self.rows else rows.items():
                both, threads = [ray.get(part) for part in parts], self.threads * self.slots
                self.rows[encoding] = [Rows(x, y, None, threads, columns=columns) for x, y, columns in both]

    def drop(self, number: int) -> None:
        """Delete the fit of a trial, and end its step."""
        self._ahead.pop(number, None)
        if number in self.running:
            self.running.pop(number).dropped.set()

    def advance(self, number: int, family: Family, progress: Progress, alone: bool) -> Progress | None:
        """Continue the fit of a trial from ``progress`` to its next report; an error is part of the result.

        None if it cannot run now: ``alone`` waits until no other fit runs, and no other fit runs at the same time.
        """
        before, step = self._ahead.pop(number, (-1, None))
        if step is None or before != progress.done:
            self.drop(number)
            step = self._begin(number, family, progress, alone)
        if step is None:
            return None
        found = step.result()
        if found.model and not alone and (ahead := self._begin(number, family, found, False)):
            self._ahead[number] = found.done, ahead
        return found

    def _begin(self, number: int, family: Family, progress: Progress, alone: bool) -> Future[Progress] | None:
        """Begin a step in a thread; None if it cannot run now."""
        with self._lock:
            if not self.rows or self._alone or (alone and self._working):
                return None
            self._working, self._alone = self._working + 1, alone
        return self._steps.submit(self._step, number, family, progress, self.running.get(number))

    def _step(self, number: int, family: Family, progress: Progress, running: _Running | None) -> Progress:
        try:
            return self._advanced(number, family, progress, running)
        except Exception as error:
            said = " ".join(str(error).split()) or "no message"
            return failed(progress, f"{type(error).__name__}: {said[:500]}")
        finally:
            with self._lock:
                self._working, self._alone = self._working - 1, False

    def _advanced(self, number: int, family: Family, progress: Progress, running: _Running | None) -> Progress:
        from threadpoolctl import threadpool_limits

        wall, cpu, before = time.perf_counter(), time.thread_time(), progress.result
        train, validation = self.rows[fit_class(family.key).encoding]
        every = family.report_every or self.tuning.report_every
        goal = min((progress.done // every + 1) * every, family.iterations)
        patience = (self.tuning.patience or math.inf) / family.pace(before.params)
        with threadpool_limits(self.threads, user_api="openmp"):  # for this thread; the limit of BLAS is per process
            running = running or self._start(number, family, progress, train)
            running.fit.advance(goal, running.dropped.is_set)
            if running.dropped.is_set():
                return progress
            scores = np.asarray(running.fit.scores(validation), dtype="float32")
            value = float(metric(self.tuning.metric)(validation.y, scores))
            better = before.metric is None or value > before.metric
            stale = not better and goal - before.iterations >= patience
            last = goal == family.iterations or stale
            model = b"" if last else running.fit.checkpoint()
        result = replace(
            before,
            status="finished" if last else before.status,
            iterations=goal if better else before.iterations,
            metric=value if better else before.metric,
            seconds=before.seconds + time.perf_counter() - wall,
            history=[*before.history, [float(goal), value]],
            cpu_seconds=before.cpu_seconds + (time.thread_time() - cpu) * self.threads,
            reason=f"no better for {goal - before.iterations} iterations" if stale else before.reason,
        )
        return Progress(result, goal, scores if better else progress.scores, model)

    def _start(self, number: int, family: Family, progress: Progress, rows: Rows) -> _Running:
        """Start the trial's fit in this process, from its checkpoint if it has one."""
        with self._lock:
            used = {each.slot for each in self.running.values()}
            slot = min(set(range(len(used) + 1)) - used) % self.slots
            device = f"cuda:{int(slot * self.tuning.gpus_per_trial)}" if self.tuning.gpus_per_trial else "cpu"
            given = (
                family.key,
                progress.result.params,
                rows.latest(progress.result.rows),
                self.tuning.seed,
                self.threads,
                device,
            )
            fit = start(*given, progress.model or None)
            self.running[number] = _Running(slot, fit, threading.Event())
        return self.running[number]


def failed(progress: Progress, reason: str) -> Progress:
    """The final progress of a failed trial."""
    result = replace(progress.result, status="failed", iterations=progress.done, metric=None, reason=reason)
    return Progress(result, progress.done)


def worker_of(node: str, search: str, tuning: Tuning) -> Any:
    """The worker of a node, started if it does not exist; Ray restarts it if its process dies."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    slots = max(1, capacity(all_resources()[node], tuning).slots)
    options = ray.remote(Worker).options(
        name=f"{search} {node}",
        get_if_exists=True,
        num_cpus=0,
        max_concurrency=2 * slots + 4,
        max_restarts=-1,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
    )
    return options.remote(tuning, slots)
