"""Each entity's value as known at one moment: what materialization brings online."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import polars as pl

from feature_repo.offline.history import History

__all__ = ["latest", "rows_between"]

#: Rows held before they are reduced to one per entity.
_BATCH = 500_000


def latest(history: History, columns: Sequence[str], start: int, end: int) -> pl.DataFrame:
    """The row that counts at ``end`` of each entity, where it became visible after ``start``; both in microseconds.

    The rule is that of :mod:`feature_repo.offline.timeline`, and so is the row that wins among equals. Memory is that
    of one row per entity and a batch, whatever the length of the history.
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
    if history.keys:  # a null never matches a request, so it is no entity
        visible &= pl.all_horizontal(pl.col(key).is_not_null() for key in history.keys)
    yield history.scan().select(columns).head(0).collect()
    yield from history.scan().filter(visible).select(columns).collect_batches(chunk_size=_BATCH, maintain_order=True)


def _reduced(rows: pl.DataFrame, history: History) -> pl.DataFrame:
    """The last row of each entity by (event, known, place)."""
    ordered = rows.sort(history.event, history.known, maintain_order=True)
    if not history.keys:
        return ordered.tail(1)
    return ordered.unique(list(history.keys), keep="last", maintain_order=True)
