"""What is joined: request rows and feature histories as Parquet, described so that any process can read them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["View", "Workload", "cards", "flights", "load"]

DAY = 86_400_000_000  # microseconds
START = 1_704_067_200_000_000  # 2024-01-01
CARDS = 200_000


@dataclass(frozen=True)
class View:
    """One feature view; ``files`` are those of Headrace, ``single`` the same rows in one file, for stock Feast."""

    name: str
    keys: list[str]
    features: list[str]
    ttl: int  # microseconds, 0: never expires
    files: list[str]
    single: str


@dataclass(frozen=True)
class Workload:
    """``requests``: a Parquet file with the keys and ``event_timestamp``."""

    name: str
    requests: str
    views: list[View]

    def save(self, folder: Path) -> Path:
        path = folder / f"{self.name}.json"
        path.write_text(json.dumps(asdict(self)))
        return path

    def smaller(self, rows: int, folder: Path) -> Workload:
        """The same with ``rows`` of the requests, evenly spread."""
        requests = pl.read_parquet(self.requests)
        path = folder / f"{self.name}_{rows}.parquet"
        requests.gather_every(max(1, requests.height // rows)).head(rows).write_parquet(path)
        return Workload(f"{self.name}_{rows}", str(path), self.views)


def load(path: str) -> Workload:
    content = json.loads(Path(path).read_text())
    return Workload(content["name"], content["requests"], [View(**view) for view in content["views"]])


def flights(folder: Path, rows: int | None = None) -> Workload:
    """Every flight of the ingested tables, asked two hours before its departure, with all computed views.

    Raises:
        SystemExit: the views were never computed.
    """
    from configs import load_model, load_settings
    from feature_repo.definitions.dependencies import service_views
    from feature_repo.materialization.view_files import view_files
    from feature_repo.online.layout import layouts
    from feature_repo.tables import connect

    settings = load_settings()
    model = load_model("flight_delay")
    spec = model.requests
    views = []
    for name in service_views(settings, model.feature_service):
        layout = layouts(settings)[name]
        files = view_files(settings.home / "features", name)
        if not files:
            raise SystemExit(f"Feature view '{name}' was never computed; run `headrace run materialize`.")
        single = folder / f"{name}.parquet"
        pl.read_parquet(files, hive_partitioning=False).write_parquet(single)
        features = [feature for feature, _ in layout.features]
        ttl = int(layout.ttl * 1_000_000)
        views.append(View(name, list(layout.join_keys), features, ttl, [str(file) for file in files], str(single)))
    keys = sorted({key for view in views for key in view.keys})
    lead = f"INTERVAL {int(spec.lead.total_seconds())} SECONDS"
    limit = f"USING SAMPLE reservoir({rows} ROWS) REPEATABLE (1)" if rows else ""
    path = folder / "flights_requests.parquet"
    with connect(settings, only=[spec.table]) as connection:
        asked = f'SELECT {", ".join(keys)}, {spec.event_time} - {lead} AS event_timestamp FROM "{spec.table}" {limit}'
        connection.execute(f"COPY (SELECT * FROM ({asked}) ORDER BY event_timestamp) TO '{path}' (FORMAT parquet)")
    return Workload("flights", str(path), views)


def cards(
    folder: Path, requests: int, rows: int, days: int = 180, asked_days: int | None = None, ttl_days: int = 30
) -> Workload:
    """Simulated card features: ``rows`` over ``days``, 5 % of them known up to a day late, one file per 30 days.

    The requests fall on the last ``asked_days`` (default: on all).
    """
    random = np.random.default_rng(20)
    folder = folder / f"cards_{requests}_{rows}_{days}"
    folder.mkdir(exist_ok=True)
    event = np.sort(random.integers(0, days * DAY, rows)) + START
    known = event + (random.random(rows) < 0.05) * random.integers(0, DAY, rows)
    names = [f"f{number}" for number in range(6)]
    frame = pl.DataFrame(
        {
            "card": random.integers(0, CARDS, rows),
            "event_timestamp": event,
            "known_at": known,
            **{name: random.normal(size=rows) for name in names},
        }
    ).with_columns(pl.col("event_timestamp", "known_at").cast(pl.Datetime("us", "UTC")))
    files = []
    for first in range(0, days, 30):
        low, high = np.searchsorted(event, [START + first * DAY, START + (first + 30) * DAY])
        files.append(str(folder / f"{first:05}.parquet"))
        frame.slice(int(low), int(high - low)).write_parquet(files[-1], row_group_size=122_880)
    single = str(folder / "single.parquet")
    frame.write_parquet(single, row_group_size=122_880)
    begin = (days - (asked_days or days)) * DAY
    asked = pl.DataFrame(
        {
            "card": random.integers(0, CARDS, requests),
            "event_timestamp": random.integers(begin, days * DAY, requests) + START,
        }
    ).with_columns(pl.col("event_timestamp").cast(pl.Datetime("us", "UTC")))
    path = folder / "requests.parquet"
    asked.write_parquet(path)
    return Workload("cards", str(path), [View("card_stats", ["card"], names, ttl_days * DAY, files, single)])
