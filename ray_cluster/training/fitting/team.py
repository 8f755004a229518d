"""The workers of one fit: started together, told the same thing at the same time, and missed when one dies."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util import get_node_ip_address
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from ray_cluster.room import share
from ray_cluster.training.fitting.devices import FitError
from ray_cluster.training.fitting.worker import Worker

__all__ = ["WorkerLostError", "Team"]

#: Seconds in which Ray tells that a worker died after another has failed for that reason.
_NEWS = 15.0


class WorkerLostError(RuntimeError):
    """A worker's process or node is gone; the others have to be dismissed."""


class Team:
    """Workers that get their room in the cluster all at once, so that two fits cannot wait for each other's."""

    def __init__(self, workers: int, cpus: float, gpus: float) -> None:
        """Ask for that many ``workers``, with so many ``cpus`` and ``gpus`` each."""
        cpus = share(cpus, workers)
        room = {"CPU": cpus, **({"GPU": gpus} if gpus else {})}
        self._tracker: Any = None
        self._room = placement_group([room] * workers, strategy="SPREAD")
        actor = ray.remote(num_cpus=cpus, num_gpus=gpus)(Worker)
        self.workers: list[Any] = [
            actor.options(
                scheduling_strategy=PlacementGroupSchedulingStrategy(self._room, placement_group_bundle_index=rank)
            ).remote(rank)
            for rank in range(workers)
        ]

    def begin(self, shares: Sequence[Any], params: dict[str, Any]) -> None:
        """Meet, and load the shares."""
        arguments = None
        if len(self.workers) > 1:
            self._tracker = RabitTracker(len(self.workers), _here(), sortby="task")
            self._tracker.start()
            arguments = self._tracker.worker_args()
        self._all([worker.join.remote(arguments) for worker in self.workers])
        self._all([worker.load.remote(share, params) for worker, share in zip(self.workers, shares, strict=True)])

    def boost(self, model: bytes | None, done: int, rounds: int) -> bytes:
        """Add ``rounds`` trees to ``model``, which has ``done``."""
        start = ray.put(model)
        added: bytes = self._all([worker.boost.remote(start, done, rounds) for worker in self.workers])[0]
        return added

    def leave(self) -> None:
        """Take leave of each other when all is done."""
        self._all([worker.leave.remote() for worker in self.workers])
        if self._tracker is not None:
            self._tracker.wait_for(30)

    def dismiss(self) -> None:
        """End the workers, whatever they are doing, and give back their room."""
        for worker in self.workers:
            ray.kill(worker)
        remove_placement_group(self._room)
        if self._tracker is not None:
            with suppress(XGBoostError):  # it was waiting for workers that are gone; it is stopped all the same
                self._tracker.free()

    def _all(self, calls: list[Any]) -> list[Any]:
        """Results of one call to each worker; the first that fails ends the waiting.

        Raises:
            WorkerLostError: a worker died.
            FitError: a worker failed though none died.
        """
        pending = calls
        while pending:
            ready, pending = ray.wait(pending, timeout=0.5)
            for call in ready:
                try:
                    ray.get(call)
                except RayTaskError as error:
                    if lost := self._death(pending):
                        raise WorkerLostError(lost) from error
                    raise FitError(f"A worker of the fit failed: {_told(error.cause)}.") from error
                except RayError as error:
                    raise WorkerLostError(_told(error)) from error
        return ray.get(calls)  # type: ignore[no-any-return]

    def _death(self, pending: list[Any]) -> str:
        """Why another worker died, where that is why one failed: its connection broke before Ray told."""
        ready, _ = ray.wait(pending, num_returns=len(pending), timeout=_NEWS) if pending else ([], [])
        for call in ready:
            try:
                ray.get(call)
            except RayTaskError:
                continue
            except RayError as error:
                return _told(error)
        return ""


def _here() -> str:
    """Address at which the nodes of the cluster reach this process."""
    return str(get_node_ip_address())  # type: ignore[no-untyped-call]


def _told(error: BaseException) -> str:
    """What an error says on one line, without XGBoost's stack of addresses."""
    return " ".join(str(error).partition("Stack trace:")[0].partition("\n\t")[0].split()).rstrip(".")
