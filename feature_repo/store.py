"""Call Feast: apply the definitions, bring values online, retrieve them as of the past, read them now."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.files import locked, read_json, replacing, write_json
from feature_repo.tables import connect, manifest
from feature_repo.transforms import VIEWS, sql

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureStore

__all__ = [
    "OnlineReader",
    "OnlineVectors",
    "ViewState",
    "apply",
    "compute",
    "freshness",
    "materialize",
    "open_store",
    "request_features",
    "retrieve",
]

logger = logging.getLogger(__name__)

#: Before everything: the start of a view's first materialization.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class ViewState:
    """What one feature view holds: offline made from ``tables`` by ``code``, online as known at ``online_until``."""

    view: str
    rows: int
    code: str
    tables: dict[str, str]
    online_code: str | None = None
    online_until: str | None = None
    latest_event: str | None = None


def open_store(settings: Settings) -> FeatureStore:
    """Feast's own store object for this environment; one per process, as opening it reads the whole registry."""
    return _open(settings.root, settings.feast_yaml, settings.home, tuple(sorted(settings.variables().items())))


@cache
def _open(root: Path, feast_yaml: Path, home: Path, variables: tuple[tuple[str, str], ...]) -> FeatureStore:
    os.environ.update({name: value for name, value in variables if name.startswith("HEADRACE_")})
    from feast import FeatureStore

    for folder in ("databases", "features"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    return FeatureStore(repo_path=str(root / "feature_repo"), fs_yaml_file=feast_yaml)


def apply(settings: Settings) -> bool:
    """Register the definitions of features.py with Feast; False when the same were registered already."""
    definitions = Path(__file__).with_name("features.py")
    fingerprint = hashlib.blake2b(
        definitions.read_bytes() + settings.feast_yaml.read_bytes() + settings.database_url("feast").encode(),
        digest_size=8,
    ).hexdigest()
    with locked(settings.home, "feast-apply"):
        marker = settings.home / "features" / "applied.json"
        if read_json(marker) == fingerprint and _registered(settings):
            return False
        from feast.repo_operations import parse_repo

        store = open_store(settings)
        contents = parse_repo(Path(store.repo_path))
        store.apply(
            [
                *contents.data_sources,
                *contents.entities,
                *contents.feature_views,
                *contents.on_demand_feature_views,
                *contents.feature_services,
            ]
        )
        write_json(marker, fingerprint)
    return True


def _registered(settings: Settings) -> bool:
    """Whether the registry holds feature services, asked of its database: importing Feast takes seconds."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(settings.database_url("feast"))
    try:
        with engine.connect() as connection:
            return bool(connection.execute(sqlalchemy.text("SELECT count(*) FROM feature_services")).scalar())
    except sqlalchemy.exc.SQLAlchemyError:
        return False
    finally:
        engine.dispose()


def compute(settings: Settings, view: str) -> tuple[ViewState, bool]:
    """Compute one view's Parquet file from the raw tables; left alone when neither tables nor code changed.

    Raises:
        FileNotFoundError: a table it needs was never ingested.
    """
    tables = {}
    for table in VIEWS[view]:
        content = manifest(settings, table)
        if content is None:
            raise FileNotFoundError(
                f"Feature view '{view}' needs table '{table}', which holds nothing yet; run `headrace run ingest`."
            )
        tables[table] = content.fingerprint
    code = hashlib.blake2b(sql(view).encode(), digest_size=8).hexdigest()
    path = settings.home / "features" / f"{view}.parquet"
    with locked(settings.home, f"view-{view}"):
        before = state(settings, view)
        if before and before.code == code and before.tables == tables and path.exists():
            return before, False
        with connect(settings, only=VIEWS[view]) as connection, replacing(path) as temporary:
            connection.execute(f"COPY ({sql(view)}) TO '{temporary}' (FORMAT parquet, COMPRESSION zstd)")
            rows, latest = connection.execute(
                "SELECT count(*), max(event_timestamp) FROM read_parquet(?)", [str(temporary)]
            ).fetchall()[0]
        after = ViewState(
            view,
            int(rows),
            code,
            tables,
            before.online_code if before else None,
            before.online_until if before else None,
            latest.isoformat() if latest else None,
        )
        _remember(settings, after)
    return after, True


def materialize(settings: Settings, view: str, as_of: datetime) -> bool:
    """Bring one view's values, as known at ``as_of``, to the online store; False when it held them already.

    Incremental by known-at time: late and corrected rows arrive. When the code of the view changed, all of it is
    brought again. The record is written after the values, so that a killed run is repeated.
    """
    with locked(settings.home, f"view-{view}"):
        held = state(settings, view)
        if held is None:
            raise FileNotFoundError(f"Feature view '{view}' was never computed; run `headrace run materialize`.")
        start = _EPOCH
        if held.online_until and held.online_code == held.code:
            start = datetime.fromisoformat(held.online_until)
            if start >= as_of:
                return False
        store = open_store(settings)
        with _quiet():
            store.materialize(start, as_of, feature_views=[view], disable_event_timestamp=False)
        _remember(settings, ViewState(**{**vars(held), "online_code": held.code, "online_until": as_of.isoformat()}))
    return True


def retrieve(settings: Settings, service: str, requests: pd.DataFrame, at: str) -> pd.DataFrame:
    """Features of ``requests`` as known at the time in column ``at``: the requests' columns and the service's features.

    One row per request, in the same order. ``requests`` has the service's join keys and request-time fields.
    """
    store = open_store(settings)
    entity_frame = requests.rename(columns={at: "event_timestamp"})
    with _quiet():
        frame = store.get_historical_features(entity_frame, store.get_feature_service(service)).to_df()
    return frame.rename(columns={"event_timestamp": at})


def request_features(settings: Settings, service: str) -> list[str]:
    """Features of the service that are computed from the request alone, by on-demand views."""
    projections = open_store(settings).get_feature_service(service).feature_view_projections
    return [
        feature.name for projection in projections if projection.name not in VIEWS for feature in projection.features
    ]


def freshness(settings: Settings) -> list[ViewState]:
    """State of every view that was computed, for ``headrace status``."""
    return [found for view in VIEWS if (found := state(settings, view))]


def state(settings: Settings, view: str) -> ViewState | None:
    """What one view holds, or None before it was first computed."""
    content = read_json(settings.home / "features" / f"{view}.json")
    return ViewState(**content) if content else None


@dataclass(frozen=True)
class OnlineVectors:
    """Feature vectors read online: ``features`` (one row per request, model input columns) and ``event_times``
    (one column per feature view, the UTC event time of the value read, NaT where there is none)."""

    features: pd.DataFrame
    event_times: pd.DataFrame


class OnlineReader:
    """Reads one feature service from the online store; safe to call from several threads."""

    def __init__(self, settings: Settings, feature_service: str) -> None:
        self._store = open_store(settings)
        self._service = self._store.get_feature_service(feature_service)
        self._lock = threading.Lock()
        self.entities: list[str] = []
        self.request_fields: list[str] = []
        self.features: list[str] = []
        self.view_keys: dict[str, list[str]] = {}
        self._views: dict[str, tuple[list[str], float]] = {}
        self._texts: set[str] = set()
        for projection in self._service.feature_view_projections:
            names = [feature.name for feature in projection.features]
            self.features += names
            self._texts |= {feature.name for feature in projection.features if str(feature.dtype) == "String"}
            view = self._store.get_feature_view(projection.name) if projection.name in VIEWS else None
            if view is None:
                on_demand = self._store.get_on_demand_feature_view(projection.name)
                for source in on_demand.source_request_sources.values():
                    self.request_fields += [field.name for field in source.schema]
                continue
            self._views[projection.name] = (names, view.ttl.total_seconds() if view.ttl else 0.0)
            self.view_keys[projection.name] = list(view.join_keys)
            self.entities += [key for key in view.join_keys if key not in self.entities]

    def read(self, rows: pd.DataFrame, as_of: pd.Series) -> OnlineVectors:
        """Vectors for ``rows`` (entities and request fields); values older than their TTL at ``as_of`` are null."""
        import numpy as np
        import pandas as pd

        columns = [*self.entities, *self.request_fields]
        records: list[dict[str, Any]] = [
            {name: ("" if name in self.entities and value is None else value) for name, value in record.items()}
            for record in rows[columns].astype(object).where(rows[columns].notna(), None).to_dict("records")
        ]
        with self._lock:
            response = self._store.get_online_features(self._service, records)
        read = response.to_dict(include_event_timestamps=True)
        features = pd.DataFrame({name: read[name] for name in self.features}, index=rows.index)
        features = features.astype({name: "float64" for name in self.features if name not in self._texts})
        moments = (pd.to_datetime(as_of, utc=True) - pd.Timestamp(0, tz="UTC")).dt.total_seconds().to_numpy()
        times = {}
        for view, (names, ttl) in self._views.items():
            seconds = np.array(read[f"{names[0]}__ts"], dtype=float)
            seconds[seconds <= 0] = np.nan
            if ttl:
                expired = moments - seconds > ttl
                features.loc[expired, names] = None
            times[view] = pd.to_datetime(seconds, unit="s", utc=True)
        return OnlineVectors(features, pd.DataFrame(times, index=rows.index))


def _remember(settings: Settings, state: ViewState) -> None:
    write_json(settings.home / "features" / f"{state.view}.json", vars(state))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Feast's own progress prints out of the terminal; Headrace shows its own."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield
