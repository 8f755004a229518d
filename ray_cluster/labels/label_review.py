"""Review suspect labels: a CSV file and a page for a person, who accepts or revokes corrections."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from configs import load_model
from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.reading import nearest
from configs.settings import Settings
from feature_repo.frames.label_overrides import (
    LabelOverride,
    LabelOverrideError,
    append,
    labels_folder,
    overlay,
    overlay_version,
    standing,
)
from feature_repo.frames.request_ids import id_text, id_texts
from feature_repo.frames.training_frame import PREDICTION_TIME, labels, model_inputs, requests, training_frame
from feature_repo.storage.files import replacing
from feature_repo.storage.secondary import secondary
from ray_cluster.labels.suspect_labels import mattering, out_of_fold, suspects

__all__ = [
    "DECISION",
    "QueueError",
    "Review",
    "read_queue",
    "review_labels",
    "Accepted",
    "accept_overrides",
    "revoke_override",
]

#: The columns that a person fills in.
DECISION = ["accept", "author", "reason"]
#: The columns before and after the model's entities.
FIRST, LAST = ["model", "id", "prediction_time"], ["given", "probability", "self_confidence", "suggested", "matters"]


class QueueError(HeadraceError, ValueError):
    """A review queue cannot be read, or would be overwritten; the message is one sentence."""


@dataclass(frozen=True)
class Review:
    """A written review: its path, the number of rows and of suspect labels; ``page`` is None if the page failed."""

    queue: Path
    page: Path | None
    rows: int
    suspects: int
    shown: int


def review_labels(settings: Settings, spec: ModelSpec, as_of: datetime, limit: int = 200, seed: int = 0) -> Review:
    """Judge every label known at ``as_of``, with the newest corrections, and write the ``limit`` most suspect ones.

    Raises:
        QueueError: the existing queue contains decisions of a person.
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
    facts: dict[str, Any] = {
        "model": spec.name,
        "description": spec.description,
        "as_of": as_of.isoformat(),
        "rows": len(y),
        "unlabelled": frame.unlabelled,
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
    page = None
    with secondary("page of the label review"):
        from ray_cluster.reports.label_review_page import render_review
        from ray_cluster.reports.page import write_page

        page = write_page(folder / "review.html", render_review(facts, queue))
    return Review(folder / "review.csv", page, len(y), len(found), len(queue))


def read_queue(path: Path) -> list[dict[str, str]]:
    """The rows of a queue, cells stripped of surrounding blanks.

    Raises:
        QueueError: there is no such file, it is not text, or a column is missing.
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
            f"{path} has no column '{missing[0]}'; it needs the columns that `headrace labels review` writes: "
            "model, id, given, suggested, accept, author, reason."
        )
    return rows


def _spare(path: Path) -> None:
    """Refuse to overwrite decisions of a person."""
    decided = [row for row in read_queue(path) if any(row[name] for name in DECISION)] if path.is_file() else []
    if decided:
        raise QueueError(
            f"{path} has decisions in {len(decided)} row{'s' if len(decided) > 1 else ''}; add them with "
            "`headrace labels accept`, and move the file away."
        )


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


_YES, _NO = ("yes", "y", "true", "1", "x"), ("", "no", "n", "false", "0")


@dataclass(frozen=True)
class Accepted:
    """The accepted corrections: the overlay's new version and its lines."""

    model: str
    version: int
    relabels: list[LabelOverride]


def accept_overrides(settings: Settings, path: Path, author: str = "", reason: str = "") -> Accepted:
    """Add every row of the queue that says ``accept`` to the model's overlay, as one version.

    ``author`` and ``reason`` are the defaults for rows that have none.

    Raises:
        QueueError: the file is not a review queue.
        LabelOverrideError: a row cannot be accepted: its id is unknown, a label is not 0 or 1 or has changed since the
            review, or author or reason is missing; then no row is accepted.
    """
    rows = [(number, row) for number, row in enumerate(read_queue(path), 2) if _accepted(path, number, row["accept"])]
    if not rows:
        raise LabelOverrideError(f"{path} accepts nothing; write yes in the column accept of each row to accept.")
    names = sorted({row["model"] for _, row in rows})
    if len(names) > 1:
        raise LabelOverrideError(f"{path} is about {len(names)} models ({', '.join(names)}); accept one file for each.")
    spec = load_model(names[0], str(settings.folder))
    version = overlay_version(settings, spec.name)
    now, source, entities = _known(settings, spec, version)
    found: dict[str, LabelOverride] = {}
    for number, row in rows:
        where, identity = f"{path} line {number} (id {row['id']})", row["id"]
        if identity not in now:
            raise LabelOverrideError(
                f"{where}: table '{spec.label.table}' has no label of this id.{nearest(identity, list(now))} "
                "Keep the ids as `headrace labels review` wrote them."
            )
        if identity in found:
            raise LabelOverrideError(f"{where}: the id was on an earlier line; accept it once.")
        for name in ("given", "suggested"):
            if row[name] not in ("0", "1"):
                raise LabelOverrideError(f"{where}: {name} = '{row[name]}'; a label is 0 or 1.")
        if int(row["given"]) != now[identity]:
            raise LabelOverrideError(
                f"{where}: the label was {row['given']} when it was reviewed and is {now[identity]} now; "
                "review it again with `headrace labels review`."
            )
        if row["suggested"] == row["given"]:
            raise LabelOverrideError(f"{where}: the label is {row['suggested']} already; leave the line out.")
        said = {"author": row["author"] or author.strip(), "reason": row["reason"] or reason.strip()}
        for name, value in said.items():
            if not value:
                raise LabelOverrideError(f"{where} has no {name}; fill in its column, or pass --{name}.")
        found[identity] = LabelOverride(
            id=identity,
            label=int(row["suggested"]),
            given=source[identity],
            at=datetime.now(UTC).isoformat(),
            entities=entities.get(identity),
            author=said["author"],
            reason=said["reason"],
        )
    made = list(found.values())
    return Accepted(spec.name, append(settings, spec.name, made, version), made)


def revoke_override(settings: Settings, spec: ModelSpec, identity: str, author: str, reason: str) -> Accepted:
    """Revoke the correction of an id, as a new version; the label is the source's again.

    Raises:
        LabelOverrideError: the id has no active correction, or author or reason is missing.
    """
    lines = overlay(settings, spec.name)
    version = max((each.version for each in lines), default=0)
    present = standing(lines)
    if identity not in present:
        raise LabelOverrideError(
            f"Model '{spec.name}' has no active relabel of '{identity}'.{nearest(identity, list(present))} "
            "`headrace labels list` shows the active ones."
        )
    for name, value in (("author", author), ("reason", reason)):
        if not value.strip():
            raise LabelOverrideError(f"Revoking '{identity}' needs --{name}: it is stored with the relabel.")
    old = present[identity]
    line = LabelOverride(
        identity, None, old.given, author.strip(), reason.strip(), datetime.now(UTC).isoformat(), entities=old.entities
    )
    return Accepted(spec.name, append(settings, spec.name, [line], version), [line])


def _accepted(path: Path, number: int, cell: str) -> bool:
    if cell.lower() in _YES:
        return True
    if cell.lower() in _NO:
        return False
    raise LabelOverrideError(f"{path} line {number}: accept = '{cell}'; write yes, or leave it empty.")


def _known(
    settings: Settings, spec: ModelSpec, version: int
) -> tuple[dict[str, int], dict[str, int], dict[str, dict[str, str | None]]]:
    """Per id: the label with the overlay's ``version``, the source's, and the request's entities, as known now."""
    now = datetime.now(UTC)

    def by_id(of: int) -> dict[str, int]:
        held = labels(settings, spec, now, of)
        return dict(zip(id_texts(held[spec.requests.id]), held["label"].astype(int).tolist(), strict=True))

    asked = requests(settings, spec, datetime(1970, 1, 1, tzinfo=UTC), now, now)
    keys: Sequence[str] = list(spec.requests.entities)
    entities = asked[keys].astype(object).where(asked[keys].notna(), None).to_dict("records")
    held = {
        identity: {str(key): None if value is None else str(value) for key, value in each.items()}
        for identity, each in zip(id_texts(asked[spec.requests.id]), entities, strict=True)
    }
    return by_id(version), by_id(0), held
