"""What a search keeps on disk while it runs: Optuna's study as a journal, and one checkpoint per trial at work.

All of it is written by the driver alone, below ``<home>/tune/<key>/``, and removed when the search is done.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from feature_repo.storage.files import read_json, replacing, write_json
from ray_cluster.training.search.trial import Progress

if TYPE_CHECKING:
    import optuna

__all__ = ["SearchCheckpoint"]


class SearchCheckpoint:
    """The folder of one search."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def study(self) -> optuna.Study:
        """The study: as it was when the search was cut off, else a new one."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        journal = self.folder / "study.journal"
        _drop_half_a_line(journal)
        backend = JournalFileBackend(str(journal), lock_obj=cast(Any, _OneWriter()))
        return optuna.create_study(
            storage=JournalStorage(backend), study_name="search", direction="maximize", load_if_exists=True
        )

    def progress(self, number: int) -> Progress:
        """How far a trial had come; a new one where nothing is kept."""
        try:
            with np.load(self._path(number)) as kept:
                facts = json.loads(str(kept["facts"]))
                history = tuple((int(done), float(value)) for done, value in facts.pop("history"))
                return Progress(**facts, history=history, scores=kept["scores"], model=kept["model"].tobytes())
        except FileNotFoundError:
            return Progress()

    def keep(self, number: int, progress: Progress) -> None:
        """Put a trial's progress in the place of what was kept before, at once or not at all."""
        facts = asdict(replace(progress, scores=np.empty(0), model=b""))
        del facts["scores"], facts["model"]
        with replacing(self._path(number)) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                facts=json.dumps(facts),
                scores=progress.scores,
                model=np.frombuffer(progress.model, dtype="uint8"),
            )

    @property
    def seconds(self) -> float:
        """Wall seconds that the search had taken when it was cut off."""
        return float((read_json(self.folder / "spent.json") or {"seconds": 0})["seconds"])

    @seconds.setter
    def seconds(self, value: float) -> None:
        write_json(self.folder / "spent.json", {"seconds": value})

    def remove(self) -> None:
        """Forget all of it: the search is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"trial-{number:04d}.npz"


def _drop_half_a_line(journal: Path) -> None:
    """A kill may leave half a line at the end, after which Optuna would write, and then read neither."""
    if journal.is_file() and (content := journal.read_bytes()) and not content.endswith(b"\n"):
        with replacing(journal) as temporary:
            temporary.write_bytes(content[: content.rfind(b"\n") + 1])


class _OneWriter:
    """Optuna's file lock outlives a killed driver; :func:`feature_repo.storage.files.locked` keeps a second one out."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        return None
