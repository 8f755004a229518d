"""Take over the corrections that a person accepted, or take one back: all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from configs import load_model
from configs.model import ModelSpec
from configs.reading import nearest
from configs.settings import Settings
from feature_repo.frames import labels, requests
from feature_repo.relabels import Relabel, RelabelError, append, overlay, overlay_version, standing
from feature_repo.request_ids import id_texts
from ray_cluster.labels.queue import read_queue

__all__ = ["Accepted", "accept_relabels", "revoke_relabel"]

_YES, _NO = ("yes", "y", "true", "1", "x"), ("", "no", "n", "false", "0")


@dataclass(frozen=True)
class Accepted:
    """What was taken over: the overlay's new version and its lines."""

    model: str
    version: int
    relabels: list[Relabel]


def accept_relabels(settings: Settings, path: Path, author: str = "", reason: str = "") -> Accepted:
    """Add every row of the queue that says ``accept`` to the model's overlay, as one version.

    ``author`` and ``reason`` stand where a row has none.

    Raises:
        QueueError: the file is no review queue.
        RelabelError: a row cannot be taken: its id is not known, a label is not 0 or 1 or has changed meanwhile,
            author or reason is missing; then no row is.
    """
    rows = [(number, row) for number, row in enumerate(read_queue(path), 2) if _accepted(path, number, row["accept"])]
    if not rows:
        raise RelabelError(f"{path} accepts nothing; write yes in the column accept of the rows to take over.")
    names = sorted({row["model"] for _, row in rows})
    if len(names) > 1:
        raise RelabelError(f"{path} is about {len(names)} models ({', '.join(names)}); accept one file for each.")
    spec = load_model(names[0], str(settings.folder))
    version = overlay_version(settings, spec.name)
    now, source, entities = _known(settings, spec, version)
    found: dict[str, Relabel] = {}
    for number, row in rows:
        where, identity = f"{path} line {number} (id {row['id']})", row["id"]
        if identity not in now:
            raise RelabelError(
                f"{where}: table '{spec.label.table}' has no label of this id.{nearest(identity, list(now))} "
                "Keep the ids as `headrace labels review` wrote them."
            )
        if identity in found:
            raise RelabelError(f"{where}: the id was on an earlier line; accept it once.")
        for name in ("given", "suggested"):
            if row[name] not in ("0", "1"):
                raise RelabelError(f"{where}: {name} = '{row[name]}'; a label is 0 or 1.")
        if int(row["given"]) != now[identity]:
            raise RelabelError(
                f"{where}: the label was {row['given']} when it was reviewed and is {now[identity]} now; "
                "review it again with `headrace labels review`."
            )
        if row["suggested"] == row["given"]:
            raise RelabelError(f"{where}: the suggested label {row['suggested']} is the one that it has; leave it out.")
        said = {"author": row["author"] or author.strip(), "reason": row["reason"] or reason.strip()}
        for name, value in said.items():
            if not value:
                raise RelabelError(f"{where} has no {name}; fill in its column, or give --{name}.")
        found[identity] = Relabel(
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


def revoke_relabel(settings: Settings, spec: ModelSpec, identity: str, author: str, reason: str) -> Accepted:
    """Take the correction of an id back, as a version of its own; the label is the source's again.

    Raises:
        RelabelError: no correction of the id is in force, or author or reason is missing.
    """
    lines = overlay(settings, spec.name)
    version = max((each.version for each in lines), default=0)
    present = standing(lines)
    if identity not in present:
        raise RelabelError(
            f"No relabel of '{identity}' is in force for model '{spec.name}'.{nearest(identity, list(present))} "
            "`headrace labels list` shows those that are."
        )
    for name, value in (("author", author), ("reason", reason)):
        if not value.strip():
            raise RelabelError(f"Revoking '{identity}' needs --{name}: it is kept with the relabel.")
    old = present[identity]
    line = Relabel(
        identity, None, old.given, author.strip(), reason.strip(), datetime.now(UTC).isoformat(), entities=old.entities
    )
    return Accepted(spec.name, append(settings, spec.name, [line], version), [line])


def _accepted(path: Path, number: int, cell: str) -> bool:
    if cell.lower() in _YES:
        return True
    if cell.lower() in _NO:
        return False
    raise RelabelError(f"{path} line {number}: accept = '{cell}'; write yes, or leave it empty.")


def _known(
    settings: Settings, spec: ModelSpec, version: int
) -> tuple[dict[str, int], dict[str, int], dict[str, dict[str, str | None]]]:
    """Per id the label with the overlay's ``version``, the source's, and the request's entities; as known now."""
    now = datetime.now(UTC)

    def by_id(of: int) -> dict[str, int]:
        held = labels(settings, spec, now, of)
        return dict(zip(id_texts(held[spec.requests.id]), held["label"].astype(int).tolist(), strict=True))

    asked = requests(settings, spec, datetime(1970, 1, 1, tzinfo=UTC), now, now)
    keys: Sequence[str] = list(spec.requests.entities)
    told = asked[keys].astype(object).where(asked[keys].notna(), None).to_dict("records")
    held = {
        identity: {str(key): None if value is None else str(value) for key, value in each.items()}
        for identity, each in zip(id_texts(asked[spec.requests.id]), told, strict=True)
    }
    return by_id(version), by_id(0), held
