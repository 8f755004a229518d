"""XGBoost: boosting rounds on rows that are binned once and shared by all fits.

Chen and Guestrin, "XGBoost: A Scalable Tree Boosting System", KDD 2016.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ray_cluster.training.families.fit_steps import Columns, Fit, Rows

__all__ = ["XGBoostFit", "constrained", "typed"]


class XGBoostFit(Fit):
    """A booster that is updated round by round.

    The random choices of a round depend only on the seed and the number of the round, so that a continued fit equals an
    uninterrupted one. XGBoost's ``seed_per_iteration`` does not guarantee that: its column samplers have a state that
    no checkpoint contains."""

    encoding = "categories"
    boosts = True
    booster: Any

    def begin(self) -> None:
        import xgboost

        self.columns = self.rows.columns
        self.classifier_ = xgboost.XGBClassifier(
            **constrained(self.columns) | self.params,
            tree_method="hist",
            device=self.device,
            n_jobs=self.threads,
            random_state=self.seed,
        )
        self.native = {**self.classifier_.get_xgb_params(), "objective": "binary:logistic"}
        self.bins = int(self.params.get("max_bin") or 256)
        self.binned = binned(self.rows, self.bins, self.threads, self.columns)
        self.booster = xgboost.Booster(self.native, [self.binned])

    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        while self.done < iterations and not stopped():
            self.booster.set_param({"tree_method": "approx"})
            self.booster.num_features()  # applies the change, which resets the samplers
            self.booster.set_param({"tree_method": "hist", "seed": _mixed(self.seed, self.done)})
            self.booster.update(self.binned, self.done)
            self.done += 1

    def predict(self, x: np.ndarray) -> np.ndarray:
        return self.booster.inplace_predict(x)  # type: ignore[no-any-return]

    def scores(self, validation: Rows) -> np.ndarray:
        """Evaluate only the trees added since the last call: XGBoost caches the sums per matrix."""
        rows = binned(validation, self.bins, self.threads, self.columns, self.binned)
        return self.booster.predict(rows)  # type: ignore[no-any-return]

    def checkpoint(self) -> bytes:
        return bytes(self.booster.save_raw("ubj"))

    def resume(self, checkpoint: bytes) -> None:
        self.booster.load_model(bytearray(checkpoint))
        self.booster.set_param(self.native)
        self.done = self.booster.num_boosted_rounds()

    @property
    def classifier(self) -> Any:
        self.classifier_.set_params(n_estimators=self.done)
        self.classifier_.load_model(bytearray(self.booster.save_raw("ubj")))
        return self.classifier_

    @classmethod
    def known(cls) -> set[str]:
        import xgboost

        return set(xgboost.XGBClassifier().get_params())


def binned(rows: Rows, bins: int, threads: int, columns: Columns, reference: Any = None) -> Any:
    """The rows as ``xgboost.QuantileDMatrix``, created once; with the bins of ``reference`` if it is given."""
    import xgboost

    return rows.once(
        ("binned", bins, id(reference)),
        lambda: xgboost.QuantileDMatrix(
            rows.x,
            rows.y,
            weight=rows.weights,
            max_bin=bins,
            ref=reference,
            nthread=rows.threads or threads,
            **typed(columns),
        ),
    )


def typed(columns: Columns) -> dict[str, Any]:
    """Arguments of XGBoost's matrices that say which columns are categories."""
    if not any(columns.categories):
        return {}
    return {"feature_types": ["c" if size else "q" for size in columns.categories], "enable_categorical": True}


def constrained(columns: Columns) -> dict[str, Any]:
    """Parameters of ``XGBClassifier`` for the directions of columns."""
    return {"monotone_constraints": columns.directions} if any(columns.directions) else {}


def _mixed(seed: int, iteration: int) -> int:
    """A seed of 31 bits for each pair."""
    return int(np.random.SeedSequence((seed, iteration)).generate_state(1)[0] >> 1)
