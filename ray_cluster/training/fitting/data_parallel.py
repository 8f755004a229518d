"""XGBoost fitted by Ray workers that each hold a share of the rows, and that may die.

The workers bin their shares against common quantiles and add up their histograms in each round (XGBoost's own
collective, Chen and Guestrin, "XGBoost", KDD 2016), so that all build the same tree. Ray is what starts, watches and
replaces them. Each stretch between two checkpoints has a seed of its own: a fit that lost a worker ends as the same
model, byte for byte, as one that did not.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from ray_cluster.training.fitting.devices import Device, FitError, gpus_of
from ray_cluster.training.fitting.team import Team, WorkerLostError

if TYPE_CHECKING:
    import xgboost

__all__ = ["fit_by_workers"]

logger = logging.getLogger(__name__)

#: How often workers are replaced before a fit is given up.
ATTEMPTS = 4


def fit_by_workers(
    spec: ModelSpec, params: dict[str, Any], rounds: int, shares: Sequence[Any], device: Device = "cpu"
) -> xgboost.XGBClassifier:
    """Fit on ``shares``, one worker each, for ``rounds`` boosting rounds; an ordinary fitted classifier.

    Args:
        params: as a trial carries them; ``class_weight`` is in the shares.
        shares: references to a :class:`~.shares.ArrayShare` or :class:`~.shares.FileShare` each.

    Raises:
        FitError: workers died time and again, or one failed.
    """
    import xgboost

    cpus = spec.tuning.cpus_per_trial
    classifier = xgboost.XGBClassifier(
        **{name: value for name, value in params.items() if name != "class_weight"},
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
            team.begin(shares, {**native, "device": device})
            while done < rounds:
                step = min(spec.fit.checkpoint_every, rounds - done)
                model = team.boost(model, done, step)
                done += step
            with suppress(WorkerLostError):
                team.leave()
            break
        except WorkerLostError as lost:
            logger.warning("A worker of the fit died; going on from round %d of %d: %s", done, rounds, lost)
            reason = str(lost)
        finally:
            team.dismiss()
    else:
        raise FitError(
            f"The fit lost workers {ATTEMPTS} times, lastly in round {done} of {rounds} ({reason}); "
            "give them more memory, or lower fit.rows_per_part."
        )
    assert model is not None  # rounds are at least one
    classifier.load_model(bytearray(model))
    return classifier
