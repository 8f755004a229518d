"""The request rows of a retrieval, prepared once for all views: times in exact integers, entities as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from configs.errors import HeadraceError
from feature_repo.offline.point_in_time import Integers, grouped

__all__ = ["EntityRows", "Entities", "KeyTypeError", "RetrievalError", "Unit", "kind"]

#: Unit for comparing times.
Unit = Literal["us", "ns"]

#: Range of 64-bit nanoseconds, in microseconds.
_NANOSECONDS = (2**63 - 1) // 1000


class RetrievalError(HeadraceError, ValueError):
    """Features cannot be retrieved: a source, a column or the request rows are invalid; the message is one sentence."""


class KeyTypeError(RetrievalError):
    """A join key has another type in the request rows than in the view; the message has both, and how to fix it."""


@dataclass(frozen=True)
class Entities:
    """The distinct entities of some key columns. ``keys``: one row per entity; its position is the entity's number.

    ``order``: the requests that have an entity, by entity and then by time, as positions in time order
    (:meth:`EntityRows.by_time`); ``numbers``: the entity of each.
    """

    keys: pl.DataFrame
    order: Integers
    numbers: Integers


@dataclass(frozen=True)
class EntityRows:
    """``keys``: one column per join key, a row per request; ``times``: of each request, in ``unit`` ("us" or "ns").

    A missing time is the lowest integer: before all others, so no row is visible.
    """

    keys: pl.DataFrame
    times: Integers
    unit: Unit
    _by_time: list[Integers] = field(default_factory=list, repr=False, compare=False)
    _entities: dict[tuple[tuple[str, str], ...], Entities] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.times)

    def __getstate__(self) -> dict[str, object]:
        """Without cached results, because a Ray task computes its own part."""
        return {**vars(self), "_by_time": [], "_entities": {}}

    def by_time(self) -> Integers:
        """The requests in time order."""
        if not self._by_time:
            self._by_time.append(np.argsort(self.times, kind="stable"))
        return self._by_time[0]

    def range(self) -> tuple[int, int] | None:
        """First and last requested time, rounded outwards to microseconds; None if no row has a time."""
        times = self.times[self.times != np.iinfo(np.int64).min]
        if not len(times):
            return None
        scale = 1 if self.unit == "us" else 1000
        return int(times.min()) // scale, -(-int(times.max()) // scale)

    def moments(self, unit: Unit, view: str) -> tuple[Integers, Integers]:
        """The times in ``unit``, rounded down (for what is visible) and up (for what is older than a TTL).

        Rounding is exact: a whole number is at or before *t* if and only if it is at or before *t* rounded down.

        Raises:
            RetrievalError: a time is outside the range of nanoseconds, and the view's times are nanoseconds.
        """
        if unit == self.unit:
            return self.times, self.times
        if unit == "us":
            return self.times // 1000, -(-self.times // 1000)
        missing = self.times == np.iinfo(np.int64).min
        outside = (np.abs(self.times) > _NANOSECONDS) & ~missing
        if outside.any():
            moment = np.datetime64(int(self.times[outside][0]), "us")
            raise RetrievalError(
                f"Request time {moment} cannot be compared with feature view '{view}', whose times are nanoseconds "
                "(1677 to 2262); write its files with microseconds."
            )
        exact = np.where(missing, self.times, self.times * 1000)
        return exact, exact

    def entities(self, columns: Sequence[tuple[str, str]], view: str) -> Entities:
        """The entities of request columns; ``columns``: (name, kind of the view's key, see :func:`kind`).

        Raises:
            KeyTypeError: a column has another kind of value than the view's key.
        """
        asked = tuple(columns)
        if asked not in self._entities:
            self._entities[asked] = self._number(asked, view)
        return self._entities[asked]

    def _number(self, columns: tuple[tuple[str, str], ...], view: str) -> Entities:
        if not columns:
            return Entities(pl.DataFrame(), np.arange(len(self)), np.zeros(len(self), np.int64))
        rows = pl.DataFrame([_unified(self.keys[name], wanted, view) for name, wanted in columns])
        keys, numbers = _numbered(rows)
        numbers = numbers[self.by_time()]
        order = grouped(numbers)
        return Entities(keys, order, numbers[order])


def _numbered(rows: pl.DataFrame) -> tuple[pl.DataFrame, Integers]:
    """The distinct rows, and for each row the index of its distinct row; -1 for a row with a null."""
    if rows.width == 1:  # several times faster than a join
        encoded = rows.to_series().to_arrow(compat_level=pl.CompatLevel.oldest()).dictionary_encode()
        keys = pl.DataFrame({rows.columns[0]: pl.Series(encoded.dictionary)})
        return keys, encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    keys = rows.unique().drop_nulls()
    places = keys.with_row_index("__number")
    found = rows.join(places, on=rows.columns, how="left", maintain_order="left")["__number"]
    return keys, found.cast(pl.Int64).fill_null(-1).to_numpy()


def kind(dtype: pl.DataType) -> str:
    """The kind of a join key's values: "integers", "text", "nothing" (all null) or the type's name."""
    if dtype.is_integer():
        return "integers"
    if dtype == pl.Null:
        return "nothing"
    return "text" if isinstance(dtype, pl.String | pl.Categorical | pl.Enum) else str(dtype)


def _unified(column: pl.Series, wanted: str, view: str) -> pl.Series:
    """A join key of the request rows in the view's kind (``wanted``), null where it is null.

    pandas converts integers with missing values to floats: whole floats are converted back to integers.

    Raises:
        KeyTypeError: the values are of another kind, so no value could match.
    """
    found = kind(column.dtype)
    if column.null_count() == len(column):  # pandas may give a column without values any type
        return column.cast(pl.Int64 if wanted == "integers" else pl.String)
    if wanted == "integers" and column.dtype.is_float():
        values = column.fill_nan(None)
        if bool((values.abs() >= 2**53).any()):
            raise KeyTypeError(
                f"Join key '{column.name}' of the request rows has floats of 2**53 or more, where integers are already "
                f"rounded, and feature view '{view}' has integers; read the column as Int64."
            )
        if bool((values == values.floor()).all()):
            return values.cast(pl.Int64)
    if found != wanted:
        raise KeyTypeError(
            f"Join key '{column.name}' of the request rows has {found}, but feature view '{view}' has {wanted}, so "
            f"no row could match; convert the column of the request rows to {wanted}."
        )
    return column.cast({"integers": pl.Int64, "text": pl.String}.get(wanted, column.dtype))
