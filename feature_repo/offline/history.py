"""The Parquet files of one feature view, read as far as a retrieval needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from feature_repo.offline.entity_rows import RetrievalError, Unit, kind

__all__ = ["Extent", "History", "entity_part"]

#: Bytes per row for building a timeline, in addition to the columns (eight arrays of 64-bit integers).
_WORKING = 64


@dataclass(frozen=True)
class Extent:
    """Part of a history: its files, its number of rows, and an estimate of the memory to join them, in bytes."""

    files: tuple[str, ...]
    rows: int
    memory: int


@dataclass(frozen=True)
class History:
    """The history of one feature view, by column names of its files.

    ``keys``: join keys. ``features``: features to read. ``event`` and ``known``: columns of both times, the same if a
    view has only one. ``ttl`` in microseconds, 0 if values never expire. Of two rows that are equal in key and both
    times, the row that comes later in ``files``, in their order, is the later one.
    """

    view: str
    files: tuple[str, ...]
    keys: tuple[str, ...]
    features: tuple[str, ...]
    event: str
    known: str
    ttl: int = 0
    _read: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def schema(self) -> pl.Schema:
        """Types of the columns.

        Raises:
            RetrievalError: a column is missing in the files, or a time column is not one; the message names the view.
        """
        if "schema" in self._read:
            return self._read["schema"]  # type: ignore[no-any-return]
        found = pl.Schema(pl.read_parquet_schema(self.files[0]))
        for column in (*self.keys, self.event, self.known, *self.features):
            if column not in found:
                raise RetrievalError(
                    f"{self.files[0]} has no column '{column}' of feature view '{self.view}'; it has "
                    f"{', '.join(found)}. Run `headrace run materialize`, which computes it again."
                )
        for column in (self.event, self.known):
            if not found[column].is_temporal() or found[column] == pl.Time:
                raise RetrievalError(
                    f"Column '{column}' of feature view '{self.view}' has type {found[column]}; expected a timestamp."
                )
        self._read["schema"] = found
        return found

    def unit(self) -> Unit:
        """Unit for exact comparison of times: "ns" if one of them is in nanoseconds, else "us"."""
        types = [self.schema()[column] for column in (self.event, self.known)]
        return "ns" if any(isinstance(each, pl.Datetime) and each.time_unit == "ns" for each in types) else "us"

    def kinds(self) -> list[str]:
        """The kind of each join key's values; see :func:`feature_repo.offline.entity_rows.kind`."""
        return [kind(self.schema()[column]) for column in self.keys]

    def extent(self, earliest: int | None, latest: int) -> Extent:
        """The files and rows with an event time in [earliest, latest] by their row groups' statistics, microseconds."""
        if (earliest, latest) not in self._read:
            self._read[earliest, latest] = self._measured(earliest, latest)
        return self._read[earliest, latest]  # type: ignore[no-any-return]

    def _measured(self, earliest: int | None, latest: int) -> Extent:
        import pyarrow.parquet as pq

        columns = {*self.keys, self.event, self.known, *self.features}
        held: list[str] = []
        rows = memory = 0
        for file in self.files:
            metadata = pq.read_metadata(file)
            before = rows
            names = [metadata.schema.column(place).path.partition(".")[0] for place in range(metadata.num_columns)]
            read = [place for place, name in enumerate(names) if name in columns]
            for number in range(metadata.num_row_groups):
                group = metadata.row_group(number)
                if _outside(group.column(names.index(self.event)).statistics, earliest, latest):
                    continue
                rows += group.num_rows
                memory += group.num_rows * (_WORKING + 16 * len(read))  # doubled while chunks are concatenated
                for chunk in map(group.column, read):
                    if chunk.physical_type == "BYTE_ARRAY":
                        memory += group.num_rows * 8 + chunk.total_uncompressed_size
            if rows > before:
                held.append(file)
        return Extent(tuple(held), rows, memory)

    def read(
        self, files: Sequence[str], earliest: int | None, latest: int, part: int = 0, parts: int = 1
    ) -> pl.DataFrame:
        """Rows with an event time in [earliest, latest] and known by ``latest``, in the order of the files.

        Keys are columns ``__key0``, ``__key1`` … (64-bit integers or text), times are ``__event`` and ``__known``,
        integers in :meth:`unit`; then the features. With ``parts``, only entities whose hash belongs to ``part``. Rows
        with a missing time are never visible, and left out.
        """
        schema, unit = self.schema(), self.unit()
        event, known = self.time(self.event), self.time(self.known)
        wanted = (event <= self.moment(self.event, latest)) & (known <= self.moment(self.known, latest))
        if earliest is not None:
            wanted &= event >= self.moment(self.event, earliest)
        keys = [
            pl.col(name).cast(_KEY_TYPES.get(sort, schema[name])).alias(f"__key{place}")
            for place, (name, sort) in enumerate(zip(self.keys, self.kinds(), strict=True))
        ]
        scan = self.scan(files).filter(wanted)
        if parts > 1:
            scan = scan.filter(entity_part(keys, parts) == part)
        times = {"__event": event, "__known": known}
        found = scan.select(
            *keys,
            *(time.dt.cast_time_unit(unit).to_physical().alias(name) for name, time in times.items()),
            *self.features,
        ).collect(engine="streaming" if parts > 1 else "auto")
        return found.rechunk()  # one chunk per column: a row is fetched in one step

    def scan(self, files: Sequence[str] | None = None) -> pl.LazyFrame:
        """All rows of the files (default: of all), in their order."""
        return pl.scan_parquet(list(files or self.files), hive_partitioning=False, glob=False)

    def time(self, column: str) -> pl.Expr:
        """A time column as an expression that compares with :meth:`moment`."""
        found = pl.col(column)
        return found if isinstance(self.schema()[column], pl.Datetime) else found.cast(pl.Datetime("us"))

    def moment(self, column: str, micros: int) -> pl.Expr:
        """A literal that compares with a time column; one without a time zone is UTC, as in Feast."""
        found = self.schema()[column]
        if not isinstance(found, pl.Datetime) or found.time_unit != "ns":
            return pl.lit(micros, dtype=pl.Datetime("us", getattr(found, "time_zone", None)))
        nanos = min(max(micros * 1000, -(2**63) + 1), 2**63 - 1)
        return pl.lit(nanos, dtype=pl.Datetime("ns", found.time_zone))


#: Types for comparing the keys of both sides.
_KEY_TYPES: dict[str, Any] = {"integers": pl.Int64, "text": pl.String}


def entity_part(keys: Sequence[pl.Expr], parts: int) -> pl.Expr:
    """The part of an entity, out of ``parts``; both sides of a join are hashed in one process."""
    return pl.struct(*keys).hash(0) % parts


def _outside(statistics: Any, earliest: int | None, latest: int) -> bool:
    """Whether a row group's event times all lie outside [earliest, latest]; False if that is unknown."""
    if statistics is None or not statistics.has_min_max:
        return False
    if not isinstance(statistics.min, datetime) or not isinstance(statistics.max, datetime):
        return False
    low, high = _micros(statistics.min), _micros(statistics.max) + 1  # nanoseconds are truncated
    return low > latest or (earliest is not None and high < earliest)


def _micros(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
