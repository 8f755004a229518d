"""Bring feature views online: each entity's value as known at a moment, at speed, in bounded memory, resumable.

What is brought is what differs from what was brought before: rows that became known since, and rows of months that
were computed again and came out different, however old (a source may deliver late what it says was known early). An
entity whose newest row was taken back gets its value before that one, or none. The store itself keeps the greater
(event_timestamp, known_at) of two values, so the order of writing does not matter.

The rows to bring are first written to one Parquet file in the view's folder (DuckDB aggregates by entity and spills),
then row group by row group to the store, with a note after each; a killed run goes on after the last one noted.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from configs.settings import Settings
from feature_repo.files import locked
from feature_repo.materialization.computing import bounded, compute
from feature_repo.materialization.fresh_rows import GONE, write_fresh_rows
from feature_repo.materialization.views import FRESH, MissingDataError, ViewState, remember, state, sweep, view_folder
from feature_repo.online.layout import ViewLayout, layouts
from feature_repo.online.values import OnlineValues, open_values

__all__ = ["Bringing", "Brought", "bring_online", "materialize_view"]

#: Before everything; the store's mark while it is filled for the first time.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Brought:
    """What was done for one view: rows it holds, whether any were computed, whether online values were brought."""

    rows: int
    computed: bool
    materialized: bool


@dataclass(frozen=True)
class Bringing:
    """What is being brought online: the content of ``files`` (by ``code``) as known at ``until``.

    ``done`` row groups of the fresh rows are written; ``base`` is the store's own mark from before.
    """

    until: str
    code: str
    files: dict[str, str]
    base: str
    done: int = 0


def materialize_view(settings: Settings, view: str, as_of: datetime, since: datetime | None = None) -> Brought:
    """Compute one view and bring it online; see :func:`.computing.compute` and :func:`bring_online`."""
    held, computed = compute(settings, view)
    return Brought(held.rows, computed, bring_online(settings, view, as_of, since))


def bring_online(settings: Settings, view: str, as_of: datetime, since: datetime | None = None) -> bool:
    """Bring one view's values, as known at ``as_of``, to the online store; False when it held them already.

    A store that already holds what was known later than ``as_of`` is not taken back; what has to be brought then
    (because the view changed) is brought as known at that later moment. Everything is brought when the query of the
    view changed, and when the store lost values: it keeps its own mark of how far it was filled.

    Args:
        since: also bring again everything that became known at or after it, as a store that lost values needs.

    Raises:
        MissingDataError: the view was never computed.
        FeatureError: the view's files lack a join key or feature.
        OnlineError: the store does not answer, or a value does not fit.
    """
    layout = layouts(settings)[view]
    with locked(settings.home, f"view-{view}"), closing(open_values(settings)) as values:
        held = state(settings, view)
        if held is None or not held.files:
            raise MissingDataError(f"Feature view '{view}' was never computed; run `headrace run materialize`.")
        if held.online_keys and held.online_keys != list(layout.join_keys):
            values.clear(layout)  # nobody asks by the old keys, and nothing else would take their values away
        mark = values.known_until([layout])[view]
        finished = False
        if held.bringing:
            left = Bringing(**held.bringing)
            kept = mark is not None and mark >= datetime.fromisoformat(left.base)
            if kept and _fits(view_folder(settings, view) / FRESH, layout):
                held = _write(settings, layout, values, held, left)
                mark, finished = datetime.fromisoformat(left.until), True
            else:
                held = replace(held, bringing=None)
                remember(settings, held)  # the file it names is written anew
        lost = bool(held.online_until) and (mark is None or mark < datetime.fromisoformat(held.online_until or ""))
        if lost:
            held = replace(held, online_code=None, online_until=None, online_files={})
        last = datetime.fromisoformat(held.online_until) if held.online_until else None
        same = held.online_code == held.code and held.online_files == held.files
        if last and same and since is None and last >= as_of:
            return finished
        until = max(as_of, last or _EPOCH, mark or _EPOCH)
        start = last if last and held.online_code == held.code else None
        if start and since:
            start = min(start, since - timedelta(microseconds=1))
        with bounded(settings, view) as connection:
            write_fresh_rows(connection, view_folder(settings, view), layout, held, start, until)
        if mark is None:
            values.set_known_until(layout, _EPOCH)
        bringing = Bringing(until.isoformat(), held.code, held.files, (mark or _EPOCH).isoformat())
        held = replace(held, bringing=asdict(bringing))
        remember(settings, held)
        _write(settings, layout, values, held, bringing)
    return True


def _fits(path: Path, layout: ViewLayout) -> bool:
    """Whether a killed run's fresh rows are there, and those of the view as it is defined now."""
    import pyarrow.parquet as pq

    return path.exists() and {*layout.join_keys, *layout.names} <= set(pq.read_schema(path).names)


def _write(
    settings: Settings, layout: ViewLayout, values: OnlineValues, held: ViewState, bringing: Bringing
) -> ViewState:
    """Write what is left of ``bringing``, note each row group, and at the end what the store holds now."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    path = view_folder(settings, layout.view) / FRESH
    with pq.ParquetFile(path) as spool:
        for number in range(bringing.done, spool.num_row_groups):
            rows = spool.read_row_group(number)
            if pc.any(rows[GONE]).as_py():
                keys = rows.filter(rows[GONE]).select(list(layout.join_keys)).to_pylist()
                values.delete(layout, [tuple(key.values()) for key in keys])
            if (there := rows.filter(pc.is_valid(rows["event_timestamp"]))).num_rows:
                values.write(layout, there.drop_columns([GONE]))
            remember(settings, replace(held, bringing=asdict(replace(bringing, done=number + 1))))
    values.set_known_until(layout, datetime.fromisoformat(bringing.until))
    held = replace(
        held,
        online_code=bringing.code,
        online_until=bringing.until,
        online_files=bringing.files,
        online_keys=list(layout.join_keys),
        bringing=None,
    )
    remember(settings, held)
    sweep(settings, held)
    return held
