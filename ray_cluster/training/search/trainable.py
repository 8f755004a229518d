"""A trial for Ray Tune. It only reserves CPUs and GPUs for the fit, which the worker of its node runs."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.exceptions import ActorDiedError, RayActorError
from ray.util import get_current_placement_group, placement_group_table

from configs.tuning import Tuning
from ray_cluster.training.search.checkpoint import Progress, SearchCheckpoint, trial_number
from ray_cluster.training.search.results import TrialResult
from ray_cluster.training.search.worker import failed, worker_of

__all__ = ["BEST", "ENDED", "RUNG", "SearchTrial"]

#: Keys of a report: the best metric so far, and whether the trial has ended by itself, for searchers; and the time
#: attribute of schedulers.
BEST, ENDED, RUNG = "best", "ended", "rung"

#: Number of attempts of a step if the worker dies during it.
_ATTEMPTS = 3


class SearchTrial(tune.Trainable):  # type: ignore[misc]
    """One trial; each step returns the validation metric after ``report_every`` further iterations.

    A step writes the trial's checkpoint itself, so that it exists if the driver is killed. A trial whose fit fails is
    finished: if it raised an error, Tune would lose this process, and the next trial would start another.
    """

    def setup(self, config: dict[str, Any], search: str, tuning: Tuning, rows: Any, folder: Path) -> None:  # type: ignore[override]
        """Store the name of the search, its settings, references to its rows, and its folder on this node."""
        self.tuning, self.rows, self.store = tuning, rows, SearchCheckpoint(folder)
        where = placement_group_table(get_current_placement_group())["bundles_to_node_id"][1]
        self.worker = worker_of(where, search, tuning)
        self._wait_for_worker()
        self.number = -1
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Switch to another trial, from its checkpoint if it has one."""
        self.cleanup()
        self.number = trial_number(self.logdir)
        self.family = next(family for family in self.tuning.families if family.key == new_config["family"])
        rows = self.tuning.fewer(new_config)
        point = self.family.key, self.family.parameters(new_config), rows
        kept = self.store.kept(self.number)
        if kept is None or (kept.result.family, kept.result.params, kept.result.rows) != point:
            kept = Progress(TrialResult(f"{self.number:02d}", *point[:2], "stopped early", 0, None, 0.0, [], rows=rows))
            self.store.keep(self.number, kept)
        self.progress = kept
        return True

    def step(self) -> dict[str, Any]:
        if self.progress.result.status == "stopped early":  # so far
            self.progress = self._advanced()
            self.store.keep(self.number, self.progress)
        done, found = self.progress.done, self.progress.result
        ended = found.status != "stopped early"
        report: dict[str, Any] = {"iterations": done, "trial_seconds": found.seconds, "done": ended, ENDED: ended}
        if found.status == "failed":
            return report | {"failure": found.reason}
        if not self.family.one_step:
            rungs = self.family.pace(found.params) / self.tuning.grace(self.family)
            report |= {RUNG: done * rungs, "rungs": [[at * rungs, value] for at, value in found.history]}
        return report | {self.tuning.metric: found.history[-1][1], BEST: found.metric}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"iterations": self.progress.done}  # the rest is in the checkpoint that reset_config reads

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        pass

    def cleanup(self) -> None:
        self.worker.drop.remote(self.number)

    def _advanced(self) -> Progress:
        """Progress at the next report. A trial that was running at two deaths of a worker is then fitted alone."""
        lost, died = 0, ""
        while lost < _ATTEMPTS:
            call = self.worker.advance.remote(self.number, self.family, self.progress, lost > 1)
            try:
                if (progress := ray.get(call)) is not None:
                    return progress  # type: ignore[no-any-return]
                time.sleep(0.1)
            except RayActorError as error:
                lost, died = lost + 1, type(error).__name__
            self._wait_for_worker()
        reason = f"the worker process died ({died}), {_ATTEMPTS} times without a report in between"
        return failed(self.progress, reason)

    def _wait_for_worker(self) -> None:
        """Wait until the worker has the rows; Ray may be restarting it. This process exits if it does not return."""
        while True:
            try:
                return ray.get(self.worker.load.remote(self.rows))  # type: ignore[no-any-return]
            except ActorDiedError:  # the search has ended, or the node is lost
                ray.actor.exit_actor()  # type: ignore[no-untyped-call]
            except RayActorError:
                time.sleep(0.2)
