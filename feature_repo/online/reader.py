"""Read feature vectors from the online store, and run on-demand views over them and the request's fields."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from configs.settings import Settings
from feature_repo.online import open_values
from feature_repo.online.codec import Features, decode, layout_id
from feature_repo.online.columns import NAT, Arrangement, Columns, Stored
from feature_repo.online.entity_keys import component
from feature_repo.online.pandas_private import Block, frame_of
from feature_repo.online.service import OnDemand, feature_service
from feature_repo.online.values import OnlineValues
from feature_repo.storage.float32 import beyond

__all__ = [
    "compute",
    "moments",
    "OnlineReader",
    "OnlineVectors",
]


def compute(view: OnDemand, rows: pd.DataFrame, arrangement: Arrangement, columns: Columns) -> None:
    """Run one on-demand view's code on ``rows`` and write its features to their columns.

    Its inputs have the types of a training frame: whole numbers with gaps are float64.
    """
    blocks = [_requested(rows[name], kind, place) for place, (name, kind) in enumerate(view.request.items())]
    blocks += [_held(name, place, arrangement, columns) for place, name in enumerate(view.stored, len(blocks))]
    inputs = frame_of(pd.Index([*view.request, *view.stored]), rows.index, blocks)
    made = view.code(inputs if view.mode == "pandas" else inputs.to_dict("list"))
    for name in view.outputs:
        values = made[name] if isinstance(made[name], pd.Series) else pd.Series(made[name], rows.index)
        if name in arrangement.matrix:
            plain = isinstance(values.dtype, np.dtype) and values.dtype != object
            columns.matrix[:, arrangement.matrix[name]] = (
                values.to_numpy() if plain else values.to_numpy("float64", na_value=np.nan)
            )
        elif name in arrangement.times:
            columns.times[:, arrangement.times[name]] = moments(pd.to_datetime(values, utc=True))
        else:
            words = values.astype(object)
            columns.texts[:, arrangement.texts[name]] = words.where(words.notna(), None).to_numpy()


def moments(times: pd.Series) -> np.ndarray[Any, Any]:
    """Microseconds since 1970; naive times count as UTC."""
    if times.dtype == object:
        times = pd.to_datetime(times, utc=True)
    found: np.ndarray[Any, Any] = times.to_numpy("M8[us]").view(np.int64)
    return found


def _requested(values: pd.Series, kind: str, place: int) -> Block:
    """A request's field as its declared type."""
    if kind == "time":
        if not isinstance(values.dtype, pd.DatetimeTZDtype):
            values = pd.to_datetime(values, utc=True)
        return values.to_numpy("M8[ns]").view(np.int64)[:, None], [place], "ns"
    if kind == "number" or (kind == "integer" and values.isna().any()):
        return values.to_numpy("float64", na_value=np.nan)[:, None], [place], None
    if kind == "integer":
        return values.to_numpy("int64")[:, None], [place], None
    if kind == "boolean" and not values.isna().any():
        return values.to_numpy("bool")[:, None], [place], None
    return values.to_numpy(object)[:, None], [place], None


def _held(name: str, place: int, arrangement: Arrangement, columns: Columns) -> Block:
    """A stored feature; the code gets a copy, because it may write to its inputs."""
    if name in arrangement.matrix:
        return columns.matrix[:, [arrangement.matrix[name]]], [place], None
    if name in arrangement.texts:
        return columns.texts[:, [arrangement.texts[name]]], [place], None
    return columns.times[:, [arrangement.times[name]]], [place], "us"


@dataclass(frozen=True)
class OnlineVectors:
    """Feature vectors read online, each frame with one row per request.

    ``features``: the model's input columns; null if there is no value, if it had expired, or if it is infinite in
    float32, such as the result of a division by zero. ``event_times``: per feature view the UTC event time of the
    value, NaT if there is none. ``expired``: per feature view whether a value exists but is older than its TTL.
    ``known_until``: per feature view the as-of time of its materialization.
    """

    features: pd.DataFrame
    event_times: pd.DataFrame
    expired: pd.DataFrame
    known_until: dict[str, datetime | None]


class OnlineReader:
    """Read one feature service of features.py from the online store; thread-safe.

    Attributes: ``entities`` (join keys) and ``request_fields`` that rows must have; ``features`` in order;
    ``view_keys``, ``view_features`` and ``ttls`` (seconds, 0 = never) of each stored view.

    Raises:
        LookupError: features.py has no such service.
        LayoutError: it uses a type or view that cannot be read online.
    """

    def __init__(self, settings: Settings, service: str, values: OnlineValues | None = None) -> None:
        self._service = feature_service(settings, service)
        self._values = values or open_values(settings)
        self.features: list[str] = list(self._service.features)
        self.view_features: dict[str, list[str]] = dict(self._service.view_features)
        stored = {view: self._service.views[view] for view in self.view_features}
        self.view_keys: dict[str, list[str]] = {view: list(layout.join_keys) for view, layout in stored.items()}
        self.ttls: dict[str, float] = {view: layout.ttl for view, layout in stored.items()}
        keys = [key for layout in self._service.views.values() for key in layout.join_keys]
        self.entities: list[str] = list(dict.fromkeys(keys))
        fields = [name for each in self._service.on_demand for name in each.request]
        self.request_fields: list[str] = list(dict.fromkeys(fields))
        self._arrangement = Arrangement(self._service)
        self._stored = self._arrangement.stored
        self._layouts = [view.layout for view in self._stored]
        #: Maximum age of each view's values in microseconds; larger than any age if they never expire.
        self._oldest = np.array([round(layout.ttl * 1_000_000) or 2**63 - 1 for layout in self._layouts], np.int64)
        self._views = pd.Index(list(self.view_keys))
        self._written: dict[str, dict[bytes, Features]] = {}

    def read(self, rows: pd.DataFrame, as_of: pd.Series) -> OnlineVectors:
        """Vectors for ``rows`` (entities and request fields); values older than their TTL at ``as_of`` are null.

        A row whose entity is null or unknown has no value.

        Raises:
            OnlineError: the online store does not answer.
        """
        columns = self._arrangement.columns(len(rows))
        parts = {name: [component(value) for value in rows[name].tolist()] for name in self.entities}
        wanted = [_unique(_keys([parts[key] for key in layout.join_keys], len(rows))) for layout in self._layouts]
        found = self._values.look_up(self._layouts, [keys for keys, _ in wanted])
        events, at = np.full((len(rows), len(self._stored)), NAT, np.int64), moments(as_of)
        for place, (view, (_, inverse), values) in enumerate(zip(self._stored, wanted, found.values, strict=True)):
            view.fill(self._own(view, values), inverse, at, columns, events[:, place])
        held, at = events != NAT, at[:, None]
        expired = held & (at - np.where(held, events, 0) > self._oldest) & (at != NAT)
        if expired.any():
            for place in np.flatnonzero(expired.any(axis=0)).tolist():
                self._stored[place].empty(expired[:, place], columns)
        for each in self._service.on_demand:
            compute(each, rows, self._arrangement, columns)
        columns.matrix[beyond(columns.matrix)] = np.nan
        events[held] *= 1000  # nanoseconds
        shown = len(self._views)
        return OnlineVectors(
            self._arrangement.frame(rows.index, columns),
            frame_of(self._views, rows.index, [(events[:, :shown], range(shown), "ns")]),
            frame_of(self._views, rows.index, [(expired[:, :shown], range(shown), None)]),
            dict(zip(self.view_keys, found.known_until[:shown], strict=True)),
        )

    def _own(self, view: Stored, values: list[bytes | None]) -> list[bytes | None]:
        """Convert values of other layouts to this one: features of the same name and kind are kept."""
        ids = {layout_id(value) for value in values if value is not None} - {view.codec.id}
        if not ids:
            return values
        known = self._written.get(view.layout.view, {})
        if ids - known.keys():
            known = self._values.written_layouts(view.layout)
            self._written[view.layout.view] = known
        table = decode(view.layout, values, known)
        held: Any = table["event_timestamp"].is_valid()
        encoded = iter(view.codec.encode(view.layout.view, table.filter(held)).to_pylist())
        return [next(encoded) if there else None for there in held.to_pylist()]


def _keys(parts: Sequence[list[bytes | None]], count: int) -> list[bytes | None]:
    """Key of each row; None if a join key is missing."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return [b""] * count
    return [None if None in row else b"|".join(row) for row in zip(*parts, strict=True)]  # type: ignore[arg-type]


def _unique(keys: list[bytes | None]) -> tuple[list[bytes], np.ndarray[Any, Any] | None]:
    """The distinct keys, and for each row the index of its key (-1: none); None if there is one per row, in order."""
    places: dict[bytes, int] = {}
    inverse = [-1 if key is None else places.setdefault(key, len(places)) for key in keys]
    return list(places), None if len(places) == len(keys) else np.array(inverse)
