"""Estimators for searches, which Ray's workers import by name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np


class Slow:
    """An estimator that takes its time, fails, kills its process, or gives the first input as its score."""

    def __init__(self, seconds: float = 0.0, fails: bool = False, kills: bool = False) -> None:
        self.seconds, self.fails, self.kills = seconds, fails, kills

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"seconds": self.seconds, "fails": self.fails, "kills": self.kills}

    def fit(self, x: Any, y: Any) -> Slow:
        time.sleep(self.seconds)
        if self.kills:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fails:
            raise ValueError("too few\n rows of this kind")
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return np.stack([1 - x[:, 0], x[:, 0]], axis=1)


class Other(Slow):
    """Another family."""
