"""The folder of one search, ``<home>/tune/<key>``: checkpoints of the trials, and a subfolder with Tune's state.

It is on the driver's node, and is removed when the search is done. A trial's checkpoint is replaced at each report,
before Tune learns of the report. It is outside the experiment's folder, whose files ``Tuner.restore`` copies and later
writes back.
"""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from feature_repo.storage.files import replacing
from ray_cluster.training.search.results import TrialResult

__all__ = ["Progress", "SearchCheckpoint", "trial_number"]


def trial_number(folder: str) -> int:
    """The number of the trial that has this folder.

    Tune appends letters to the name if there is such a folder already: a killed run leaves that of a trial that is not
    in its last state.

    >>> trial_number("/tmp/experiment/2"), trial_number("/tmp/experiment/2_cb50")
    (2, 2)
    """
    return int(Path(folder).name.partition("_")[0])


@dataclass(frozen=True)
class Progress:
    """A trial after ``done`` iterations.

    Attributes:
        result: its results so far.
        scores: float32 scores of the validation rows where its metric was best.
        model: the fit's checkpoint; empty if the trial is finished.
    """

    result: TrialResult
    done: int = 0
    scores: np.ndarray = field(default_factory=lambda: np.empty(0, "float32"))
    model: bytes = b""


@dataclass(frozen=True)
class SearchCheckpoint:
    """Read and write ``folder``."""

    folder: Path

    @property
    def experiment(self) -> Path:
        """The folder of Tune's experiment."""
        return self.folder / "experiment"

    def kept(self, number: int) -> Progress | None:
        """The checkpoint of a trial; None if it never started."""
        try:
            return pickle.loads(self._path(number).read_bytes())  # type: ignore[no-any-return]
        except FileNotFoundError:
            return None

    def keep(self, number: int, progress: Progress) -> None:
        """Replace the checkpoint of a trial atomically."""
        with replacing(self._path(number)) as temporary:
            temporary.write_bytes(pickle.dumps(progress, protocol=5))

    @property
    def resumable(self) -> bool:
        """Whether Tune can restore its experiment: after a kill its state may be incomplete or missing.

        Tune then runs again, on the trials' checkpoints.
        """
        try:
            trials = json.loads(self._newest("experiment_state-*.json"))["trial_data"]
            pickle.loads(self._newest("searcher-state-*.pkl"))
            return 0 < len(trials) == int(pickle.loads(self._newest("search_gen_state-*.json"))["counter"])
        except (LookupError, ValueError, EOFError, ImportError, AttributeError, pickle.UnpicklingError):
            return False

    def remove(self) -> None:
        """Remove the folder: the search is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"trial-{number:04d}.pkl"

    def _newest(self, pattern: str) -> bytes:
        return sorted(self.experiment.glob(pattern))[-1].read_bytes()
