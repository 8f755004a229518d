"""Erase an entity everywhere: tables, features, online values, prediction log, scores, reports; with a receipt.

The order is the order in which values are derived, so that no step restores an erased value: first the value is listed
for every later ingest, then its rows are removed, then what was computed from them, then what was written about them.
A step with nothing left to erase does nothing, so an erasure that was killed can be run again.
"""

from __future__ import annotations

import getpass
import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from configs.errors import HeadraceError
from configs.reading import nearest
from configs.settings import Settings
from feature_repo.definitions.dependencies import entity_join_keys
from feature_repo.frames.frame_parts import remove_idle_parts
from feature_repo.materialization.feature_erasure import ErasedFeatures, erase_features, join_keys, scrub_online
from feature_repo.storage.files import locked, read_json, write_json
from feature_repo.tables.table_erasure import ErasedRows, erase_rows, known_values, remember_erasure
from ray_cluster.erasure.documents import Mention, remains, strike_logs, strike_out
from ray_cluster.erasure.records import erase_label_overrides, erase_predictions, erase_scores

__all__ = [
    "ErasureError",
    "Receipt",
    "erase",
    "resolve",
]


class ErasureError(HeadraceError, LookupError):
    """There is no such entity or value; the message has the nearest one."""


@dataclass(frozen=True)
class Receipt:
    """What was erased, when, by whom, and how many records per place; the value itself only as a salted hash.

    ``kept``: what was not erased, and why.
    """

    join_key: str
    value_sha256: str
    salt: str
    at: str
    by: str
    dry_run: bool
    tables: dict[str, ErasedRows] = field(default_factory=dict)
    features: dict[str, ErasedFeatures] = field(default_factory=dict)
    predictions: dict[str, int] = field(default_factory=dict)
    scores: dict[str, int] = field(default_factory=dict)
    relabels: dict[str, int] = field(default_factory=dict)
    documents: dict[str, int] = field(default_factory=dict)
    kept: list[dict[str, str]] = field(default_factory=list)

    def counts(self) -> Iterator[tuple[str, str, int]]:
        """(kind, place, number removed) for every place that was searched."""
        for table, rows in self.tables.items():
            yield "table rows", table, rows.rows
            yield "quarantined rows", table, rows.quarantined
        for view, erased in self.features.items():
            yield "feature rows", view, erased.rows
            yield "online values", view, erased.online
        for kind, found in (
            ("predictions", self.predictions),
            ("scored rows", self.scores),
            ("relabels", self.relabels),
            ("mentions", self.documents),
        ):
            for place, number in found.items():
                yield kind, place, number

    @property
    def total(self) -> int:
        """Number of records that were removed, or would be."""
        return sum(number for _, _, number in self.counts())


def resolve(settings: Settings, name: str) -> str:
    """Return the join key for ``name``: itself, or the join key of the entity with this name.

    Raises:
        ErasureError: there is none (the message has the nearest).
    """
    known = join_keys(settings)
    if name in known:
        return name
    entities = entity_join_keys()
    if name in entities:
        return entities[name]
    both = sorted({*known, *entities})
    raise ErasureError(f"There is no entity or join key '{name}'.{nearest(name, both)} Known: {', '.join(both)}.")


def erase(settings: Settings, join_key: str, value: str, dry_run: bool = False) -> tuple[Receipt, Path | None]:
    """Remove the entity whose ``join_key`` is ``value``; returns the receipt and its path.

    ``dry_run``: only count. A second run finds nothing; its receipt says so.

    Raises:
        ErasureError: no data contain the value and it was never erased (the message has the nearest value).
    """
    with locked(settings.home, "forget"):
        listed = (read_json(settings.home / "erasures.json") or {}).get(join_key, [])
        if value not in listed:
            found = _receipt(settings, join_key, value, dry_run=True)
            if not found.total:
                near = nearest(value, known_values(settings, join_key))
                raise ErasureError(
                    f"No data under {settings.home} contain {join_key} = '{value}'.{near} To block it before it is "
                    "ingested, add it to erasures.json there."
                )
            if dry_run:
                return found, None
            remember_erasure(settings, join_key, value)
        receipt = _receipt(settings, join_key, value, dry_run)
        if dry_run:
            return receipt, None
        moment = datetime.fromisoformat(receipt.at)
        path = settings.home / "receipts" / f"forget-{moment:%Y%m%dT%H%M%S%fZ}-{receipt.value_sha256[:12]}.json"
        write_json(path, {**asdict(receipt), "total": receipt.total})
    return receipt, path


def _receipt(settings: Settings, join_key: str, value: str, dry_run: bool) -> Receipt:
    salt = secrets.token_hex(16)
    tables = {
        name: erase_rows(settings, name, join_key, value, dry_run)
        for name, table in settings.tables.items()
        if join_key in table.columns
    }
    features = erase_features(settings, join_key, value, dry_run)
    predictions = erase_predictions(settings, join_key, value, dry_run)
    scores = erase_scores(settings, join_key, value, dry_run)
    relabels = erase_label_overrides(settings, join_key, value, dry_run)
    mention = Mention(value)
    if not dry_run:
        remove_idle_parts(settings)
    documents = strike_out(settings, mention, dry_run) | strike_logs(settings, mention, dry_run)
    kept = [] if dry_run else _kept(settings, join_key, mention)
    return Receipt(
        join_key=join_key,
        value_sha256=hashlib.sha256(f"{salt}{value}".encode()).hexdigest(),
        salt=salt,
        at=datetime.now(UTC).isoformat(),
        by=getpass.getuser(),
        dry_run=dry_run,
        tables=tables,
        features=features,
        predictions=predictions,
        scores=scores,
        relabels=relabels,
        documents=documents,
        kept=kept,
    )


def _kept(settings: Settings, join_key: str, mention: Mention) -> list[dict[str, str]]:
    """What was not erased, on purpose or because it could not be reached."""
    found = [
        {"place": "erasures.json", "why": "contains the value, so that no later ingest restores its rows"},
        {"place": "sources", "why": "the sources of the tables are outside Headrace; remove the value there too"},
        {
            "place": "registered versions",
            "why": "were fitted on the rows too; their bundles and held-out rows contain request ids and features, no "
            "join key: if that is not enough, train again and delete the old versions",
        },
    ]
    linked = [
        f"{name}.{column}"
        for name, table in settings.tables.items()
        for column, target in table.references.items()
        if join_key not in table.columns and join_key in settings.tables[target.partition(".")[0]].columns
    ]
    if linked:
        found.append({"place": ", ".join(linked), "why": "its rows refer to removed rows by id, but not to the entity"})
    if settings.databases.kind == "embedded":
        if reason := scrub_online(settings):
            found.append({"place": "online.db", "why": f"{reason}; run it again with the endpoints down"})
    else:
        found += [
            {"place": "Redis", "why": "its files on disk contain removed values until it rewrites them"},
            {"place": "PostgreSQL", "why": "the databases of Prefect and MLflow were not searched"},
        ]
    found += [{"place": str(path), "why": why} for path, why in remains(settings, mention).items()]
    return found
