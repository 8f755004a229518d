"""One process of a fit: it holds its share of the rows and boosts in step with the others."""

from __future__ import annotations

from typing import Any

import xgboost
from xgboost import collective

from ray_cluster.training.fitting.shares import ArrayShare, FileShare

__all__ = ["Worker"]

#: Seconds that one worker waits for another within a round before it fails.
TIMEOUT = 600


class Worker:
    """A Ray actor's methods, to be called in the order in which they stand, on all workers at once."""

    def __init__(self, rank: int) -> None:
        self._rank = rank

    def join(self, tracker: dict[str, str | int] | None) -> None:
        """Meet the other workers at the tracker; None where there are none."""
        if tracker:
            collective.init(**tracker, dmlc_task_id=f"{self._rank:06d}", dmlc_timeout=TIMEOUT)

    def load(self, share: ArrayShare | FileShare, params: dict[str, Any]) -> None:
        """Bin the share."""
        self._params = params
        self._matrix = share.matrix(int(params.get("max_bin") or 256), int(params["nthread"]))

    def boost(self, model: bytes | None, done: int, rounds: int) -> bytes | None:
        """Add ``rounds`` trees to ``model`` (UBJSON), which has ``done``; the first worker returns the result.

        The booster is made anew, with draws of its own seed: going on from a model is the same whether the worker
        fitted it or found it.
        """
        params = {**self._params, "seed": int(self._params["seed"]) + done}
        booster = xgboost.Booster(params, [self._matrix], None if model is None else bytearray(model))
        for number in range(done, done + rounds):
            booster.update(self._matrix, number)
        return bytes(booster.save_raw("ubj")) if self._rank == 0 else None

    def leave(self) -> None:
        """Say good-bye to the other workers."""
        if collective.is_distributed():
            collective.finalize()
