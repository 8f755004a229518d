"""Convert the columns of a table to a view's declared kinds without loss, and encode them as binary values."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from feature_repo.online.entity_keys import KeyValueError, arrow_keys
from feature_repo.online.layout import ViewLayout
from feature_repo.online.values import OnlineError

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "column_of",
    "fit",
    "times_of",
    "STAMP_BYTES",
    "Codec",
    "Features",
    "codec",
    "decode",
    "layout_id",
    "pack",
]

#: Range of event times in pandas' nanoseconds: 1677 to 2262.
_MOST_MICROSECONDS = (2**63 - 1) // 1000


def column_of(view: str, rows: pa.Table, name: str) -> pa.Array:
    """One column as one chunk.

    Raises:
        OnlineError: the column is missing.
    """
    import pyarrow as pa

    if name not in rows.column_names:
        raise OnlineError(
            f"View '{view}' cannot be materialized: column '{name}' is missing from its rows, which have "
            f"{', '.join(rows.column_names) or 'no columns'}; compute the view again."
        )
    found = rows[name].combine_chunks()
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def times_of(view: str, rows: pa.Table, name: str, default: np.ndarray[Any, Any] | None = None) -> np.ndarray[Any, Any]:
    """A time column as microseconds since 1970; ``default`` where it is null.

    Raises:
        OnlineError: it is missing, not a time, null with no ``default``, or outside pandas' range.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = fit(view, name, "time", column_of(view, rows, name)).cast(pa.int64())
    if column.null_count:
        if default is None:
            raise OnlineError(
                f"View '{view}' cannot be materialized: {column.null_count} of {len(column)} rows have no {name}; "
                "leave such rows out of the view's query."
            )
        column = pc.coalesce(column, pa.array(default))
    if len(column) and max(abs(bound) for bound in pc.min_max(column).as_py().values()) > _MOST_MICROSECONDS:
        raise OnlineError(
            f"View '{view}' cannot be materialized: {name} has a time outside the years 1677 to 2262; "
            "leave such rows out of the view's query."
        )
    found: np.ndarray[Any, Any] = column.to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
    return found


def fit(view: str, name: str, kind: str, column: pa.Array) -> pa.Array:
    """A column as the Arrow type of its kind.

    Raises:
        OnlineError: a lossless conversion is not possible.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    types = pa.types
    if types.is_dictionary(column.type):
        column = column.dictionary_decode()
    given = column.type
    floating = types.is_floating(given)
    wanted, fits = {
        "number": (
            pa.float64(),
            floating or types.is_integer(given) or types.is_boolean(given) or types.is_decimal(given),
        ),
        "integer": (pa.int64(), floating or types.is_integer(given) or types.is_boolean(given)),
        "string": (pa.string(), types.is_string(given) or types.is_large_string(given) or types.is_string_view(given)),
        "boolean": (pa.bool_(), types.is_boolean(given)),
        "time": (pa.timestamp("us", "UTC"), types.is_timestamp(given) or types.is_date(given)),
    }[kind]
    if given == wanted:
        return column
    try:
        if not fits and not types.is_null(given):
            raise pa.ArrowInvalid(f"it is of type {given}")
        if kind == "integer" and floating:  # pandas stores whole numbers with gaps as floats
            column = pc.if_else(pc.is_nan(column), None, column)
        nanoseconds = types.is_timestamp(given) and given.unit == "ns"
        if types.is_timestamp(given) and given.tz is not None:
            column = column.cast(pa.timestamp(given.unit, "UTC"))
        return column.cast(wanted, safe=not nanoseconds)
    except pa.ArrowInvalid as error:
        raise OnlineError(
            f"View '{view}' cannot be materialized: column '{name}' is declared as {kind}, but {error}; "
            "correct its type in feature_repo/features.py or the view's query."
        ) from error


#: (name, kind) of each feature; the input of a codec.
Features = tuple[tuple[str, str], ...]

#: Length of the sortable prefix of a value: event time, then known-at time.
STAMP_BYTES = 16

_LAYOUT_BYTES = 4
_SIGN = np.uint64(1 << 63)


class Codec:
    """Encode and decode values of one list of features. Create it with :func:`codec`, which caches it."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.id = hashlib.blake2b(repr(features).encode(), digest_size=_LAYOUT_BYTES).digest()
        self.numbers = [name for name, kind in features if kind == "number"]
        self.integers = [name for name, kind in features if kind in ("integer", "time")]
        self.flags = [name for name, kind in features if kind == "boolean"]
        self.texts = [name for name, kind in features if kind == "string"]
        self._bits = {name: place for place, (name, _) in enumerate(features)}
        parts = [("event", ">u8"), ("known", ">u8"), ("layout", f"V{_LAYOUT_BYTES}")]
        blocks = [
            ("nulls", "u1", (len(features) + 7) // 8),
            ("numbers", "<f8", len(self.numbers)),
            ("integers", "<i8", len(self.integers)),
            ("flags", "u1", len(self.flags)),
            ("lengths", "<u4", len(self.texts)),
        ]
        self.dtype = np.dtype([*parts, *((name, kind, (size,)) for name, kind, size in blocks if size)])
        self.size = self.dtype.itemsize

    def encode(self, view: str, rows: pa.Table) -> pa.Array:
        """The values of ``rows`` (features, event_timestamp, known_at) as binary, in their order.

        Raises:
            OnlineError: a column is missing or does not fit its kind, or a time is missing or out of range.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        fixed = np.zeros(len(rows), self.dtype)
        event = times_of(view, rows, "event_timestamp")
        fixed["event"] = event.view(np.uint64) ^ _SIGN
        fixed["known"] = times_of(view, rows, "known_at", default=event).view(np.uint64) ^ _SIGN
        fixed["layout"] = np.frombuffer(self.id, f"V{_LAYOUT_BYTES}")[0]
        nulls = np.zeros((len(rows), len(self.features)), bool)
        texts = []
        for name, kind in self.features:
            column = fit(view, name, kind, column_of(view, rows, name))
            if column.null_count:
                nulls[:, self._bits[name]] = pc.is_null(column).to_numpy(zero_copy_only=False)
            if kind == "number":
                fixed["numbers"][:, self.numbers.index(name)] = column.fill_null(np.nan).to_numpy(zero_copy_only=False)
            elif kind == "boolean":
                fixed["flags"][:, self.flags.index(name)] = column.fill_null(False).to_numpy(zero_copy_only=False)
            elif kind == "string":
                texts.append(column.fill_null("").cast(pa.binary()))
                fixed["lengths"][:, self.texts.index(name)] = pc.binary_length(texts[-1]).to_numpy(zero_copy_only=False)
            else:
                whole = column.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
                fixed["integers"][:, self.integers.index(name)] = whole
        fixed["nulls"] = np.packbits(nulls, axis=1, bitorder="little")
        buffers = [None, pa.py_buffer(fixed)]
        values = pa.FixedSizeBinaryArray.from_buffers(pa.binary(self.size), len(rows), buffers)
        return pc.binary_join_element_wise(values.cast(pa.binary()), *texts, b"") if texts else values

    def fixed(self, values: Sequence[bytes]) -> np.ndarray[Any, Any]:
        """The fixed part of each value as one structured array (see :attr:`dtype`); all must be of this layout.

        Raises:
            OnlineError: a value is damaged.
        """
        joined = b"".join([value[: self.size] for value in values] if self.texts else values)
        if len(joined) != len(values) * self.size:
            raise OnlineError(
                f"The online store has a value that is not {self.size} bytes long, as its layout {self.id.hex()} "
                "requires; materialize its feature view again."
            )
        return np.frombuffer(joined, self.dtype)

    def nulls(self, fixed: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
        """Mask of the values where one feature is null."""
        place = self._bits[name]
        found: np.ndarray[Any, Any] = (fixed["nulls"][:, place // 8] >> (place % 8)) & 1 == 1
        return found

    def text(self, values: Sequence[bytes], fixed: np.ndarray[Any, Any], name: str) -> list[str | None]:
        """One text feature of each value, None if null."""
        place = self.texts.index(name)
        starts = self.size + fixed["lengths"][:, :place].sum(axis=1)
        ends = starts + fixed["lengths"][:, place]
        nulls = self.nulls(fixed, name).tolist()
        return [
            None if null else value[start:end].decode()
            for value, start, end, null in zip(values, starts.tolist(), ends.tolist(), nulls, strict=True)
        ]

    def decode(self, values: Sequence[bytes]) -> dict[str, pa.Array]:
        """Columns of ``values``, all of this layout: event_timestamp, known_at and the features."""
        import pyarrow as pa

        fixed = self.fixed(values)
        moment = pa.timestamp("us", "UTC")
        columns = {
            "event_timestamp": pa.array(microseconds(fixed["event"])).cast(moment),
            "known_at": pa.array(microseconds(fixed["known"])).cast(moment),
        }
        for name, kind in self.features:
            nulls = self.nulls(fixed, name)
            if kind == "number":
                columns[name] = pa.array(fixed["numbers"][:, self.numbers.index(name)].copy(), mask=nulls)
            elif kind == "boolean":
                columns[name] = pa.array(fixed["flags"][:, self.flags.index(name)] == 1, mask=nulls)
            elif kind == "string":
                columns[name] = pa.array(self.text(values, fixed, name), pa.string())
            else:
                whole = pa.array(fixed["integers"][:, self.integers.index(name)].copy(), mask=nulls)
                columns[name] = whole.cast(moment) if kind == "time" else whole
        return columns


@cache
def codec(features: Features) -> Codec:
    """The codec of a list of features."""
    return Codec(features)


def layout_id(value: bytes) -> bytes:
    """Id of the layout that a value was written in."""
    return value[STAMP_BYTES : STAMP_BYTES + _LAYOUT_BYTES]


def microseconds(stamps: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Microseconds since 1970 (int64) of a header's times."""
    return (stamps.astype(np.uint64) ^ _SIGN).view(np.int64)


def pack(layout: ViewLayout, rows: pa.Table) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of ``rows``, one per entity: of several, that with the greatest times; of equal ones, the last.

    Rows with a null join key are left out. Both lists are in the order of the keys.

    Raises:
        OnlineError: a column is missing or does not fit.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        keys = arrow_keys([(name, column_of(layout.view, rows, name)) for name in layout.join_keys], len(rows))
    except KeyValueError as error:
        raise OnlineError(f"View '{layout.view}' cannot be materialized: {error}") from error
    values = codec(layout.features).encode(layout.view, rows)
    if keys.null_count:
        present = pc.is_valid(keys)
        keys, values = keys.filter(present), values.filter(present)
    values = values.cast(pa.binary())
    order = pc.sort_indices(pa.table([keys, values], ["key", "value"]), [("key", "ascending")])
    keys, values = keys.take(order), values.take(order)
    names, contents = _bytes(keys), _bytes(values)
    if len(set(names)) == len(names):
        return names, contents
    best: dict[bytes, bytes] = {}
    for name, content in zip(names, contents, strict=True):
        held = best.get(name)
        if held is None or held[:STAMP_BYTES] <= content[:STAMP_BYTES]:
            best[name] = content
    return list(best), list(best.values())


def decode(
    layout: ViewLayout, values: Sequence[bytes | None], written: Mapping[bytes, Features] | None = None
) -> pa.Table:
    """``values`` as a table: event_timestamp, known_at and the layout's features; a row of nulls for each None.

    A value in another layout has the features with the same name and kind there, if ``written`` (see
    ``OnlineValues.written_layouts``) contains that layout; otherwise it counts as missing.
    """
    import pyarrow as pa

    own = codec(layout.features)
    known = {**(written or {}), own.id: layout.features}
    groups: dict[bytes, list[int]] = {}
    for place, value in enumerate(values):
        if value is not None and layout_id(value) in known:
            groups.setdefault(layout_id(value), []).append(place)
    if groups.keys() <= {own.id}:
        places = groups.get(own.id, [])
        table = pa.table(own.decode([value for place in places if (value := values[place]) is not None]))
    else:
        places = [place for group in groups.values() for place in group]
        table = pa.table(own.decode([]))
        names = table.column_names
        for found, group in groups.items():
            columns = codec(known[found]).decode([value for place in group if (value := values[place]) is not None])
            same = {name: columns[name] for name in names if name in columns and _same(layout, known[found], name)}
            table = pa.concat_tables([table, pa.table(same)], promote_options="default")
    if places == list(range(len(values))):
        return table
    rows: list[int | None] = [None] * len(values)
    for row, place in enumerate(places):
        rows[place] = row
    return table.take(pa.array(rows, pa.int64()))


def _same(layout: ViewLayout, written: Features, name: str) -> bool:
    return dict(layout.features).get(name) == dict(written).get(name)


def _bytes(values: pa.Array) -> list[bytes]:
    """An array's values as Python objects, faster than ``to_pylist``."""
    found: list[bytes] = values.to_numpy(zero_copy_only=False).tolist()
    return found
