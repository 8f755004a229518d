"""Positions of the marks on a table's page: bars, outlines and boxes as percentages of their frame."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

__all__ = ["histogram", "over_time", "rules", "shares_of", "sparkline"]

Facts = Mapping[str, Any]

#: Minimum height, in percent, of a bar with at least one row.
LEAST = 1.2


def histogram(column: Facts, before: Facts | None) -> dict[str, Any] | None:
    """Bars of a number or time column, the outline of the earlier ingest on the same scale, and the box of quantiles.

    Returns:
        ``bars``: ``{x, width, height, low, high, rows}``, x and height in percent; ``outline``: SVG path in a frame of
        100 x 100, or None; ``box``: quantile -> x; ``ends``: labels of the left end, middle and right end; ``below``,
        ``above``: shares of the rows beyond the frame. None for a column without a histogram.
    """
    if not column.get("histogram"):
        return None
    if column.get("values"):
        return _spikes(column, before)
    edges, counts = column["edges"], column["histogram"]
    low, span = edges[0], edges[-1] - edges[0]
    heights = _density(column)
    outlined = before is not None and before["kind"] == column["kind"] and before.get("histogram")
    older = _density(before) if outlined and before else []
    highest = max([*heights, *older]) or 1.0
    bars = [
        {
            "x": 100 * (start - low) / span,
            "width": 100 * (end - start) / span,
            "height": max(100 * height / highest, LEAST if rows else 0),
            "low": _label(start, column),
            "high": _label(end, column),
            "rows": rows,
        }
        for (start, end), height, rows in zip(pairwise(edges), heights, counts[1:-1], strict=True)
    ]
    outline = None
    if older and before:
        places = [100 * (edge - low) / span for edge in before["edges"]]
        steps = [
            f"V{100 - 100 * height / highest:.2f} H{end:.2f}" for height, end in zip(older, places[1:], strict=True)
        ]
        outline = f"M{places[0]:.2f} 100 {' '.join(steps)} V100"
    rows = sum(counts)
    return {
        "bars": bars,
        "outline": outline,
        "box": {
            share: min(max(100 * (_seconds(value) - low) / span, 0), 100)
            for share, value in column["quantiles"].items()
        },
        "ends": [_end(place, span, column) for place in (low, low + span / 2, edges[-1])],
        "below": counts[0] / rows,
        "above": counts[-1] / rows,
    }


def _spikes(column: Facts, before: Facts | None) -> dict[str, Any]:
    """The same for a column of few values: a bar for each at its position, and a stroke for its earlier share."""
    low, high = float(column["minimum"]), float(column["maximum"])
    rows = sum(count for _, count in column["values"])
    older = before.get("values", []) if before is not None and before["kind"] == column["kind"] else []
    older_rows = sum(count for _, count in older) or 1
    highest = max([count / rows for _, count in column["values"]] + [count / older_rows for _, count in older])
    places = [value for value, _ in column["values"]]
    gap = min((right - left for left, right in pairwise(places)), default=1)
    width = max(min(gap, (high - low + gap) / 12), (high - low + gap) / 160)
    span = high - low + width

    def place(value: float) -> float:
        return 100 * (value - low) / span

    bars = [
        {"x": place(value), "width": 100 * width / span, "height": max(100 * count / rows / highest, LEAST)}
        | {"low": value, "high": value, "rows": count}
        for value, count in column["values"]
    ]
    strokes = [
        f"M{place(value):.2f} {100 - 100 * count / older_rows / highest:.2f} h{92 * width / span:.2f}"
        for value, count in older
        if low <= value <= high
    ]
    return {
        "bars": bars,
        "outline": " ".join(strokes) or None,
        "box": {share: min(place(value + width / 2), 100) for share, value in column["quantiles"].items()},
        "ends": [column["minimum"], column["maximum"]] if high > low else [column["minimum"]],
        "below": 0,
        "above": 0,
    }


def over_time(series: Facts, before: Facts | None) -> dict[str, Any]:
    """Rows per day (month, year): ``bars`` ``{x, width, height, start, rows}``, ``outline`` of the earlier ingest if
    it has the same unit, ``highest`` (rows), ``ends`` (first, middle and last start)."""
    starts, rows = series["starts"], series["rows"]
    known = {}
    if before and before["unit"] == series["unit"]:
        known = dict(zip(before["starts"], before["rows"], strict=True))
    highest = max([*rows, *(known.get(start, 0) for start in starts)]) or 1
    width = 100 / len(starts)
    bars = [
        {"x": at * width, "width": width, "height": 100 * count / highest, "start": start, "rows": count}
        for at, (start, count) in enumerate(zip(starts, rows, strict=True))
    ]
    outline = None
    if known:
        steps = [
            f"V{100 - 100 * known.get(start, 0) / highest:.2f} H{(at + 1) * width:.3f}"
            for at, start in enumerate(starts)
        ]
        outline = f"M0 100 {' '.join(steps)} V100"
    ends = [starts[0], starts[len(starts) // 2], starts[-1]]
    return {"bars": bars, "outline": outline, "highest": highest, "ends": ends}


def sparkline(shares: Sequence[float]) -> dict[str, Any]:
    """The path of a share over time in a frame of 100 x 100, and the highest share, which is its top."""
    highest = max(shares) or 1.0
    width = 100 / len(shares)
    steps = [f"V{100 - 100 * share / highest:.1f} H{(at + 1) * width:.2f}" for at, share in enumerate(shares)]
    return {"path": f"M0 100 {' '.join(steps)} V100 Z", "highest": highest}


def shares_of(column: Facts, rows: int) -> list[dict[str, Any]]:
    """The most frequent values with their share of the rows that have one; the last, name None, is all others."""
    present = max(rows - column["nulls"], 1)
    found = [{"name": str(value), "rows": count, "share": count / present} for value, count in column["top"]]
    rest = present - sum(count for _, count in column["top"])
    return [*found, {"name": None, "rows": rest, "share": rest / present}] if rest > 0 and found else found


def rules(column: Any) -> list[str]:
    """The rules of a declared column (:class:`configs.table.Column`) for its values, in words."""
    found = ["may be missing" if column.nullable else "never missing"]
    if column.unique:
        found.append("unique")
    if column.low is not None and column.high is not None:
        found.append(f"{column.low:g} to {column.high:g}")
    elif column.low is not None:
        found.append(f"at least {column.low:g}")
    elif column.high is not None:
        found.append(f"at most {column.high:g}")
    if column.choices:
        found.append("one of " + ", ".join(column.choices))
    if column.pattern:
        found.append(f"matches {column.pattern}")
    return found


def _density(column: Facts) -> list[float]:
    """Share of the rows in each bin between the edges, per unit of width."""
    rows, width = sum(column["histogram"]), column["edges"][1] - column["edges"][0]
    return [count / rows / width for count in column["histogram"][1:-1]]


def _label(place: float, column: Facts) -> Any:
    if column["kind"] == "time":
        return datetime.fromtimestamp(place, UTC).isoformat()
    return int(place) if float(place).is_integer() and abs(place) < 2**53 else place


def _end(place: float, span: float, column: Facts) -> Any:
    """The label below an axis: for a time the day, or the minute if the axis is at most three days long."""
    if column["kind"] != "time":
        return _label(place, column)
    return f"{datetime.fromtimestamp(place, UTC):{'%Y-%m-%d' if span > 3 * 86400 else '%Y-%m-%d %H:%M'}}"


def _seconds(value: Any) -> float:
    return datetime.fromisoformat(value).timestamp() if isinstance(value, str) else float(value)
