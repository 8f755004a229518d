"""The searcher: which family and which point is tried next, drawn by Optuna and kept in its study.

Random points, or TPE: Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NIPS 2011. Optuna: Akiba et al.,
KDD 2019.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from configs.tuning import Family, Tuning

if TYPE_CHECKING:
    import optuna

__all__ = ["Point", "Searcher"]


@dataclass(frozen=True)
class Point:
    """What one trial tries: ``params`` are those of the family's scikit-learn class."""

    family: Family
    params: dict[str, Any]


class Searcher:
    """Draws points. The n-th point depends on the seed and its number, with TPE also on the trials that ended before.

    Each family is tried once, in the order of the file; then the searcher chooses the family as it chooses parameters.
    """

    def __init__(self, tuning: Tuning, study: optuna.Study) -> None:
        self.tuning, self.study = tuning, study
        self.families = {family.key: family for family in tuning.families}

    def ask(self) -> optuna.Trial:
        """Begin the next trial."""
        from optuna.trial import TrialState

        trials = self.study.get_trials(deepcopy=False)
        waiting = sum(trial.state == TrialState.WAITING for trial in trials)  # of a driver that was killed right here
        number = len(trials) - waiting
        if number < len(self.families) and not waiting:
            self.study.enqueue_trial({"family": list(self.families)[number]})
        self.study.sampler = self._sampler(number)
        trial = self.study.ask()
        self.point(trial)
        return trial

    def point(self, trial: optuna.Trial) -> Point:
        """What ``trial`` tries: as drawn when it began."""
        family = self.families[trial.suggest_categorical("family", list(self.families))]
        return Point(family, {name: _value(trial, family.key, name, given) for name, given in family.space.items()})

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        import optuna

        seed = int(np.random.SeedSequence((self.tuning.seed, number)).generate_state(1)[0])
        if self.tuning.searcher == "tpe":
            return optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        return optuna.samplers.RandomSampler(seed=seed)


def _value(trial: optuna.Trial, family: str, name: str, dimension: Any) -> Any:
    """One parameter; the study knows it as ``family.name``, because families share names and not ranges."""
    if not isinstance(dimension, dict) or not {"choices", "low"} & set(dimension):
        return dimension
    known = f"{family}.{name}"
    if "choices" in dimension:  # as JSON, since a choice may be a list
        return json.loads(trial.suggest_categorical(known, [json.dumps(each) for each in dimension["choices"]]))
    log = bool(dimension.get("log"))
    if dimension.get("integer"):
        return trial.suggest_int(known, dimension["low"], dimension["high"], log=log)
    return trial.suggest_float(known, float(dimension["low"]), float(dimension["high"]), log=log)
