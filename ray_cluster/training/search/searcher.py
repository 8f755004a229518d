"""The searcher, by its name in a model's file: it chooses the family and the point of the next trial."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from ray.tune.search.optuna import OptunaSearch

from ray_cluster.training.search.trainable import BEST, ENDED

if TYPE_CHECKING:
    from configs.tuning import Tuning

__all__ = ["SeededSearch"]


class SeededSearch(OptunaSearch):  # type: ignore[misc]
    """Random points, or TPE's; the n-th depends on the seed and on n, with TPE also on previously finished trials.

    Each family is tried once, in the order of the file; after that it is drawn like a parameter.
    """

    def __init__(self, tuning: Tuning) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.tuning = tuning
        first = [{"family": family.key} for family in tuning.families]
        super().__init__(self._point, BEST, "max", points_to_evaluate=first, sampler=_SamplerPerTrial(tuning))

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """A trial that the scheduler or the budget stopped is pruned: its value is that of fewer iterations."""
        stopped = result is not None and not result.get(ENDED, True)
        super().on_trial_complete(trial_id, None if stopped else result, error)

    def _point(self, trial: optuna.Trial) -> None:
        """Draw the input of :meth:`configs.tuning.Family.parameters` and :meth:`configs.tuning.Tuning.fewer`."""
        families = {family.key: family for family in self.tuning.families}
        family = families[trial.suggest_categorical("family", list(families))]
        if isinstance(self.tuning.rows, list):
            trial.suggest_categorical("rows", self.tuning.rows)
        for name, dimension in family.drawn.items():
            known, log = f"{family.key}.{name}", bool(dimension.get("log"))
            if "choices" in dimension:  # as JSON, because a choice may be a list
                trial.suggest_categorical(known, [json.dumps(each) for each in dimension["choices"]])
            elif dimension.get("integer"):
                trial.suggest_int(known, dimension["low"], dimension["high"], log=log)
            else:
                trial.suggest_float(known, float(dimension["low"]), float(dimension["high"]), log=log)


class _SamplerPerTrial(optuna.samplers.BaseSampler):
    """A new sampler for each trial, whose seed depends on the search's seed and the trial's number."""

    def __init__(self, tuning: Tuning) -> None:
        self.tuning = tuning
        self.sampler: optuna.samplers.BaseSampler

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        seed = int(np.random.SeedSequence((self.tuning.seed, trial.number)).generate_state(1)[0])
        if self.tuning.searcher.name == "tpe":
            self.sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True, **self.tuning.sampler)
        else:
            self.sampler = optuna.samplers.RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        return self.sampler.infer_relative_search_space(study, trial)

    def sample_relative(self, study: Any, trial: Any, search_space: dict[str, Any]) -> dict[str, Any]:
        return self.sampler.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Any, trial: Any, param_name: str, param_distribution: Any) -> Any:
        return self.sampler.sample_independent(study, trial, param_name, param_distribution)
