"""The workers of a search: one per node, replaced when they die, seen from the driver."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any

from configs.tuning import Tuning
from ray_cluster.cluster.capacity import free_resources
from ray_cluster.training.search.room import check_resources, room
from ray_cluster.training.search.trial import Event, Job
from ray_cluster.training.search.worker import Worker

__all__ = ["Pool"]

logger = logging.getLogger(__name__)

#: Seconds after which a worker that Ray has not started is given up: something else took the room.
_PATIENCE = 120.0


@dataclass
class _Node:
    worker: Any
    slots: int
    gpus: float
    ready: Any
    asked: float
    listening: Any = None
    jobs: dict[int, int] = field(default_factory=dict)  # number of the trial -> its slot


class Pool:
    """Slots for trials on every node that has room; their events come as one stream."""

    def __init__(self, tuning: Tuning, model: str) -> None:
        """Ask for the workers; they start while the driver does something else.

        Raises:
            ResourcesError: no node can ever hold a trial.
        """
        import ray

        self._tuning, self._rows = tuning, None
        self._nodes: dict[str, _Node] = {}
        alive = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
        nodes = {node["NodeID"]: node["Resources"] for node in alive}
        check_resources(nodes, tuning, model)
        self._looked = 0.0
        self._look()

    def load(self, rows: dict[str, Any]) -> None:
        """Tell the workers which rows to take: encoding -> two lists of references (x, y, weights)."""
        self._rows = rows  # type: ignore[assignment]
        for node in self._nodes.values():
            node.worker.load.remote(rows, self._tuning.metric)

    @property
    def free(self) -> int:
        """Trials that could begin now."""
        return sum(node.slots - len(node.jobs) for node in self._nodes.values() if node.listening is not None)

    def begin(self, job: Job) -> None:
        """Run a trial where the fewest run."""
        node = max(
            (node for node in self._nodes.values() if node.listening is not None),
            key=lambda node: node.slots - len(node.jobs),
        )
        slot = min(set(range(node.slots)) - set(node.jobs.values()))
        node.jobs[job.number] = slot
        if self._tuning.gpus_per_trial:
            job = Job(**{**vars(job), "device": f"cuda:{int(slot * self._tuning.gpus_per_trial)}"})
        node.worker.begin.remote(job)

    def stop(self, number: int) -> None:
        """Have a trial end at its next iteration."""
        for node in self._nodes.values():
            if number in node.jobs:
                node.worker.stop.remote(number)

    def events(self, seconds: float = 0.5) -> list[Event]:
        """What was said since the last call; waits for the first of it, at most so long.

        A trial whose worker died is ``lost``.
        """
        import ray
        from ray.exceptions import RayError

        if time.monotonic() - self._looked > 1.0:
            self._look()
        waiting = {node.listening or node.ready: name for name, node in self._nodes.items()}
        if not waiting:
            time.sleep(seconds)
            return []
        done, _ = ray.wait(list(waiting), num_returns=1, timeout=seconds)
        found: list[Event] = []
        for reference in done:
            name = waiting[reference]
            node = self._nodes[name]
            try:
                said = ray.get(reference)
            except RayError as error:
                logger.warning("a worker of the search is gone: %s", " ".join(str(error).split())[:300])
                ray.kill(node.worker)
                found += [Event(number, "lost", reason=_first_line(error)) for number in node.jobs]
                del self._nodes[name]
                continue
            found += said if node.listening is not None else []
            for event in said if node.listening is not None else []:
                if event.kind != "report":
                    node.jobs.pop(event.number, None)
            node.listening = node.worker.events.remote()
        return found

    def close(self) -> None:
        """End the workers, whatever they are doing."""
        import ray

        for node in self._nodes.values():
            ray.kill(node.worker)
        self._nodes.clear()

    def _look(self) -> None:
        """Ask for a worker on each node that has room and none, and give up those that do not start."""
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        tuning, self._looked = self._tuning, time.monotonic()
        for name, node in list(self._nodes.items()):
            if node.listening is None and self._looked - node.asked > _PATIENCE:
                ray.kill(node.worker)
                del self._nodes[name]
        for name, free in free_resources().items():
            if name in self._nodes:
                continue
            here = room(free, tuning)
            if not here.slots:
                continue
            worker: Any = (
                ray.remote(Worker)
                .options(
                    num_cpus=here.cpus,
                    num_gpus=here.gpus,
                    max_concurrency=4,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(name, soft=False),
                )
                .remote(max(1, int(tuning.cpus_per_trial)), here.slots)
            )
            ready = worker.__ray_ready__.remote()
            self._nodes[name] = _Node(worker, here.slots, here.gpus, ready, self._looked)
            if self._rows is not None:
                worker.load.remote(self._rows, tuning.metric)
        if not self._nodes:
            logger.info("no node of the Ray cluster has room for a trial; waiting")


def _first_line(error: Exception) -> str:
    return f"the worker process died ({type(error).__name__})"
