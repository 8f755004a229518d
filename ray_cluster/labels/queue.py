"""The review queue: the suspect labels as a CSV file for a person to decide on, and as a page to look at."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.files import replacing
from feature_repo.frames import PREDICTION_TIME, model_inputs, training_frame
from feature_repo.relabels import labels_folder
from feature_repo.request_ids import id_text
from ray_cluster.labels.suspects import mattering, out_of_fold, suspects

__all__ = ["DECISION", "QueueError", "Review", "read_queue", "review_labels"]

#: The columns that a person fills in.
DECISION = ["accept", "author", "reason"]
#: The columns before and after the model's entities.
FIRST, LAST = ["model", "id", "prediction_time"], ["given", "probability", "self_confidence", "suggested", "matters"]


class QueueError(ValueError):
    """A review queue that cannot be read, or that would be lost; one sentence."""


@dataclass(frozen=True)
class Review:
    """A review that was written: where, of how many rows, and how many labels are suspect."""

    queue: Path
    page: Path
    rows: int
    suspects: int
    shown: int


def review_labels(settings: Settings, spec: ModelSpec, as_of: datetime, limit: int = 200, seed: int = 0) -> Review:
    """Judge every label known at ``as_of``, with the newest corrections, and write the ``limit`` most suspect ones.

    Raises:
        QueueError: the queue that is there holds decisions of a person.
        FrameError, SuspectError: there are no rows to judge.
    """
    folder = labels_folder(settings, spec.name)
    _spare(folder / "review.csv")
    frame = training_frame(settings, spec, as_of)
    rows, features = frame.rows, model_inputs(frame.rows[frame.features])
    y = rows["label"].to_numpy().astype("int64")
    out = out_of_fold(features, y, seed, spec.inputs)
    found = suspects(y, out.probability)
    queue = []
    for place in found[:limit]:
        given, probability = int(y[place]), float(out.probability[place])
        row = rows.iloc[place]
        queue.append(
            {
                "model": spec.name,
                "id": id_text(row[spec.requests.id]),
                "prediction_time": row[PREDICTION_TIME].isoformat(),
                **{name: row[name] for name in spec.requests.entities},
                "given": given,
                "probability": f"{probability:.4f}",
                "self_confidence": f"{probability if given else 1 - probability:.4f}",
                "suggested": 1 - given,
                "matters": mattering(out, features.iloc[place].to_dict(), place),
            }
        )
    _write(folder / "review.csv", [*FIRST, *spec.requests.entities, *LAST, *DECISION], queue)
    from ray_cluster.report.label_page import render_review
    from ray_cluster.report.page import write_page

    facts: dict[str, Any] = {
        "model": spec.name,
        "description": spec.description,
        "as_of": as_of.isoformat(),
        "rows": len(y),
        "positives": int(y.sum()),
        "overlay": frame.overlay,
        "suspects": len(found),
        "of_positives": int(y[found].sum()),
        "entities": list(spec.requests.entities),
        "start": rows[PREDICTION_TIME].min().isoformat(),
        "end": rows[PREDICTION_TIME].max().isoformat(),
        "probabilities": {"given 0": out.probability[y == 0].tolist(), "given 1": out.probability[y == 1].tolist()},
        "queue": str(folder / "review.csv"),
    }
    page = write_page(folder / "review.html", render_review(facts, queue))
    return Review(folder / "review.csv", page, len(y), len(found), len(queue))


def read_queue(path: Path) -> list[dict[str, str]]:
    """The rows of a queue, cells stripped of blanks around them.

    Raises:
        QueueError: there is no such file, it is no text, or a column is missing.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            rows = [{str(name): (value or "").strip() for name, value in row.items()} for row in reader]
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise QueueError(f"{path} cannot be read ({why}); name the CSV file of `headrace labels review`.") from None
    missing = [name for name in ("model", "id", "given", "suggested", *DECISION) if name not in columns]
    if missing:
        raise QueueError(
            f"{path} has no column '{missing[0]}'; it needs what `headrace labels review` writes: "
            "model, id, given, suggested, accept, author, reason."
        )
    return rows


def _spare(path: Path) -> None:
    """Refuse to write over what a person has filled in."""
    decided = [row for row in read_queue(path) if any(row[name] for name in DECISION)] if path.is_file() else []
    if decided:
        raise QueueError(
            f"{path} has decisions in {len(decided)} row{'s' if len(decided) > 1 else ''}; take them over with "
            "`headrace labels accept`, and move the file away."
        )


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)
