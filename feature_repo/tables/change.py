"""Changes between two profiles of a table, and alerts about important ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from feature_repo.tables.stability import stability_index

__all__ = ["ALERT_PSI", "alerts", "compare"]

Facts = Mapping[str, Any]
Values = np.ndarray[Any, Any]

#: Bounds of alerts: the share of missing values increased by this much, and by half of its value,
ALERT_NULLS = 0.01
#: the mean changed by this many standard deviations,
ALERT_MEAN = 0.25
#: the population stability index is at least this (0.2: the usual bound of "changed"),
ALERT_PSI = 0.2
#: the number of rows increased, or decreased, by this share.
ALERT_GROWTH, ALERT_LOSS = 0.5, 0.01
#: Bins are joined until each has this share of the earlier table.
LEAST_SHARE = 0.05


def compare(before: Facts, now: Facts) -> dict[str, Any]:
    """Compare the profile ``now`` with ``before`` (see :mod:`feature_repo.tables.table_profile`).

    Returns:
        ``rows``: [before, now]; ``columns``: the current columns, then the removed ones, each ``{name, status}``,
        status kept, new, gone or retyped. A kept column has ``nulls`` (shares, [before, now]), ``distinct``, and if
        both have values ``psi`` (None for times, which move by design, and for texts with too many categories).
        Numbers have ``mean``, ``median`` ([before, now]) and ``shift``, the difference of the means in standard
        deviations of before; columns with all categories known have those that ``appeared`` and ``vanished``, with
        counts.
    """
    old = {column["name"]: column for column in before["columns"]}
    new = {column["name"]: column for column in now["columns"]}
    columns = [_column(name, old.get(name), column, before["rows"], now["rows"]) for name, column in new.items()]
    columns += [{"name": name, "status": "gone"} for name in old if name not in new]
    return {"rows": [before["total"], now["total"]], "columns": columns}


def _column(name: str, old: Facts | None, new: Facts, rows_old: int, rows_new: int) -> dict[str, Any]:
    if old is None or old["kind"] != new["kind"]:
        return {"name": name, "status": "new"} if old is None else _retyped(name, old, new)
    found: dict[str, Any] = {
        "name": name,
        "status": "kept",
        "nulls": [old["nulls"] / max(rows_old, 1), new["nulls"] / max(rows_new, 1)],
        "distinct": [old["distinct"], new["distinct"]],
        "psi": None,
    }
    if not old["distinct"] or not new["distinct"]:
        return found
    if new["kind"] == "number":
        found |= {"mean": [old["mean"], new["mean"]], "median": [each["quantiles"]["50"] for each in (old, new)]}
        found["shift"] = (new["mean"] - old["mean"]) / old["std"] if old["std"] else None
        found["psi"] = _psi(*aligned(old, new))
    if "categories" in old and "categories" in new:
        known, seen = old["categories"], new["categories"]
        names = [*known, *(name for name in seen if name not in known)]
        found["psi"] = _psi(
            np.array([known.get(name, 0) for name in names], float),
            np.array([seen.get(name, 0) for name in names], float),
        )
        found["appeared"] = {name: count for name, count in seen.items() if name not in known}
        found["vanished"] = {name: count for name, count in known.items() if name not in seen}
    return found


def _retyped(name: str, old: Facts, new: Facts) -> dict[str, Any]:
    return {"name": name, "status": "retyped", "dtype": [old["dtype"], new["dtype"]]}


def aligned(old: Facts, new: Facts) -> tuple[Values, Values]:
    """Exact counts of two columns in bins that both of their histograms contain, from below to above.

    The edges of both are multiples of powers of two: a wider bin is a union of finer bins, and rows in bins of only one
    histogram are counted in the open end of the other. If the ranges do not overlap there is one edge, and all rows of
    the lower one are counted below it.
    """
    width = max(each["edges"][1] - each["edges"][0] for each in (old, new))
    low = max(np.ceil(each["edges"][0] / width) for each in (old, new))
    high = min(np.floor(each["edges"][-1] / width) for each in (old, new))
    inner = np.arange(low, max(high, low) + 1) * width
    return _rebinned(old, inner), _rebinned(new, inner)


def _rebinned(column: Facts, inner: Values) -> Values:
    """Counts below the first of ``inner``, between them, and above; if ``inner`` is one edge, on its two sides."""
    edges, counts = np.array(column["edges"]), np.array(column["histogram"], dtype=float)
    total = np.concatenate([np.cumsum(counts)[:-1], [counts.sum()]])  # rows below each edge, then all
    below = np.where(inner <= edges[-1], total[np.clip(np.searchsorted(edges, inner), 0, len(edges) - 1)], total[-1])
    return np.diff(np.concatenate([[0.0], below, [total[-1]]]))


def _psi(old: Values, new: Values) -> float | None:
    """The index over bins of at least LEAST_SHARE of the old rows; a bin that only the new table has is not joined."""
    if not old.sum() or not new.sum():
        return None
    groups: list[list[float]] = []
    for before, after in zip(old, new, strict=True):
        if before == after == 0:
            continue
        if groups and 0 < groups[-1][0] < LEAST_SHARE * old.sum() and before:
            groups[-1][0] += before
            groups[-1][1] += after
        else:
            groups.append([before, after])
    return stability_index([group[0] for group in groups], [group[1] for group in groups])[1]


def alerts(now: Facts, change: Facts | None) -> list[str]:
    """Alerts as sentences: anomalies of the table, and changes beyond the bounds above."""
    found = []
    if now.get("duplicates"):
        found.append(f"{_rows(now['duplicates'], 'repeat')} an earlier one in every column.")
    series = now.get("series")
    if series and (empty := [start for start, rows in zip(series["starts"], series["rows"], strict=True) if not rows]):
        share = len(empty) / len(series["starts"])
        if share < 0.1:
            found.append(f"No rows for {_listed(empty, series['unit'])}.")
    for column in now["columns"]:
        name = column["name"]
        if now["rows"] and column["nulls"] == now["rows"]:
            found.append(f"{name}: no row has a value.")
        elif "constant" in column["flags"]:
            found.append(f"{name}: every value is {column['minimum']}.")
        if column.get("untrimmed"):
            found.append(f"{name}: {_rows(column['untrimmed'], 'begin')} or end with white space (cleaning.trim).")
        if column.get("blank"):
            found.append(f"{name}: {_rows(column['blank'], 'hold')} an empty text.")
    if change is None:
        return found
    return [*_row_alert(change["rows"]), *(line for each in change["columns"] for line in _changes(each)), *found]


def _row_alert(rows: Sequence[int]) -> list[str]:
    before, now = rows
    moved = (now - before) / max(before, 1)
    if not before or -ALERT_LOSS <= moved <= ALERT_GROWTH:
        return []
    return [f"{now:,} rows, was {before:,} ({moved:+.0%})."]


def _changes(column: Facts) -> list[str]:
    name, status = column["name"], column["status"]
    if status == "new":
        return [f"{name}: the column is new."]
    if status == "gone":
        return [f"{name}: the column is gone."]
    if status == "retyped":
        return [f"{name}: {column['dtype'][1]}, was {column['dtype'][0]}."]
    found = []
    before, now = column["nulls"]
    least, most = sorted(column["nulls"])
    if most - least >= ALERT_NULLS and most >= 1.5 * least:
        found.append(f"{name}: {_share(now)} null, was {_share(before)}.")
    if column.get("appeared"):
        found.append(f"{name}: {_quoted(column['appeared'])} appeared.")
    if column.get("vanished"):
        found.append(f"{name}: {_quoted(column['vanished'])} vanished.")
    shift = column.get("shift")
    if shift is not None and abs(shift) >= ALERT_MEAN:
        before, now = column["mean"]
        found.append(f"{name}: mean {now:,.4g}, was {before:,.4g} ({shift:+.2f} standard deviations).")
    elif not found and column["psi"] is not None and column["psi"] >= ALERT_PSI:
        found.append(f"{name}: the distribution changed, PSI {column['psi']:.2f}.")
    return found


def _share(value: float) -> str:
    """
    >>> _share(0.025), _share(0), _share(0.00001)
    ('2.5 %', '0 %', 'under 0.1 %')
    """
    return "under 0.1 %" if 0 < value < 0.001 else f"{100 * value:.1f}".removesuffix(".0") + " %"


def _quoted(counts: Mapping[str, int]) -> str:
    names = [f"'{name}' ({_rows(count)})" for name, count in list(counts.items())[:3]]
    more = len(counts) - len(names)
    return ", ".join(names) + (f" and {more} more values" if more else "")


def _listed(starts: Sequence[str], unit: str) -> str:
    shown = ", ".join(starts[:3])
    return shown if len(starts) <= 3 else f"{len(starts)} {unit}s: {shown} …"


def _rows(count: int, verb: str = "") -> str:
    """
    >>> _rows(1, "hold"), _rows(2, "hold"), _rows(1)
    ('1 row holds', '2 rows hold', '1 row')
    """
    said = f" {verb}{'s' if count == 1 else ''}" if verb else ""
    return f"{count:,} row{'' if count == 1 else 's'}{said}"
