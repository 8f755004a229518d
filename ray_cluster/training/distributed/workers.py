"""Fit XGBoost with several synchronised Ray workers, each with a share of the rows; a worker that dies is replaced.

Ray Train's ``XGBoostTrainer`` (Ray 2.58) is not used, because it was at least twice as slow on two cores and leaves an
actor running. Its callback reports after each round, a report waits until the controller has read the previous one,
and the controller polls every 2 s: 250,000 rows x 30, 100 rounds and two workers on two cores took 231 s, of which
about 195 s were such waits; this module took 12.5 s. With a report and checkpoint every 25 rounds and a poll every
0.1 s the waits are gone, and binning and boosting took 15 s, but the whole fit took 124 s, compared with 51 and 55 s
for this module on the same busy machine (124 CPU seconds, compared with 46 and 48): besides the workers a fit starts
five processes, which use 10 to 18 CPU seconds each, mostly for imports (importing ``ray.train`` took 7). That part does
not grow with the rows, so it matters least in long fits. Threads (one per worker in both), the communicator (XGBoost's
own in both), placement (0.02 s) and reading the shares (0.06 s) are not the cause. Its source gives three more reasons:
the actor ``AutoscalingCoordinator`` is detached and never stopped, so a fit, cancelled or not, leaves it in the
cluster; ``fit()`` replaces the SIGINT handler of the process and does not restore it; and checkpoints need storage that
all nodes share, whereas this module keeps the last one in the driver. ``benchmarks/README.md`` has the measurements.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
import xgboost
from ray.exceptions import RayError, RayTaskError
from ray.util import get_node_ip_address
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy
from xgboost import collective
from xgboost.core import XGBoostError
from xgboost.tracker import RabitTracker

from configs.errors import HeadraceError
from configs.model import ModelSpec
from ray_cluster.cluster.capacity import share
from ray_cluster.training.distributed.devices import Device, FitError, gpus_of
from ray_cluster.training.distributed.shares import ArrayShare, FileShare
from ray_cluster.training.families.fit_steps import NUMBERS, Columns
from ray_cluster.training.families.xgboost import constrained

if TYPE_CHECKING:
    import xgboost

__all__ = [
    "Worker",
    "WorkerLostError",
    "Team",
    "fit_by_workers",
]

#: Seconds that a worker waits for another within a round before it fails.
TIMEOUT = 600


class Worker:
    """A Ray actor; all workers run its methods at the same time, in the order in which they are defined."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def join(self, tracker: dict[str, str | int] | None) -> None:
        """Connect to the other workers through the tracker; ``tracker`` is None for a single worker."""
        if tracker:
            collective.init(**tracker, dmlc_task_id=f"{self._rank:06d}", dmlc_timeout=TIMEOUT)

    def load(self, share: ArrayShare | FileShare, params: dict[str, Any], columns: Columns) -> None:
        """Bin the share."""
        self._params = params
        self._matrix = share.matrix(int(params.get("max_bin") or 256), int(params["nthread"]), columns)

    def boost(self, model: bytes | None, done: int, rounds: int) -> bytes | None:
        """Add ``rounds`` trees to ``model`` (UBJSON), which has ``done``; the first worker returns the result.

        The booster is created again, with its own seed: continuing from a model gives the same result whether this
        worker fitted it or received it."""
        params = {**self._params, "seed": int(self._params["seed"]) + done}
        booster = xgboost.Booster(params, [self._matrix], None if model is None else bytearray(model))
        for number in range(done, done + rounds):
            booster.update(self._matrix, number)
        return bytes(booster.save_raw("ubj")) if self._rank == 0 else None

    def leave(self) -> None:
        """Disconnect from the other workers."""
        if collective.is_distributed():
            collective.finalize()


#: Seconds within which Ray reports that a worker died, after another worker failed because of it.
_NEWS = 15.0


class WorkerLostError(HeadraceError, RuntimeError):
    """The process or node of a worker died; the other workers must be stopped."""


class Team:
    """Workers whose resources are reserved all at once, so that two fits cannot wait for each other's resources."""

    def __init__(self, workers: int, cpus: float, gpus: float) -> None:
        """Reserve ``workers`` workers, with ``cpus`` and ``gpus`` each."""
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

    def begin(self, shares: Sequence[Any], params: dict[str, Any], columns: Columns) -> None:
        """Connect the workers, and load the shares."""
        arguments = None
        if len(self.workers) > 1:
            self._tracker = RabitTracker(len(self.workers), _here(), sortby="task")
            self._tracker.start()
            arguments = self._tracker.worker_args()
        self._all([worker.join.remote(arguments) for worker in self.workers])
        pairs = zip(self.workers, shares, strict=True)
        self._all([worker.load.remote(share, params, columns) for worker, share in pairs])

    def boost(self, model: bytes | None, done: int, rounds: int) -> bytes:
        """Add ``rounds`` trees to ``model``, which has ``done``."""
        start = ray.put(model)
        added: bytes = self._all([worker.boost.remote(start, done, rounds) for worker in self.workers])[0]
        return added

    def leave(self) -> None:
        """Disconnect the workers after the last round."""
        self._all([worker.leave.remote() for worker in self.workers])
        if self._tracker is not None:
            self._tracker.wait_for(30)

    def dismiss(self) -> None:
        """Stop the workers, even if they are busy, and release their resources."""
        for worker in self.workers:
            ray.kill(worker)
        remove_placement_group(self._room)
        if self._tracker is not None:
            with suppress(XGBoostError):  # it was waiting for workers that died; it is stopped anyway
                self._tracker.free()

    def _all(self, calls: list[Any]) -> list[Any]:
        """Results of one call to each worker; the first failure ends the wait.

        Raises:
            WorkerLostError: a worker died.
            FitError: a worker failed and none died.
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
                    raise FitError(f"A worker of the fit failed: {_one_line(error.cause)}.") from error
                except RayError as error:
                    raise WorkerLostError(_one_line(error)) from error
        return ray.get(calls)  # type: ignore[no-any-return]

    def _death(self, pending: list[Any]) -> str:
        """Why another worker died, if that caused the failure: its connection broke before Ray reported the death."""
        ready, _ = ray.wait(pending, num_returns=len(pending), timeout=_NEWS) if pending else ([], [])
        for call in ready:
            try:
                ray.get(call)
            except RayTaskError:
                continue
            except RayError as error:
                return _one_line(error)
        return ""


def _here() -> str:
    """Address at which the nodes of the cluster reach this process."""
    return str(get_node_ip_address())  # type: ignore[no-untyped-call]


def _one_line(error: BaseException) -> str:
    """The error's message on one line, without XGBoost's stack trace."""
    return " ".join(str(error).partition("Stack trace:")[0].partition("\n\t")[0].split()).rstrip(".")


logger = logging.getLogger(__name__)

#: Number of attempts with new workers before the fit fails.
ATTEMPTS = 4


def fit_by_workers(
    spec: ModelSpec,
    params: dict[str, Any],
    rounds: int,
    shares: Sequence[Any],
    device: Device = "cpu",
    columns: Columns = NUMBERS,
) -> xgboost.XGBClassifier:
    """Fit on ``shares``, one worker each, for ``rounds`` boosting rounds; returns an ordinary fitted classifier.

    Args:
        params: of a trial; ``class_weight`` is in the shares.
        shares: references to one :class:`~.shares.ArrayShare` or :class:`~.shares.FileShare` per worker.
        columns: which columns of the shares are categories, and which have a direction.

    Raises:
        FitError: workers died in every attempt, or one failed.
    """
    import xgboost

    cpus = spec.tuning.cpus_per_trial
    classifier = xgboost.XGBClassifier(
        **constrained(columns) | {name: value for name, value in params.items() if name != "class_weight"},
        n_estimators=rounds,
        tree_method="hist",
        n_jobs=max(1, int(cpus)),
        random_state=spec.tuning.seed,
    )
    names = {"n_jobs": "nthread", "random_state": "seed"}
    native = {names.get(name, name): value for name, value in classifier.get_xgb_params().items() if value is not None}
    model: bytes | None = None
    done = 0
    for _ in range(ATTEMPTS):
        team = Team(len(shares), cpus, gpus_of(spec, device))
        try:
            team.begin(shares, {**native, "device": device}, columns)
            while done < rounds:
                step = min(spec.fit.checkpoint_every, rounds - done)
                model = team.boost(model, done, step)
                done += step
            with suppress(WorkerLostError):
                team.leave()
            break
        except WorkerLostError as lost:
            logger.warning("A worker of the fit died; continuing from round %d of %d: %s", done, rounds, lost)
            reason = str(lost)
        finally:
            team.dismiss()
    else:
        raise FitError(
            f"The fit lost workers {ATTEMPTS} times, most recently in round {done} of {rounds} ({reason}); "
            "give them more memory, or lower fit.rows_per_part."
        )
    assert model is not None  # rounds are at least one
    classifier.load_model(bytearray(model))
    return classifier
