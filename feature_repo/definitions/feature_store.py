"""Call Feast: apply the definitions, materialize values, retrieve past values, read current ones."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from configs.settings import Settings
from feature_repo.definitions.apply import Check, is_current, register
from feature_repo.definitions.registry_lock import exclusive
from feature_repo.online.layout import FeatureServiceError
from feature_repo.storage.feast_import import import_feast
from feature_repo.transforms import VIEWS

if TYPE_CHECKING:
    import pandas as pd
    from feast import FeatureService, FeatureStore

__all__ = [
    "apply",
    "feature_views",
    "materialize",
    "open_store",
    "request_features",
    "retrieve",
]

logger = logging.getLogger(__name__)


def open_store(settings: Settings) -> FeatureStore:
    """Feast's store object for this environment; one per process, because opening it reads the whole registry."""
    return _open(settings.root, settings.feast_yaml, settings.home, tuple(sorted(settings.variables().items())))


@cache
def _open(root: Path, feast_yaml: Path, home: Path, variables: tuple[tuple[str, str], ...]) -> FeatureStore:
    os.environ.update({name: value for name, value in variables if name.startswith("HEADRACE_")})
    import_feast()
    from feast import FeatureStore

    for folder in ("databases", "features"):
        (home / folder).mkdir(parents=True, exist_ok=True)
    with exclusive(dict(variables)["HEADRACE_REGISTRY_URL"], home):  # the first to open it creates its tables
        store = FeatureStore(repo_path=str(root / "feature_repo"), fs_yaml_file=feast_yaml)
        assert store.registry is not None  # the access opens it
    return store


def apply(settings: Settings, check: Check | None = None, definitions: ModuleType | None = None) -> bool:
    """Register the definitions of features.py with Feast, and no others; False if exactly these were applied last.

    Args:
        check: called with the pending changes; an exception stops the apply (:mod:`feature_repo.definitions.apply`).
        definitions: a module of Feast objects in place of features.py.

    Raises:
        DefinitionError, RegistrationError: the definitions or the registry cannot be used.
    """
    if is_current(settings, definitions):
        return False
    import feast  # noqa: F401  # with the type checks of definitions that may have changed

    register(settings, open_store(settings), check, definitions)
    return True


def materialize(settings: Settings, view: str, as_of: datetime, since: datetime | None = None) -> bool:
    """Materialize one view as known at ``as_of``, without Feast: :func:`.bringing.write_online`."""
    from feature_repo.materialization.online_write import write_online

    return write_online(settings, view, as_of, since)


def retrieve(
    settings: Settings, service: str, requests: pd.DataFrame, at: str, event_times: bool = False
) -> pd.DataFrame:
    """Features of ``requests`` as known at the time in column ``at``: the requests' columns and the service's features.

    One row per request, in the same order. ``requests`` has the service's join keys and request-time fields. With
    ``event_times`` also, per computed view, ``<view>__event_timestamp`` and ``<view>__known_at`` of the row valid at
    that time, also if it has expired and the features are therefore null; NaT if there is none.

    Raises:
        FeatureServiceError: Feast's registry has no such feature service.
    """
    store = open_store(settings)
    entity_frame = requests.rename(columns={at: "event_timestamp"})
    with _quiet():
        job = store.get_historical_features(entity_frame, _service(store, service))
        frame = job.to_df_with_times() if event_times else job.to_df()  # type: ignore[attr-defined]
    return frame.rename(columns={"event_timestamp": at})


def feature_views(settings: Settings, service: str) -> dict[str, str]:
    """Name of each feature of the service -> its view."""
    projections = _service(open_store(settings), service).feature_view_projections
    return {feature.name: projection.name for projection in projections for feature in projection.features}


def request_features(settings: Settings, service: str) -> list[str]:
    """Features of the service that on-demand views compute from the request alone."""
    return [name for name, view in feature_views(settings, service).items() if view not in VIEWS]


def _service(store: FeatureStore, name: str) -> FeatureService:
    from feast.errors import FeatureServiceNotFoundException

    try:
        return store.get_feature_service(name)
    except FeatureServiceNotFoundException:
        known = sorted(each.name for each in store.list_feature_services())
        raise FeatureServiceError.of(name, known) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Feast's progress output; Headrace shows its own."""
    from contextlib import redirect_stderr, redirect_stdout
    from io import StringIO

    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        yield
