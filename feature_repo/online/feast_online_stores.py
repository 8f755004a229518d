"""Feast's online stores for our online values, named in feature_store.yaml: ``feast materialize``,
``get_online_features`` and ``write_to_online_store`` use the same data and rules as :mod:`feature_repo.online.values`.

Feast passes values one protobuf at a time, which takes ten times as long as a table: ``store.materialize`` and
:class:`feature_repo.online.reader.OnlineReader` bypass it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from feast import Entity, FeatureView
from feast.feature_view import DUMMY_ENTITY_ID
from feast.infra.online_stores.online_store import OnlineStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_config import FeastConfigBaseModel, RepoConfig

from feature_repo.online.codec import codec, decode, layout_id
from feature_repo.online.layout import ViewLayout, layout_of
from feature_repo.online.redis_values import RedisValues
from feature_repo.online.sqlite_values import SqliteValues
from feature_repo.online.values import OnlineValues
from feature_repo.transforms.age import age_hours

__all__ = ["RedisOnlineStore", "RedisOnlineStoreConfig", "SqliteOnlineStore", "SqliteOnlineStoreConfig"]

#: Feast's type → its protobuf field.
_FIELDS = {
    "Float64": "double_val",
    "Float32": "float_val",
    "Int64": "int64_val",
    "Int32": "int32_val",
    "String": "string_val",
    "Bool": "bool_val",
    "UnixTimestamp": "unix_timestamp_val",
}

_Rows = list[tuple[EntityKey, dict[str, Value], datetime, datetime | None]]


class SqliteOnlineStoreConfig(FeastConfigBaseModel):
    """``online_store`` of feature_store.yaml: the SQLite file, relative to the repository if not absolute."""

    type: Literal["feature_repo.online.feast_online_stores.SqliteOnlineStore"]
    path: str


class RedisOnlineStoreConfig(FeastConfigBaseModel):
    """``online_store`` of feature_store.yaml: see :class:`feature_repo.online.redis_values.RedisValues`."""

    type: Literal["feature_repo.online.feast_online_stores.RedisOnlineStore"]
    connection_string: str
    namespace: str = "headrace"


class _ValuesOnlineStore(OnlineStore):
    """An online store over :class:`OnlineValues`; subclasses open them."""

    def __init__(self) -> None:
        super().__init__()
        self._values: OnlineValues | None = None

    def _open(self, config: RepoConfig) -> OnlineValues:
        raise NotImplementedError

    def values(self, config: RepoConfig) -> OnlineValues:
        """The values behind this store, opened once."""
        if self._values is None:
            self._values = self._open(config)
        return self._values

    def online_write_batch(
        self, config: RepoConfig, table: FeatureView, data: _Rows, progress: Callable[[int], Any] | None
    ) -> None:
        """Store rows in Feast's form; a row without a created time counts as known at its event time."""
        import pyarrow as pa

        layout = _layout(config, table)
        entities = [dict(zip(key.join_keys, key.entity_values, strict=True)) for key, _, _, _ in data]
        times = {
            "event_timestamp": [event for _, _, event, _ in data],
            "known_at": [created or event for _, _, event, created in data],
        }
        moment = pa.timestamp("us", "UTC")
        rows = pa.table(
            {
                **{name: pa.array([_plain(row[name]) for row in entities]) for name in layout.join_keys},
                **{name: pa.array([_plain(row.get(name)) for _, row, _, _ in data]) for name in layout.names},
                **{name: pa.array([_aware(each) for each in column], moment) for name, column in times.items()},
            }
        )
        self.values(config).write(layout, _as_declared(layout, rows))
        if progress:
            progress(len(data))

    def online_read(
        self,
        config: RepoConfig,
        table: FeatureView,
        entity_keys: list[EntityKey],
        requested_features: list[str] | None = None,
    ) -> list[tuple[datetime | None, dict[str, Value] | None]]:
        """Event time and values of each entity, (None, None) if there is none; Feast applies no TTL here.

        The age of a row is that at the time of the call: Feast passes no other.
        """
        layout = _layout(config, table)
        keys = [_key(layout, key) for key in entity_keys]
        values = self.values(config)
        found = values.read([layout], [keys])[0]
        foreign = {layout_id(value) for value in found if value is not None} - {codec(layout.features).id}
        rows = decode(layout, found, values.written_layouts(layout) if foreign else None)
        if layout.age:
            rows = rows.append_column(layout.age, _ages(rows["event_timestamp"].combine_chunks()))
        types = {field.name: str(field.dtype) for field in table.features}
        names = [name for name in layout.served if requested_features is None or name in requested_features]
        columns = {name: [_proto(types[name], value) for value in _values_of(rows[name])] for name in names}
        return [
            (None, None) if event is None else (event, {name: columns[name][place] for name in names})
            for place, event in enumerate(rows["event_timestamp"].to_pylist())
        ]

    def update(
        self,
        config: RepoConfig,
        tables_to_delete: Sequence[FeatureView],
        tables_to_keep: Sequence[FeatureView],
        entities_to_delete: Sequence[Entity],
        entities_to_keep: Sequence[Entity],
        partial: bool,
    ) -> None:
        """Remove the data of removed views; tables of other views are created at their first write."""
        for table in tables_to_delete:
            self.values(config).clear(_named(config, table.name))

    def teardown(self, config: RepoConfig, tables: Sequence[FeatureView], entities: Sequence[Entity]) -> None:
        """Remove all data of these views."""
        for table in tables:
            self.values(config).clear(_named(config, table.name))


class SqliteOnlineStore(_ValuesOnlineStore):
    """Feast's interface to :class:`feature_repo.online.sqlite_values.SqliteValues`."""

    def _open(self, config: RepoConfig) -> OnlineValues:
        path = Path(config.online_store.path)
        return SqliteValues(path if path.is_absolute() or not config.repo_path else config.repo_path / path)


class RedisOnlineStore(_ValuesOnlineStore):
    """Feast's interface to :class:`feature_repo.online.redis_values.RedisValues`."""

    def _open(self, config: RepoConfig) -> OnlineValues:
        return RedisValues(config.online_store.connection_string, config.online_store.namespace)


def _layout(config: RepoConfig, view: FeatureView) -> ViewLayout:
    """Layout of a view in the registry."""
    return layout_of(config.project, view, [name for name in view.join_keys if name != DUMMY_ENTITY_ID])


def _named(config: RepoConfig, view: str) -> ViewLayout:
    """A layout with only the name of its view."""
    return ViewLayout(config.project, view, (), (), 0.0)


def _key(layout: ViewLayout, key: EntityKey) -> tuple[Any, ...]:
    given = dict(zip(key.join_keys, key.entity_values, strict=True))
    return tuple(_plain(given[name]) for name in layout.join_keys)


def _plain(value: Value | None) -> Any:
    """The Python value in a protobuf; None for null."""
    kind = None if value is None else value.WhichOneof("val")
    return None if kind in (None, "null_val") else getattr(value, kind)


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _as_declared(layout: ViewLayout, rows: Any) -> Any:
    """Times are seconds since 1970 in protobufs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for name, kind in layout.features:
        if kind == "time":
            moments = pc.multiply(rows[name].cast(pa.int64()), 1_000_000).cast(pa.timestamp("us", "UTC"))
            rows = rows.set_column(rows.column_names.index(name), name, moments)
    return rows


def _ages(events: Any) -> Any:
    """Age of each row now, in hours; null if there is none."""
    import pyarrow as pa

    event = events.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    now = (datetime.now(UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    return pa.array(age_hours(now, event), mask=events.is_null().to_numpy(zero_copy_only=False))


def _values_of(column: Any) -> list[Any]:
    """A decoded column's values; times as whole seconds since 1970, as in protobufs."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        column = pc.floor_temporal(column, unit="second").cast(pa.timestamp("s", "UTC")).cast(pa.int64())
    found: list[Any] = column.to_pylist()
    return found


def _proto(dtype: str, value: Any) -> Value:
    return Value() if value is None else Value(**{_FIELDS[dtype]: value})
