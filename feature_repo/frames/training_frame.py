"""A model's rows: requests, their labels, and the training frame that joins features to both."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.model import ModelSpec
from configs.settings import Settings
from feature_repo.definitions.dependencies import model_tables, service_views
from feature_repo.definitions.feature_store import feature_views
from feature_repo.frames.expired_values import defaults, retrieve_as_served
from feature_repo.frames.fingerprints import frame_files, frame_fingerprint
from feature_repo.frames.label_overrides import overlay as relabels
from feature_repo.frames.label_overrides import overlay_version, standing, with_overrides
from feature_repo.storage.code_files import code_fingerprint
from feature_repo.storage.float32 import LARGEST, beyond
from feature_repo.storage.sql import text_literal
from feature_repo.tables import connect, manifest
from feature_repo.transforms import sql

if TYPE_CHECKING:
    import pandas as pd
    from duckdb import DuckDBPyConnection

__all__ = [
    "FrameError",
    "LABEL_KNOWN_AT",
    "LabelError",
    "PREDICTION_TIME",
    "TrainingFrame",
    "check_finite",
    "inputs_fingerprint",
    "labelled_requests",
    "labels",
    "model_inputs",
    "request_counts",
    "requests",
    "table_fingerprints",
    "training_frame",
]

#: Column of the prediction time.
PREDICTION_TIME = "prediction_time"
#: Column of the time when an outcome became known.
LABEL_KNOWN_AT = "label_known_at"
#: DuckDB's types whose values can equal 0 or 1; a text such as '1' is not a label.
_LABEL_TYPES = re.compile(r'(BOOLEAN|U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|BIGNUM|FLOAT|DOUBLE|DECIMAL\(.*\)|"NULL")')


class FrameError(HeadraceError, ValueError):
    """There are no usable rows; the message says which were searched."""

    @classmethod
    def unlabelled(cls, spec: ModelSpec, rows: int, as_of: datetime) -> FrameError:
        """Error for ``rows`` labelled rows that do not have both outcomes."""
        return cls(
            f"Model '{spec.name}': {rows} labelled rows in table '{spec.requests.table}' were known at "
            f"{as_of:%Y-%m-%d %H:%M} UTC, but both outcomes are needed; ingest more rows or choose another as_of."
        )


class LabelError(HeadraceError, ValueError):
    """The label SQL of a model fails, or returns a value other than true, false, 0, 1 or null."""


@dataclass(frozen=True)
class TrainingFrame:
    """Labelled requests with their features as known at prediction time, in the order of that time.

    ``rows`` has the request's id, entities and fields, ``prediction_time``, ``label`` and the ``features``.
    ``fingerprint`` is of the rows' content, ``columns`` of each column's; ``tables`` of the raw tables' content.
    ``overlay`` is the version of the labels' corrections. ``unlabelled`` counts the requests that were
    left out because their label is null.
    """

    rows: pd.DataFrame
    features: list[str]
    fingerprint: str
    tables: dict[str, str]
    columns: dict[str, str] = field(default_factory=dict)
    overlay: int = 0
    unlabelled: int = 0


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
    """Number of requests known at ``as_of`` in each minute: columns ``moment``, ``requests``."""
    moment, source = _asked(settings, spec)
    with connect(settings, as_of, only=[spec.requests.table]) as connection:
        return connection.execute(
            f"SELECT date_trunc('minute', {PREDICTION_TIME}) AS moment, count(*) AS requests "
            f"FROM (SELECT {moment} {source}) GROUP BY 1 ORDER BY 1",
            [datetime(1970, 1, 1, tzinfo=as_of.tzinfo), as_of],
        ).df()


def _asked(settings: Settings, spec: ModelSpec) -> tuple[str, str]:
    """SQL of the prediction time, and of the rows to select from; its parameters are start and end."""
    _require(settings, spec.requests.table)
    request = spec.requests
    known_at = settings.tables[request.table].known_at
    known = f"AND {known_at} <= {PREDICTION_TIME}" if known_at else ""
    lead = f"INTERVAL {int(request.lead.total_seconds())} SECONDS"
    return (
        f"{request.event_time} - {lead} AS {PREDICTION_TIME}",
        f'FROM "{request.table}" WHERE {PREDICTION_TIME} >= ? AND {PREDICTION_TIME} < ? {known}',
    )


def labels(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None = None) -> pd.DataFrame:
    """Outcomes known and mature at ``as_of`` that have a label: columns id, ``label`` (0 or 1), ``label_known_at``.

    A row with a null label is left out, even if it has a correction.

    ``overlay``: version of the label corrections (:mod:`feature_repo.frames.label_overrides`); default newest, 0 none.

    Raises:
        LabelError: the label SQL returns a value other than true, false, 0, 1 or null for a row known at ``as_of``.
    """
    return _labels(settings, spec, as_of, overlay)[0]


def labelled_requests(
    settings: Settings, spec: ModelSpec, asked: pd.DataFrame, as_of: datetime, overlay: int
) -> tuple[pd.DataFrame, int]:
    """The requests that have a label, with the columns of :func:`labels`, and how many have a null label.

    Only the labels of these requests are loaded into memory.

    Raises:
        LabelError: as for :func:`labels`; all rows of the table are checked, not only the requested ones.
    """
    known, unlabelled = _labels(settings, spec, as_of, overlay, only=asked[spec.requests.id])
    return asked.merge(known, on=spec.requests.id, how="inner", validate="1:1"), unlabelled


def _labels(
    settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None, only: pd.Series | None = None
) -> tuple[pd.DataFrame, int]:
    """Rows as :func:`labels` returns them, and how many were left out because their label is null.

    ``only``: ids of the requested outcomes.
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
        _check_labels(connection, spec)
        if only is not None:
            connection.register("wanted", only.to_frame(identity))
        found = connection.execute(
            f"SELECT {identity}, ({spec.label.positive})::INTEGER AS label, {known_at} AS label_known_at "
            f'FROM (FROM "{spec.label.table}" {wanted}) {ripe} ORDER BY {identity}'
        ).df()
    known = found.dropna(subset=["label"]).astype({"label": "int32"}).reset_index(drop=True)
    return with_overrides(settings, spec.name, known, overlay), len(found) - len(known)


def _check_labels(connection: DuckDBPyConnection, spec: ModelSpec) -> None:
    """Raise a LabelError unless the label SQL returns true, false, 0, 1 or null in every row of its table."""
    import duckdb

    sql, table = spec.label.positive, spec.label.table
    values = f'(SELECT ({sql}) AS value FROM "{table}")'
    try:
        kind: str = connection.execute(f"DESCRIBE FROM {values}").fetchall()[0][1]
        valid = "value IN (0, 1)" if _LABEL_TYPES.fullmatch(kind) else "false"
        other = f"value IS NOT NULL AND NOT ({valid})"
        rows, count, example = connection.execute(
            f"SELECT count(*), count(*) FILTER ({other}), min(value::VARCHAR) FILTER ({other}) FROM {values}"
        ).fetchall()[0]
    except duckdb.Error as error:
        why = str(error).strip().splitlines()[0].rstrip(".!")
        raise LabelError(
            f"Model '{spec.name}': label.positive = '{sql}' cannot be computed on table '{table}': {why}; correct it "
            "in the model's file."
        ) from None
    if count:
        raise LabelError(
            f"Model '{spec.name}': label.positive = '{sql}' returns a value other than true, false, 0, 1 or null in "
            f"{count:,} of {rows:,} rows of table '{table}', for example {_literal(kind, example)}; write a condition, "
            f"for example ({sql}) {_condition(kind, example)}."
        )


def _condition(kind: str, example: Any) -> str:
    """The end of a condition on a value of this type."""
    if _LABEL_TYPES.fullmatch(kind):
        return "> 0.5"
    return f"= {_literal(kind, example)}" if kind == "VARCHAR" else "IS NOT NULL"


def _literal(kind: str, example: str) -> str:
    return text_literal(example) if kind == "VARCHAR" else example


def check_finite(settings: Settings, spec: ModelSpec, features: pd.DataFrame, ids: pd.Series) -> None:
    """Check that all numbers are finite in float32, the type that models are fitted on.

    Raises:
        FrameError: one is not; the message names the first such feature, its view and a row.
    """
    for name in features:
        if features[name].dtype.kind != "f":
            continue
        found = beyond(features[name].to_numpy())
        if found.any():
            views, first = feature_views(settings, spec.feature_service), int(found.argmax())
            raise FrameError(
                f"Model '{spec.name}': feature '{name}' of view '{views.get(name, 'unknown')}' is infinite or beyond "
                f"±{LARGEST:.1e} in {found.sum():,} of {len(features):,} rows, for example "
                f"{features[name].iloc[first]} where {spec.requests.id} = {ids.iloc[first]!r}; return null there, for "
                "example divide by nullif(…, 0)."
            )


def model_inputs(features: pd.DataFrame) -> pd.DataFrame:
    """Features as inputs of a model: text does not change (None if missing), all other types become float64."""
    return features.astype({name: "float64" for name in features if features[name].dtype != object})


def inputs_fingerprint(settings: Settings, spec: ModelSpec, overlay: int | None = None) -> str:
    """Fingerprint of the inputs of a training frame: tables, relabels, feature code, Feast definitions, defaults.

    Equal fingerprints mean equal frames; computing it takes milliseconds, the frame itself seconds.
    """
    queries = "".join(sql(view) for view in service_views(settings, spec.feature_service))
    code = code_fingerprint(frame_files(), queries)
    corrections = sorted((each.id, each.label) for each in standing(relabels(settings, spec.name, overlay)).values())
    return hashlib.blake2b(
        f"{table_fingerprints(settings, spec)} {code} {defaults(spec.expired)} {corrections}".encode(), digest_size=8
    ).hexdigest()


def training_frame(settings: Settings, spec: ModelSpec, as_of: datetime, overlay: int | None = None) -> TrainingFrame:
    """All labelled requests whose request and outcome were known at ``as_of``, with point-in-time features.

    ``overlay``: the version of the label corrections, the newest by default; an earlier one returns an earlier frame.

    Raises:
        FrameError: no row is labelled by then, the label does not have both values, or a feature is infinite.
        LabelError: the label SQL returns a value other than true, false, 0, 1 or null.
    """
    asked = requests(settings, spec, datetime(1970, 1, 1, tzinfo=as_of.tzinfo), as_of, as_of)
    overlay = overlay_version(settings, spec.name) if overlay is None else overlay
    labelled, unlabelled = labelled_requests(settings, spec, asked, as_of, overlay)
    labelled = labelled.drop(columns=LABEL_KNOWN_AT)
    if labelled["label"].nunique() < 2:
        raise FrameError.unlabelled(spec, len(labelled), as_of)
    rows = retrieve_as_served(settings, spec, labelled, PREDICTION_TIME).rows
    features = [column for column in rows.columns if column not in labelled.columns]
    check_finite(settings, spec, rows[features], rows[spec.requests.id])
    fingerprint, columns = frame_fingerprint(rows)
    return TrainingFrame(rows, features, fingerprint, table_fingerprints(settings, spec), columns, overlay, unlabelled)


def table_fingerprints(settings: Settings, spec: ModelSpec) -> dict[str, str]:
    """Fingerprints of the tables of a training frame."""
    names = model_tables(settings, spec)
    return {table: found.fingerprint for table in names if (found := manifest(settings, table))}


def _require(settings: Settings, table: str) -> None:
    if manifest(settings, table) is None:
        raise FrameError(f"Table '{table}' has no rows yet; run `headrace run ingest`.")
