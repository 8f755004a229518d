"""One trial: fit step by step, score the validation rows after each step, say so, and go on unless told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ray_cluster.training.families import Rows, start

__all__ = ["Event", "Job", "Metric", "Progress", "run_trial"]

#: Gives the validation metric of scores: (labels, scores) -> float.
Metric = Callable[[np.ndarray, np.ndarray], float]


@dataclass(frozen=True)
class Progress:
    """How far a trial has come; with ``model`` it can be taken up again from here.

    Attributes:
        history: pairs of iterations and validation metric.
        scores: float32 scores of the validation rows where the metric was best.
        seconds, cpu_seconds: wall seconds, and CPU seconds of the trial's own thread times its threads.
        model: the fit's checkpoint; empty when there is nothing left to do.
    """

    done: int = 0
    history: tuple[tuple[int, float], ...] = ()
    scores: np.ndarray = field(default_factory=lambda: np.empty(0, "float32"))
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    model: bytes = b""

    @property
    def best(self) -> tuple[int, float] | None:
        """Iterations and metric where it was best, the earliest of equals; None before the first report."""
        return max(self.history, key=lambda pair: pair[1], default=None)


@dataclass(frozen=True)
class Job:
    """What a worker needs to run one trial, or to go on with it from ``progress``."""

    number: int
    family: str
    params: dict[str, Any]
    iterations: int
    every: int
    seed: int
    threads: int
    device: str
    progress: Progress


@dataclass(frozen=True)
class Event:
    """What a trial says: a report, or its end. ``progress`` is missing from an end, which changes nothing of it."""

    number: int
    kind: Literal["report", "finished", "stopped", "failed", "lost"]
    progress: Progress | None = None
    reason: str = ""


def run_trial(
    job: Job, train: Rows, validation: Rows, metric: Metric, say: Callable[[Event], None], stopped: Callable[[], bool]
) -> None:
    """Run ``job`` to its end, or until ``stopped``; whatever goes wrong is said, not raised.

    The last report of a trial that went all the way carries no model.
    """
    from threadpoolctl import threadpool_limits

    progress, clock = job.progress, _Clock(job)
    try:
        checkpoint = progress.model or None
        fit = start(job.family, job.params, train, job.seed, job.threads, job.device, checkpoint)
        with threadpool_limits(job.threads, user_api="openmp"):  # of this thread; BLAS is the process's
            while fit.done < job.iterations and not stopped():
                goal = min((fit.done // job.every + 1) * job.every, job.iterations)
                fit.advance(goal, stopped)
                if fit.done < goal:
                    break
                scores = np.asarray(fit.scores(validation), dtype="float32")
                value = float(metric(validation.y, scores))
                if progress.best is None or value > progress.best[1]:
                    progress = replace(progress, scores=scores)
                seconds, cpu_seconds = clock.read()
                progress = replace(
                    progress,
                    done=fit.done,
                    history=(*progress.history, (fit.done, value)),
                    seconds=seconds,
                    cpu_seconds=cpu_seconds,
                    model=b"" if fit.done >= job.iterations else fit.checkpoint(),
                )
                say(Event(job.number, "report", progress))
        say(Event(job.number, "finished" if fit.done >= job.iterations else "stopped"))
    except Exception as error:
        said = " ".join(str(error).split()) or "no message"
        say(Event(job.number, "failed", reason=f"{type(error).__name__}: {said[:500]}"))


class _Clock:
    """Seconds of the trial, those before it was taken up again included."""

    def __init__(self, job: Job) -> None:
        self._job, self._wall, self._cpu = job, time.perf_counter(), time.thread_time()

    def read(self) -> tuple[float, float]:
        before = self._job.progress
        return (
            before.seconds + time.perf_counter() - self._wall,
            before.cpu_seconds + (time.thread_time() - self._cpu) * self._job.threads,
        )
