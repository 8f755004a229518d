"""The driver of a search, which asks the searcher for trials, and tells it what they say."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster.training.search import scheduler
from ray_cluster.training.search.budget import Spending
from ray_cluster.training.search.pool import Pool
from ray_cluster.training.search.results import Search, Status, TrialResult
from ray_cluster.training.search.searcher import Searcher
from ray_cluster.training.search.study import SearchCheckpoint
from ray_cluster.training.search.trial import Event, Job, Progress

if TYPE_CHECKING:
    import optuna

__all__ = ["Driver", "SearchError"]

#: How often a trial is begun again after its worker died without a report in between.
_ATTEMPTS = 3


class SearchError(HeadraceError, RuntimeError):
    """No trial has a metric; one sentence with the first failure."""


class Driver:
    """One search: trials are begun where there is a free slot and the budget allows it, and stopped when told to."""

    def __init__(self, settings: Settings, spec: ModelSpec, pool: Pool, keeping: SearchCheckpoint) -> None:
        self.spec, self.tuning, self.pool, self.keeping = spec, spec.tuning, pool, keeping
        self.study = keeping.study()
        self.study.pruner = scheduler.pruner(spec.tuning)
        self.searcher = Searcher(spec.tuning, self.study)
        self.spending = Spending(spec.tuning, settings.prices, seconds=keeping.seconds)
        self.trials: dict[int, optuna.Trial] = {}  # at work
        self.progress: dict[int, Progress] = {}
        self.attempts: dict[int, int] = {}
        self.stopping: dict[int, str] = {}  # told to stop, and why
        self.waiting: list[int] = []  # to be begun again

    def run(self) -> Search:
        """The search from its beginning, or from where it was cut off."""
        self._take_up()
        clock = time.monotonic() - self.spending.seconds
        kept = 0.0
        while self.trials or self.spending.may_begin:
            while (number := self._next()) is not None:
                self._begin(number)
            for event in self.pool.events():
                self._heard(event)
            self.spending.seconds = time.monotonic() - clock
            if self.spending.seconds - kept > 2:
                kept = self.keeping.seconds = self.spending.seconds
            if (reason := self.spending.over) and any(each.history for each in self.progress.values()):
                self._stop_all(reason)
        return self._search()

    def _take_up(self) -> None:
        """Go on with the trials that were at work when the search was cut off."""
        import optuna
        from optuna.trial import TrialState

        for frozen in self.study.get_trials(deepcopy=False):
            if frozen.state == TrialState.WAITING:
                continue
            self.spending.trials += 1
            self.progress[frozen.number] = self.keeping.progress(frozen.number)
            self.spending.trial_seconds += self.progress[frozen.number].seconds
            if frozen.state == TrialState.RUNNING:
                trial = self.trials[frozen.number] = optuna.Trial(self.study, frozen._trial_id)
                self.waiting.append(frozen.number)
                self._report(trial, self.progress[frozen.number])

    def _next(self) -> int | None:
        """The trial to begin now. One that was there when two workers died runs alone until it reports."""
        working = set(self.trials) - set(self.waiting)
        suspects = {number for number, lost in self.attempts.items() if lost > 1 and number in self.trials}
        if not self.pool.free or suspects & working or (suspects and working):
            return None
        if self.waiting:
            number = min(suspects or self.waiting)
            self.waiting.remove(number)
            return number
        return self._ask() if self.spending.may_begin else None

    def _ask(self) -> int:
        trial = self.searcher.ask()
        self.trials[trial.number] = trial
        self.progress[trial.number] = Progress()
        self.spending.trials += 1
        return int(trial.number)

    def _begin(self, number: int) -> None:
        tuning, point = self.tuning, self.searcher.point(self.trials[number])
        if number in self.stopping:  # while no worker had it
            self._end(number, "stopped", self.stopping[number])
            return
        if self.progress[number].done >= point.family.iterations:
            self._end(number, "finished", "")
            return
        self.pool.begin(
            Job(
                number=number,
                family=point.family.key,
                params=point.params,
                iterations=point.family.iterations,
                every=point.family.report_every or tuning.report_every,
                seed=tuning.seed,
                threads=max(1, int(tuning.cpus_per_trial)),
                device="cuda" if tuning.gpus_per_trial else "cpu",
                progress=self.progress[number],
            )
        )

    def _heard(self, event: Event) -> None:
        number = event.number
        if number not in self.trials:
            return
        if event.kind == "report" and event.progress is not None:
            self.spending.trial_seconds += event.progress.seconds - self.progress[number].seconds
            self.progress[number] = event.progress
            self.attempts[number] = 0
            self.keeping.keep(number, event.progress)
            if self._report(self.trials[number], event.progress):
                self.stopping[number] = "others were better at the same point"
                self.pool.stop(number)
        elif event.kind == "lost":
            self.attempts[number] = self.attempts.get(number, 0) + 1
            if self.attempts[number] < _ATTEMPTS:
                self.waiting.append(number)
            else:
                self._end(number, "failed", f"{event.reason}, {_ATTEMPTS} times without a report in between")
        else:
            self._end(number, event.kind, event.reason)

    def _report(self, trial: optuna.Trial, progress: Progress) -> bool:
        """Put on record what is not yet; True where the scheduler says stop."""
        family, stop = self.searcher.point(trial).family, False
        known = trial.user_attrs.get("reported", 0)
        for iterations, metric in progress.history[known:]:
            stop = scheduler.report(self.tuning, family, trial, iterations, metric) or stop
        if len(progress.history) > known:
            trial.set_user_attr("reported", len(progress.history))
        return stop

    def _stop_all(self, reason: str) -> None:
        for number in set(self.trials) - set(self.stopping):
            self.stopping[number] = reason
            self.pool.stop(number)

    def _end(self, number: int, kind: str, reason: str) -> None:
        """Tell the study how a trial ended, and drop the model of its checkpoint."""
        from optuna.trial import TrialState

        trial, best = self.trials.pop(number), self.progress[number].best
        status: Status = {"finished": "finished", "stopped": "stopped early"}.get(kind, "failed")  # type: ignore[assignment]
        trial.set_user_attr("status", status)
        trial.set_user_attr("reason", reason or self.stopping.get(number, "") if status != "finished" else "")
        self.keeping.keep(number, replace(self.progress[number], model=b""))
        if status == "failed" or best is None:
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, best[1], state=TrialState.COMPLETE)

    def _search(self) -> Search:
        found = [self._result(frozen) for frozen in self.study.get_trials(deepcopy=False)]
        found.sort(key=lambda trial: -np.inf if trial.metric is None else trial.metric, reverse=True)
        if not found or found[0].metric is None:
            first = next(
                (trial.reason for trial in sorted(found, key=lambda trial: trial.trial) if trial.reason), "none"
            )
            raise SearchError(
                f"None of the {len(found)} trials of model '{self.spec.name}' came to a metric; the first said: "
                f"{first.rstrip('.')}. Mend that in tuning.families, and train again."
            )
        return Search(found, self.progress[int(found[0].trial)].scores)

    def _result(self, frozen: optuna.trial.FrozenTrial) -> TrialResult:
        import optuna

        point = self.searcher.point(optuna.Trial(self.study, frozen._trial_id))
        progress, status = self.progress[frozen.number], frozen.user_attrs["status"]
        best = None if status == "failed" else progress.best
        return TrialResult(
            trial=f"{frozen.number:02d}",
            family=point.family.key,
            params=point.params,
            status=status,
            iterations=best[0] if best else progress.done,
            metric=best[1] if best else None,
            seconds=progress.seconds,
            history=[[float(done), float(value)] for done, value in progress.history],
            cpu_seconds=progress.cpu_seconds,
            reason=frozen.user_attrs["reason"],
        )
