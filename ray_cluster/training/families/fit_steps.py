"""Common base of the families: the rows of a fit, and a fit that continues step by step."""

from __future__ import annotations

import pickle
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from configs.errors import HeadraceError

__all__ = ["NUMBERS", "Columns", "Encoding", "FamilyError", "Fit", "Rows"]

#: categories: texts as codes of categories, missing values stay NaN; ordinal: texts as codes that are numbers, missing
#: numbers stay NaN; one_hot: texts one-hot, numbers imputed and standardised.
Encoding = Literal["categories", "ordinal", "one_hot"]


class FamilyError(HeadraceError, ValueError):
    """An estimator or a parameter cannot be used; the message says what was expected."""


@dataclass(frozen=True)
class Columns:
    """What a fit needs to know of the encoded columns.

    Attributes:
        categories: per column the number of codes of its categories, 0 for a number.
        directions: per column 1 if the score must not fall when its value rises, -1 if it must not rise, else 0.
    """

    categories: tuple[int, ...] = ()
    directions: tuple[int, ...] = ()


#: All columns are numbers, and none has a direction.
NUMBERS = Columns()


class Rows:
    """Encoded rows, and data that families derive from them once for all fits that share them.

    Attributes:
        x: float32, shape (n, d).
        y: labels 0 or 1, shape (n,).
        weights: shape (n,), or None if each is one.
        threads: number of threads for deriving data, as all fits wait for it; 0: the threads of the first fit.
        columns: which columns are categories, and which have a direction.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray | None = None,
        threads: int = 0,
        *,
        columns: Columns,
    ) -> None:
        self.x, self.y, self.weights, self.threads, self.columns = x, y, weights, threads, columns
        self._derived: dict[Any, Any] = {}
        self._lock = threading.RLock()

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """The result of ``make``, computed at the first call with ``key``; other callers wait for it."""
        with self._lock:
            if key not in self._derived:
                self._derived[key] = make()
            return self._derived[key]

    def latest(self, rows: int | None) -> Rows:
        """The last ``rows`` of them; all for None."""
        if rows is None or rows >= len(self.y):
            return self
        weights = None if self.weights is None else self.weights[-rows:]
        return self.once(  # type: ignore[no-any-return]
            ("latest", rows), lambda: Rows(self.x[-rows:], self.y[-rows:], weights, self.threads, columns=self.columns)
        )

    def weighted(self, class_weight: Any) -> Rows:
        """The same rows, with weights multiplied by class weights: ``balanced``, a mapping, or None for no change."""
        if class_weight is None:
            return self
        from sklearn.utils.class_weight import compute_sample_weight

        def make() -> Rows:
            by_class = compute_sample_weight(class_weight, self.y)
            weights = by_class if self.weights is None else by_class * self.weights
            return Rows(self.x, self.y, weights, self.threads, columns=self.columns)

        return self.once(("class_weight", str(class_weight)), make)  # type: ignore[no-any-return]


class Fit(ABC):
    """One fit in progress, with ``done`` iterations completed.

    A fit that is continued from its :meth:`checkpoint` gives the same model as an uninterrupted fit.

    Attributes:
        boosts: each iteration adds to the earlier ones, so that more rows allow more iterations before it overfits.
    """

    encoding: ClassVar[Encoding] = "ordinal"
    boosts: ClassVar[bool] = False
    done: int = 0
    model: Any  # the scikit-learn classifier, for families that have one during the fit

    def __init__(
        self,
        params: dict[str, Any],
        rows: Rows,
        seed: int,
        threads: int = 1,
        device: str = "cpu",
        checkpoint: bytes | None = None,
    ) -> None:
        self.params, self.rows, self.seed, self.threads, self.device = params, rows, seed, threads, device
        self.begin()
        if checkpoint is not None:
            self.resume(checkpoint)

    @abstractmethod
    def begin(self) -> None:
        """Create the estimator, not fitted yet."""

    @abstractmethod
    def advance(self, iterations: int, stopped: Callable[[], bool]) -> None:
        """Fit until ``iterations`` in total are done; a family that supports it checks ``stopped`` in between."""

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Probabilities of the positive class, shape (n,)."""
        return self.model.predict_proba(x)[:, 1]  # type: ignore[no-any-return]

    def scores(self, validation: Rows) -> np.ndarray:
        """Like :meth:`predict`, for rows that are scored repeatedly."""
        return self.predict(validation.x)

    def checkpoint(self) -> bytes:
        """The state that :meth:`resume` needs; only this code reads it, from the search's folder."""
        return pickle.dumps((self.done, self.model), protocol=5)

    def resume(self, checkpoint: bytes) -> None:
        """Continue from a checkpoint of the same fit."""
        self.done, self.model = pickle.loads(checkpoint)

    @property
    def classifier(self) -> Any:
        """The fitted scikit-learn classifier."""
        return self.model

    @classmethod
    def known(cls) -> set[str] | None:
        """Names of the family's parameters; None if it accepts any name."""
        return None
