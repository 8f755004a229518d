"""Join the rows of feature views to request rows, and read each entity's value as known at one time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl

from feature_repo.offline.entity_rows import Entities, EntityRows, Unit
from feature_repo.offline.history import Extent, History, entity_part
from feature_repo.offline.point_in_time import Integers, timeline
from feature_repo.transforms.age import age_hours

__all__ = [
    "latest",
    "rows_between",
    "Piece",
    "ViewJoin",
    "assembled",
    "join_part",
    "join_views",
    "parts",
]

#: Number of rows in memory before they are reduced to one per entity.
_BATCH = 500_000


def latest(history: History, columns: Sequence[str], start: int, end: int) -> pl.DataFrame:
    """The valid row of each entity at ``end``, if it became visible after ``start``; both in microseconds.

    The rule is that of :mod:`feature_repo.offline.point_in_time`, also for rows with equal times. Memory is that of one
    row per entity and a batch, for any length of the history.
    """
    held: list[pl.DataFrame] = []
    kept = waiting = 0
    for batch in _batches(history, columns, end):
        held.append(_reduced(batch, history))
        waiting += held[-1].height
        if waiting > max(_BATCH, kept):
            held = [_reduced(pl.concat(held), history)]
            kept, waiting = held[0].height, 0
    found = _reduced(pl.concat(held), history)
    after = pl.max_horizontal(history.time(history.event), history.time(history.known)) > history.moment(
        history.event, start
    )
    return found.filter(after)


def rows_between(history: History, columns: Sequence[str], start: int | None, end: int | None) -> pl.DataFrame:
    """All rows with an event time in [start, end] (microseconds), in the order of the files."""
    event = history.time(history.event)
    scan = history.scan()
    if start is not None:
        scan = scan.filter(event >= history.moment(history.event, start))
    if end is not None:
        scan = scan.filter(event <= history.moment(history.event, end))
    return scan.select(columns).collect()


def _batches(history: History, columns: Sequence[str], end: int) -> Iterator[pl.DataFrame]:
    visible = pl.all_horizontal(
        history.time(column) <= history.moment(column, end) for column in (history.event, history.known)
    )
    if history.keys:  # a null never matches a request, so it is not an entity
        visible &= pl.all_horizontal(pl.col(key).is_not_null() for key in history.keys)
    yield history.scan().select(columns).head(0).collect()
    yield from history.scan().filter(visible).select(columns).collect_batches(chunk_size=_BATCH, maintain_order=True)


def _reduced(rows: pl.DataFrame, history: History) -> pl.DataFrame:
    """The last row of each entity by (event, known, position)."""
    ordered = rows.sort(history.event, history.known, maintain_order=True)
    if not history.keys:
        return ordered.tail(1)
    return ordered.unique(list(history.keys), keep="last", maintain_order=True)


#: Maximum of parts: each reads the keys of the whole view once.
_MOST_PARTS = 256


@dataclass(frozen=True)
class ViewJoin:
    """``keys``: columns of the request rows, in the order of the history's. ``outputs``: names of the features in the
    result, in order; ``age``: which of them is the age of the valid row (:mod:`feature_repo.transforms.age`), the
    others are the history's. ``times``: names for the event time and known-at time of the valid row, if they are
    requested.
    """

    history: History
    keys: tuple[str, ...]
    outputs: tuple[str, ...]
    times: tuple[str, str] | None = None
    age: str | None = None

    def bounds(self, asked: EntityRows) -> tuple[int | None, int]:
        """Range of relevant event times, microseconds: from the first request minus the TTL to the last request."""
        found = asked.range()
        if found is None:
            return 0, -1
        first, last = found
        return (first - self.history.ttl if self.history.ttl and not self.times else None), last


@dataclass(frozen=True)
class Piece:
    """Result columns of the request rows at ``places``; None: of all rows, in order."""

    places: Integers | None
    columns: pl.DataFrame


def join_views(joins: Sequence[ViewJoin], asked: EntityRows, limit: int) -> list[pl.DataFrame]:
    """The columns of each view for every request row, in their order.

    Views with different keys are joined in parallel, with one thread per processor.

    Args:
        limit: maximum of bytes for joining, in addition to the request rows and the result.

    Raises:
        KeyTypeError, ValueError: a join key of another type, a missing column, times that cannot be compared.
    """
    asked.by_time()  # computed once, before it is shared
    alike: dict[tuple[str, ...], list[int]] = {}
    for number, join in enumerate(joins):
        alike.setdefault(join.keys, []).append(number)  # one by one, because they share the entities
    threads = max(1, min(len(alike), os.cpu_count() or 1))

    def joined(numbers: list[int]) -> dict[int, pl.DataFrame]:
        return {number: _joined(joins[number], asked, limit // threads) for number in numbers}

    with ThreadPoolExecutor(threads) as pool:
        found = {number: frame for done in pool.map(joined, alike.values()) for number, frame in done.items()}
    return [found[number] for number in range(len(joins))]


def _joined(join: ViewJoin, asked: EntityRows, limit: int) -> pl.DataFrame:
    count = parts(join, asked, limit)
    return assembled([join_part(join, asked, part, count) for part in range(count)], len(asked))


def parts(join: ViewJoin, asked: EntityRows, limit: int, at_least: int = 1) -> int:
    """Number of parts of the entities, so that each part needs at most ``limit`` bytes."""
    if not join.keys:
        return 1
    return max(1, min(_MOST_PARTS, max(at_least, -(-_extent(join, asked).memory // max(1, limit)))))


def join_part(join: ViewJoin, asked: EntityRows, part: int = 0, parts: int = 1) -> Piece:
    """The columns of one view for the request rows whose entity belongs to ``part`` of ``parts``."""
    history = join.history
    unit = history.unit()
    visible_at, age_at = asked.moments(unit, history.view)
    entities = asked.entities(tuple(zip(join.keys, history.kinds(), strict=True)), history.view)
    if parts > 1:
        entities = _part(entities, part, parts)
    earliest, latest = join.bounds(asked)
    rows = history.read(_extent(join, asked).files or history.files[:1], earliest, latest, part, parts)
    event, known = rows["__event"].to_numpy(), rows["__known"].to_numpy()
    found = _counting(_numbers(rows, entities), event, known, entities, visible_at[asked.by_time()])
    places = asked.by_time()[entities.order]
    alive = found
    if history.ttl and len(event):
        age = age_at[places] - event[found]
        alive = np.where(age > history.ttl * (1000 if unit == "ns" else 1), -1, found)
    if parts == 1:
        alive, found = (_spread(each, places, len(asked)) for each in (alive, found))
    at = visible_at if parts == 1 else visible_at[places]
    return Piece(places if parts > 1 else None, _columns(join, rows, alive, found, at, unit))


def assembled(pieces: Sequence[Piece], count: int) -> pl.DataFrame:
    """Merge the parts of one view into the columns of all ``count`` request rows; null if no part has the row."""
    if len(pieces) == 1 and pieces[0].places is None:
        return pieces[0].columns
    places = np.concatenate([piece.places for piece in pieces if piece.places is not None])
    source = _spread(np.arange(len(places)), places, count)
    return _gathered(pl.concat([piece.columns for piece in pieces]), source)


def _extent(join: ViewJoin, asked: EntityRows) -> Extent:
    return join.history.extent(*join.bounds(asked))


def _counting(numbers: Integers, event: Integers, known: Integers, entities: Entities, times: Integers) -> Integers:
    """The valid row for each of the entities' requests; ``times``: of all requests, ascending."""
    kept = np.flatnonzero(numbers >= 0)
    every = len(kept) == len(numbers)
    line = timeline(numbers, event, known) if every else timeline(numbers[kept], event[kept], known[kept])
    found = line.rows(entities.numbers, line.visible(times)[entities.order])
    return found if every or not len(kept) else np.where(found >= 0, kept[found], -1)


def _part(entities: Entities, part: int, parts: int) -> Entities:
    keys = [pl.col(name) for name in entities.keys.columns]
    mine = entities.keys.select((entity_part(keys, parts) == part).alias("mine"))["mine"].to_numpy()
    kept = mine[entities.numbers]
    return Entities(entities.keys, entities.order[kept], entities.numbers[kept])


def _numbers(rows: pl.DataFrame, entities: Entities) -> Integers:
    """The number of each row's entity; -1 if no request has it, or a key is null."""
    names = [name for name in rows.columns if name.startswith("__key")]
    if not names:
        return np.zeros(rows.height, np.int64)
    if not entities.keys.height:
        return np.full(rows.height, -1, np.int64)
    keys = entities.keys.rename(dict(zip(entities.keys.columns, names, strict=True))).with_row_index("__number")
    found = rows.select(names).join(keys, on=names, how="left", maintain_order="left")["__number"]
    return found.cast(pl.Int64).fill_null(-1).to_numpy()


def _columns(
    join: ViewJoin, rows: pl.DataFrame, alive: Integers, found: Integers, at: Integers, unit: Unit
) -> pl.DataFrame:
    features = rows.select(pl.col(name).alias(output) for name, output in _outputs(join))
    columns = _gathered(features, alive)
    if join.age:
        columns = columns.hstack([_ages(join.age, rows["__event"], alive, at, unit)]).select(join.outputs)
    if join.times is None:
        return columns
    moment = pl.Datetime(unit, "UTC")
    times = rows.select(
        pl.col(name).cast(moment).alias(output) for name, output in zip(("__event", "__known"), join.times, strict=True)
    )
    return columns.hstack(_gathered(times, found))


def _outputs(join: ViewJoin) -> list[tuple[str, str]]:
    stored = [output for output in join.outputs if output != join.age]
    return list(zip(join.history.features, stored, strict=True))


def _ages(name: str, event: pl.Series, alive: Integers, at: Integers, unit: Unit) -> pl.Series:
    """The age of each request's row in hours, null where there is none; times in ``unit``."""
    held = np.flatnonzero(alive >= 0)
    scale = 1 if unit == "us" else 1000
    hours = np.full(len(alive), np.nan)
    hours[held] = age_hours(at[held] // scale, event.to_numpy()[alive[held]] // scale)
    return pl.Series(name, hours, nan_to_null=True)


def _spread(values: Integers, places: Integers, count: int) -> Integers:
    spread = np.full(count, -1, np.int64)
    spread[places] = values
    return spread


def _gathered(frame: pl.DataFrame, rows: Integers) -> pl.DataFrame:
    """Rows of a frame by number, null if the number is -1."""
    numbers = pl.Series(rows, dtype=pl.Int64)
    return frame.select(pl.all().gather(numbers.set(numbers < 0, None).cast(pl.UInt32)))
