"""Compare served features with those retrieved offline for the same entities and times, and find causes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from configs.model import Requests
from feature_repo.transforms.age import age_feature, age_hours
from ray_cluster.parity.causes import Difference, Side, cause_of, same
from ray_cluster.serving.predictor import plain

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "GONE",
    "OnDemandView",
    "Row",
    "Sources",
    "as_requests",
    "compare",
    "offline_sides",
    "served_sides",
    "summary",
]

#: Name in place of a view for features that the feature service no longer has.
GONE = "no longer served"
#: Maximum of stored examples per cause and view.
MOST_EXAMPLES = 3


@dataclass(frozen=True)
class OnDemandView:
    """An on-demand view: its features, and the features of computed views that it needs in addition to the request."""

    features: Sequence[str]
    stored: Sequence[str] = ()


@dataclass(frozen=True)
class Sources:
    """Where each feature comes from: computed view -> its features, TTL (seconds, 0: never) and current code; and
    on-demand view -> its inputs."""

    views: Mapping[str, Sequence[str]]
    ttls: Mapping[str, float]
    codes: Mapping[str, str | None]
    on_demand: Mapping[str, OnDemandView]


@dataclass(frozen=True)
class Row:
    """One logged prediction's values of one view on both sides; ``cause`` and ``detail`` are empty if they agree."""

    number: int
    view: str
    found: Difference
    cause: str = ""
    detail: str = ""

    @property
    def differing(self) -> list[str]:
        """Names of the features that differ."""
        served, offline = self.found.served.values, self.found.offline.values
        return [name for name, value in served.items() if not same(value, offline[name])]


def as_requests(log: pd.DataFrame, requests: Requests) -> pd.DataFrame:
    """Logged predictions as rows to retrieve features for: entities, fields and ``as_of``, on a fresh index."""
    import pandas as pd

    kinds = {"integer": "Int64", "number": "float64"}
    columns: dict[str, Any] = {}
    for part, fields in (("entities", requests.entities), ("fields", requests.fields)):
        for name, field in fields.items():
            values = pd.Series([row.get(name) for row in log[part]], dtype=object)
            if field.type == "time":
                columns[name] = pd.to_datetime(values, utc=True, format="ISO8601")
            else:
                columns[name] = values.astype(kinds.get(field.type, "object"))
    return pd.DataFrame(columns).assign(as_of=log["as_of"].to_numpy())


def served_sides(line: Mapping[str, Any], sources: Sources) -> dict[str, Side]:
    """View -> served values in one line of the log. Only features that the version uses.

    A value that had expired counts as null, for every policy on expired values.
    """
    taken = set(line["features"])
    sides = {}
    for view, names in sources.views.items():
        values = {name: line["features"][name] for name in names if name in taken}
        if not values:
            continue
        seen = line["event_times"].get(view)
        event_time = datetime.fromisoformat(seen) if seen else None
        if line["expired"] is None:  # logged before this key was introduced: expired values were always null
            old = event_time is not None and (line["as_of"] - event_time).total_seconds() > sources.ttls[view] > 0
            expired = old and all(value is None for value in values.values())
        else:
            expired = view in line["expired"]
        sides[view] = Side(dict.fromkeys(values) if expired else values, event_time, None, expired)
    others = {name: view.features for name, view in sources.on_demand.items()} | {GONE: sorted(taken - _known(sources))}
    for name, features in others.items():
        if found := taken.intersection(features):
            sides[name] = Side({feature: line["features"][feature] for feature in features if feature in found}, None)
    return sides


def offline_sides(record: Mapping[str, Any], sources: Sources, at: datetime) -> dict[str, Side]:
    """View -> values retrieved as of ``at``; ``record`` is one row of the frame with event times."""
    sides = {}
    for view, names in sources.views.items():
        event_time, known_at = (_moment(record[f"{view}__{name}"]) for name in ("event_timestamp", "known_at"))
        ttl = sources.ttls[view]
        expired = bool(ttl and event_time and (at - event_time).total_seconds() > ttl)
        sides[view] = Side({name: _value(record[name]) for name in names}, event_time, known_at, expired)
    for name, on_demand in sources.on_demand.items():
        sides[name] = Side({feature: _value(record[feature]) for feature in on_demand.features}, None)
    return sides


def compare(
    lines: Sequence[Mapping[str, Any]], retrieved: Sequence[Mapping[str, Any]], sources: Sources, then: Any
) -> list[Row]:
    """One :class:`Row` per prediction and view, in order, with the cause if they differ.

    Args:
        lines: rows of the prediction log.
        retrieved: for each of them the record retrieved offline as of its ``as_of``.
        then: ``then(view, numbers, moments)`` retrieves the rows with these numbers as of other times, one record each.
    """
    rows = []
    for number, (line, record) in enumerate(zip(lines, retrieved, strict=True)):
        offline = offline_sides(record, sources, line["as_of"])
        for view, served in served_sides(line, sources).items():
            side = offline.get(view) or Side(dict.fromkeys(served.values), None)
            found = Difference(served, side, line["as_of"], on_demand=view in sources.on_demand)
            rows.append(Row(number, view, _evidence(found, view, line, sources)))
    rounded = _rounded(rows)
    rows = [replace(row, found=replace(row.found, rounded=rounded)) for row in rows]
    differing = [place for place, row in enumerate(rows) if row.differing]
    for view in sources.views:
        places = [place for place in differing if rows[place].view == view and rows[place].found.known_until]
        if not places:
            continue
        moments = [rows[place].found.known_until for place in places]
        records = then(view, [rows[place].number for place in places], moments)
        for place, moment, record in zip(places, moments, records, strict=True):
            assert moment is not None
            side = _aged(offline_sides(record, sources, moment)[view], view, rows[place].found.as_of)
            rows[place] = replace(rows[place], found=replace(rows[place].found, then=side))
    causes: dict[tuple[int, str], tuple[str, str]] = {}  # of inputs of on-demand views, whose rows follow
    for place in differing:
        row = rows[place]
        gone = ("feature code", "The feature service no longer has these features.")
        stored = sources.on_demand[row.view].stored if row.view in sources.on_demand else ()
        inherited = next((known for name in stored if (known := causes.get((row.number, name)))), None)
        cause, detail = gone if row.view == GONE else inherited or cause_of(row.found)
        causes.update(dict.fromkeys(((row.number, name) for name in row.differing), (cause, detail)))
        rows[place] = replace(row, cause=cause, detail=detail)
    return rows


def _aged(side: Side, view: str, as_of: datetime) -> Side:
    """A side retrieved as of another time, with the age of its row at ``as_of``."""
    from feature_repo.offline.retrieval_plan import micros  # imports Feast

    name = age_feature(view)
    if side.values.get(name) is None or side.event_time is None:
        return side
    hours = float(age_hours(micros(as_of), micros(side.event_time)))
    return replace(side, values={**side.values, name: hours})


def summary(lines: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> dict[str, Any]:
    """Shares of equal values, JSON: ``rows``, ``values``, ``equal``, ``share``, ``rows_equal``, ``causes``, and the
    tables ``views``, ``features`` (least alike first), ``days`` and ``examples``.

    ``causes`` count values in ``features``, and pairs of a prediction and a view elsewhere.
    """
    differing = [row for row in rows if row.cause]
    features: dict[str, dict[str, Any]] = {}
    views: dict[str, dict[str, Any]] = {}
    days: dict[str, dict[str, Any]] = {}
    for row in rows:
        different = set(row.differing) if row.cause else set()
        for name in row.found.served.values:
            _count(features.setdefault(name, {"feature": name, "view": row.view}), name not in different, row.cause)
        _count(views.setdefault(row.view, {"view": row.view}), not row.cause, row.cause)
        day = f"{row.found.as_of:%Y-%m-%d}"
        _count(days.setdefault(day, {"day": day}), not row.cause, row.cause)
    values = sum(each["count"] for each in features.values())
    equal = sum(each["equal"] for each in features.values())
    return {
        "rows": len(lines),
        "rows_equal": len(lines) - len({row.number for row in differing}),
        "values": values,
        "equal": equal,
        "share": equal / values if values else None,
        "causes": dict(Counter(row.cause for row in differing).most_common()),
        "views": sorted(map(_shared, views.values()), key=lambda each: (each["share"], each["view"])),
        "features": sorted(map(_shared, features.values()), key=lambda each: (each["share"], each["feature"])),
        "days": sorted(map(_shared, days.values()), key=lambda each: str(each["day"])),
        "examples": [_example(lines[row.number], row) for row in _chosen(differing)],
    }


def _known(sources: Sources) -> set[str]:
    every = [*sources.views.values(), *(view.features for view in sources.on_demand.values())]
    return {name for names in every for name in names}


def _evidence(found: Difference, view: str, line: Mapping[str, Any], sources: Sources) -> Difference:
    """The difference, with the facts in the log about the view at serving time."""
    if view not in sources.views:
        return found
    known = line["known_until"]
    until = (known or {}).get(view)
    code = (line["view_versions"] or {}).get(view)
    return replace(
        found,
        known_until=datetime.fromisoformat(until) if until else None,
        logged=known is not None,
        code_changed=code is not None and code != sources.codes.get(view),
    )


def _rounded(rows: Sequence[Row]) -> Collection[str]:
    """Features served as whole numbers only, although two or more of the same rows have fractions offline.

    A single row could be a correction.
    """
    fractions: dict[str, set[tuple[Any, ...]]] = {}
    broken = set()
    for row in rows:
        served, offline = row.found.served, row.found.offline
        for name, value in served.values.items():
            if isinstance(value, float) and not value.is_integer():
                broken.add(name)
            other = offline.values[name]
            if isinstance(other, float) and not other.is_integer() and served.event_time == offline.event_time:
                fractions.setdefault(name, set()).add((served.event_time, value, other))
    return {name for name, seen in fractions.items() if len(seen) > 1} - broken


def _count(entry: dict[str, Any], equal: bool, cause: str) -> None:
    entry["count"] = entry.get("count", 0) + 1
    entry["equal"] = entry.get("equal", 0) + equal
    causes = entry.setdefault("causes", {})
    if not equal:
        causes[cause] = causes.get(cause, 0) + 1


def _shared(entry: dict[str, Any]) -> dict[str, Any]:
    causes = dict(sorted(entry["causes"].items(), key=lambda each: -each[1]))
    return {**entry, "share": entry["equal"] / entry["count"], "causes": causes}


def _chosen(differing: Sequence[Row]) -> list[Row]:
    """At most :data:`MOST_EXAMPLES` rows of each cause and view, those with the most differing features first."""
    taken: Counter[tuple[str, str]] = Counter()
    chosen = []
    for row in sorted(differing, key=lambda row: (-len(row.differing), row.number)):
        taken[row.cause, row.view] += 1
        if taken[row.cause, row.view] <= MOST_EXAMPLES:
            chosen.append(row)
    return chosen


def _example(line: Mapping[str, Any], row: Row) -> dict[str, Any]:
    found = row.found
    return {
        "prediction_id": line["prediction_id"],
        "version": line["version"],
        "as_of": line["as_of"].isoformat(),
        "served_at": line["served_at"].isoformat(),
        "entities": line["entities"],
        "view": row.view,
        "cause": row.cause,
        "detail": row.detail,
        "known_until": plain(found.known_until),
        "served_event_time": plain(found.served.event_time),
        "offline_event_time": plain(found.offline.event_time),
        "offline_known_at": plain(found.offline.known_at),
        "served_expired": found.served.expired,
        "offline_expired": found.offline.expired,
        "values": {name: [found.served.values[name], found.offline.values[name]] for name in row.differing},
    }


def _value(value: Any) -> Any:
    """A retrieved value as a JSON value."""
    import pandas as pd

    return None if pd.isna(value) else plain(value)


def _moment(value: Any) -> datetime | None:
    """A pandas time as a UTC datetime; None for NaT."""
    import pandas as pd

    return None if pd.isna(value) else pd.Timestamp(value).tz_convert("UTC").to_pydatetime()
