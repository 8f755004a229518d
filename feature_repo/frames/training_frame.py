"""Which rows a model is about: requests, their labels, and the training frame that joins features to both."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.definitions.dependencies import model_tables, service_views
from feature_repo.frames.expired_values import defaults, retrieve_as_served
from feature_repo.frames.fingerprints import frame_fingerprint
from feature_repo.frames.label_overrides import overlay as relabels
from feature_repo.frames.label_overrides import overlay_version, standing, with_overrides
from feature_repo.tables import connect, manifest
from feature_repo.transforms import sql

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "FrameError",
    "LABEL_KNOWN_AT",
    "PREDICTION_TIME",
    "TrainingFrame",
    "inputs_fingerprint",
    "labels",
    "model_inputs",
    "request_counts",
    "requests",
    "table_fingerprints",
    "training_frame",
]

#: Code that a training frame depends on, beside the queries of its views.
_CODE = (
    "features.py",
    "frames.py",
    "frame_parts.py",
    "as_served.py",
    "expired.py",
    "fingerprints.py",
    "transforms/calendar.py",
    "transforms/purchase.py",
    "offline/*.py",
)
#: Column that holds when a prediction is made.
PREDICTION_TIME = "prediction_time"
#: Column that holds when an outcome became known.
LABEL_KNOWN_AT = "label_known_at"


class FrameError(HeadraceError, ValueError):
    """There are no usable rows; one sentence that says which were looked for."""

    @classmethod
    def unlabelled(cls, spec: ModelSpec, rows: int, as_of: datetime) -> FrameError:
        """Of ``rows`` labelled rows that do not have both outcomes."""
        return cls(
            f"Model '{spec.name}': {rows} labelled rows in table '{spec.requests.table}' were known at "
            f"{as_of:%Y-%m-%d %H:%M} UTC, and they need both outcomes; ingest more or choose another as_of."
        )


@dataclass(frozen=True)
class TrainingFrame:
    """Labelled requests with their features as known at prediction time, in the order of that time.

    ``rows`` has the request's id, entities and fields, ``prediction_time``, ``label`` and the ``features``.
    ``fingerprint`` is of the rows' content, ``columns`` of each column's; ``tables`` of all that the raw tables hold.
    ``overlay`` is the version of the corrections that the labels have.
    """

    rows: pd.DataFrame
    features: list[str]
    fingerprint: str
    tables: dict[str, str]
    columns: dict[str, str] = field(default_factory=dict)
    overlay: int = 0


def requests(settings: Settings, spec: ModelSpec, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
    """Events to predict whose prediction time is in [start, end), known at ``as_of`` and at their prediction time."""
    request = spec.requests
    columns = list(dict.fromkeys([request.id, *request.entities, *request.fields]))
    moment, source = _asked(settings, spec)
    with connect(settings, as_of, only=[request.table]) as connection:
        frame = connection.execute(
            f"SELECT {', '.join(columns)}, {moment} {source} ORDER BY {PREDICTION_TIME}, {request.id}", [start, end]
        ).df()
    return frame


def request_counts(settings: Settings, spec: ModelSpec, as_of: datetime) -> pd.DataFrame:
    """How many of the requests known at ``as_of`` fall into each minute: columns ``moment``, ``requests``."""
    moment, source = _asked(settings, spec)
    with connect(settings, as_of, only=[spec.requests.table]) as connection:
        return connection.execute(
            f"SELECT date_trunc('minute', {PREDICTION_TIME}) AS moment, count(*) AS requests "
            f"FROM (SELECT {moment} {source}) GROUP BY 1 ORDER BY 1",
            [datetime(1970, 1, 1, tzinfo=as_of.tzinfo), as_of],
        ).df()


def _asked(settings: Settings, spec: ModelSpec) -> tuple[str, str]:
    """SQL of the prediction time, and of the rows to choose from; its parameters are start and end."""
    _require(settings, spec.requests.table)
    request = spec.requests
    known_at = settings.tables[request.table].known_at
    known = f"AND {known_at} <= {PREDICTION_TIME}" if known_at else ""
    lead = f"INTERVAL {int(request.lead.total_seconds())} SECONDS"
    return (
        f"{request.event_time} - {lead} AS {PREDICTION_TIME}",
        f'FROM "{request.table}" WHERE {PREDICTION_TIME} >= ? AND {PREDICTION_TIME} < ? {known}',
    )


def labels(
    settings: Settings,
    spec: ModelSpec,
    as_of: datetime,
    overlay: int | None = None,
    only: pd.Series | None = None,
) -> pd.DataFrame:
    """Outcomes known and mature at ``as_of``: columns id, ``label`` (0 or 1), ``label_known_at``.

    ``overlay``: version of the label corrections (:mod:`feature_repo.frames.label_overrides`); default newest, 0 none.
    ``only``: ids of the requests whose outcomes are wanted; no more than these are then held in memory.
    """
    _require(settings, spec.label.table)
    identity, known_at, ripe = spec.requests.id, spec.label.known_at, ""
    wanted = "" if only is None else f"SEMI JOIN wanted USING ({identity})"
    if spec.label.matures:
        _require(settings, spec.requests.table)
        known_at = f"greatest({known_at}, ripe_at)"
        ripe = (
            f"LEFT JOIN (SELECT {identity}, {spec.requests.event_time} + INTERVAL "
            f'{int(spec.label.matures.total_seconds())} SECONDS AS ripe_at FROM "{spec.requests.table}" {wanted}) '
            f"USING ({identity}) WHERE label_known_at <= TIMESTAMPTZ '{as_of.isoformat()}'"
        )
    with connect(settings, as_of, only=[spec.label.table, spec.requests.table]) as connection:
        if only is not None:
            connection.register("wanted", only.to_frame(identity))
        found = connection.execute(
            f"SELECT {identity}, ({spec.label.positive})::INTEGER AS label, {known_at} AS label_known_at "
            f'FROM (FROM "{spec.label.table}" {wanted}) {ripe} ORDER BY {identity}'
        ).df()
    return with_overrides(settings, spec.name, found, overlay)


def model_inputs(features: pd.DataFrame) -> pd.DataFrame:
    """Features as every model takes them: text stays text (None where missing), everything else becomes float64."""
    return features.astype({name: "float64" for name in features if features[name].dtype != object})


def inputs_fingerprint(settings: Settings, spec: ModelSpec, overlay: int | None = None) -> str:
    """Fingerprint of what a training frame is made from: tables, relabels, feature code, Feast definitions, defaults.

    Two equal ones give equal frames; it costs milliseconds, the frame itself seconds.
    """
    folder = Path(__file__).parent
    code = "".join(sql(view) for view in service_views(settings, spec.feature_service)) + "".join(
        path.read_text(encoding="utf-8") for pattern in _CODE for path in sorted(folder.glob(pattern))
    )
    corrections = sorted((each.id, each.label) for each in standing(relabels(settings, spec.name, overlay)).values())
    return hashlib.blake2b(
        f"{table_fingerprints(settings, spec)} {code} {defaults(spec.expired)} {corrections}".encode(), digest_size=8
    ).hexdigest()


def training_frame(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None = None) -> TrainingFrame:
    """Every labelled request of which request and outcome were known at ``as_of``, with features point in time.

    ``overlay``: the version of the label corrections, the newest by default; an earlier one gives an earlier frame.

    Raises:
        FrameError: no row is labelled by then, or the label does not have both values.
    """
    asked = requests(settings, spec, datetime(1970, 1, 1, tzinfo=as_of.tzinfo), as_of, as_of)
    overlay = overlay_version(settings, spec.name) if overlay is None else overlay
    known = labels(settings, spec, as_of, overlay)
    labelled = asked.merge(known[[spec.requests.id, "label"]], on=spec.requests.id, how="inner", validate="1:1")
    if labelled["label"].nunique() < 2:
        raise FrameError.unlabelled(spec, len(labelled), as_of)
    rows = retrieve_as_served(settings, spec, labelled, PREDICTION_TIME).rows
    features = [column for column in rows.columns if column not in labelled.columns]
    fingerprint, columns = frame_fingerprint(rows)
    return TrainingFrame(rows, features, fingerprint, table_fingerprints(settings, spec), columns, overlay)


def table_fingerprints(settings: Settings, spec: ModelSpec) -> dict[str, str]:
    """Fingerprints of the tables that a training frame is made from."""
    names = model_tables(settings, spec)
    return {table: found.fingerprint for table in names if (found := manifest(settings, table))}


def _require(settings: Settings, table: str) -> None:
    if manifest(settings, table) is None:
        raise FrameError(f"Table '{table}' holds nothing yet; run `headrace run ingest`.")
