"""Apply the feature definitions, and remove the files and online values of views that are no longer defined."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cached_property
from io import StringIO
from types import ModuleType
from typing import TYPE_CHECKING, Any

from configs.settings import Settings
from feature_repo.definitions.load import feast_objects, features_module, fingerprint, registered, written
from feature_repo.definitions.plan import Change, Definitions, ViewDefinition, diff
from feature_repo.definitions.registry_lock import Record, RegistrationError, exclusive, record, recorded
from feature_repo.materialization.view_files import state
from feature_repo.online import open_values
from feature_repo.online.layout import ViewLayout
from feature_repo.storage.files import locked
from feature_repo.transforms import VIEWS, code

if TYPE_CHECKING:
    from feast import FeatureStore

__all__ = [
    "remove_view",
    "Check",
    "Pending",
    "is_current",
    "pending",
    "register",
]


def remove_view(settings: Settings, view: ViewDefinition, project: str) -> int:
    """Remove one view's feature files, its record and its online values; returns the number of removed online values.

    Waits until no process computes or materializes the view. A call after a kill removes the rest.
    """
    folder = settings.home / "features"
    with locked(settings.home, f"view-{view.name}"):
        removed = open_values(settings).clear(
            ViewLayout(project, view.name, tuple(name for name, _ in view.keys), (), view.ttl)
        )
        shutil.rmtree(folder / view.name, ignore_errors=True)
        for name in (f"{view.name}.parquet", f"{view.name}.json"):
            (folder / name).unlink(missing_ok=True)
    return removed


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pending:
    """A pending apply: the registered definitions, and the new ones."""

    before: Definitions
    after: Definitions

    @cached_property
    def changes(self) -> list[Change]:
        """Every difference, in the order of :func:`feature_repo.definitions.plan.diff`."""
        return diff(self.before, self.after)

    @property
    def removed(self) -> list[str]:
        """Feature views that would be removed, with their files and online values."""
        return sorted(self.before.views.keys() - self.after.views.keys())


#: Called with the pending changes; an exception stops the apply.
Check = Callable[[Pending], None]


def is_current(settings: Settings, definitions: ModuleType | None = None) -> bool:
    """Whether exactly these definitions were applied last; takes milliseconds, because Feast is not imported.

    Changes of the registry by other tools since then are not detected here; :func:`pending` detects them.
    """
    held = recorded(settings.database_url("feast"))
    return held is not None and held.fingerprint == fingerprint(definitions, settings.feast_yaml)


def pending(
    settings: Settings,
    store: FeatureStore,
    definitions: ModuleType | None = None,
) -> Pending:
    """The changes that :func:`register` would make. Nothing is written.

    A query counts as changed until its view is computed with the new query in this environment.

    Raises:
        DefinitionError: the definitions cannot be used.
    """
    module = definitions or features_module()
    held = recorded(settings.database_url("feast")) or Record("")
    computed = {view: found.code for view in VIEWS if (found := state(settings, view))}
    queries = {view: code(view) for view in VIEWS} if definitions is None else None
    return Pending(registered(store, {**held.queries, **computed}, held.code), written(module, queries))


def register(
    settings: Settings,
    store: FeatureStore,
    check: Check | None = None,
    definitions: ModuleType | None = None,
) -> Pending:
    """Apply the definitions and return what that changed. After an interruption, the next call repeats it completely.

    A view that is no longer defined is removed with its files and online values. ``check`` runs while no other process
    can change the registry.

    Raises:
        DefinitionError, RegistrationError: the definitions or the registry cannot be used.
    """
    url = settings.database_url("feast")
    module = definitions or features_module()
    seen = fingerprint(definitions, settings.feast_yaml)
    with exclusive(url, settings.home):
        waiting = pending(settings, store, definitions)
        if check:
            check(waiting)
        record(url, None)
        for name in waiting.removed:
            remove_view(settings, waiting.before.views[name], store.project)
        _write(store, module, waiting.after)
        record(
            url,
            Record(
                seen,
                {name: view.query or "" for name, view in waiting.after.views.items()},
                {name: view.code or "" for name, view in waiting.after.on_demand.items()},
            ),
        )
    for change in waiting.changes:
        logger.info("applied: %s", change)
    return waiting


def _write(store: FeatureStore, module: ModuleType, wanted: Definitions) -> None:
    """Write every object of ``module``, remove all others, and check that the registry contains exactly these."""
    from feast import FeatureService, OnDemandFeatureView, RequestSource

    objects: list[Any] = feast_objects(module)
    with _taken(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):  # Headrace shows its own progress
        store.apply(objects, _others(store, objects), partial=False)
        if diff(registered(store), wanted):
            # Feast treats an on-demand view as unchanged if only request fields were appended: such views are removed
            # and written again
            again: list[Any] = [
                each for each in objects if isinstance(each, OnDemandFeatureView | RequestSource | FeatureService)
            ]
            store.apply(objects, again, partial=False)
            store.apply(objects)
    if left := diff(registered(store), wanted):
        raise RegistrationError(
            f"Feast kept what was registered before ({left[0]}); remove that object with Feast's own command line "
            "and apply again."
        )


@contextmanager
def _taken() -> Iterator[None]:
    """Turn Feast's errors into one sentence."""
    from feast.errors import FeastError

    try:
        yield
    except (FeastError, ValueError) as error:
        said = " ".join(str(error).split())
        raise RegistrationError(
            f"Feast refuses the definitions ({type(error).__name__}: {said[:400].rstrip('.')}); correct "
            "feature_repo/features.py and apply again."
        ) from error


def _others(store: FeatureStore, objects: list[Any]) -> list[Any]:
    """Objects in the registry of ``store`` other than ``objects`` and their own sources."""
    named = {(_kind(each), each.name) for each in objects}
    for each in objects:
        if source := getattr(each, "batch_source", None):
            named.add(("source", source.name))
        named |= {("source", source.name) for source in getattr(each, "source_request_sources", {}).values()}
    held: list[Any] = [
        *store.list_feature_services(),
        *store.list_on_demand_feature_views(),
        *store.list_feature_views(),
        *store.list_data_sources(),
        *store.list_entities(),
    ]
    return [each for each in held if (_kind(each), each.name) not in named]


def _kind(each: Any) -> str:
    from feast.data_source import DataSource

    return "source" if isinstance(each, DataSource) else type(each).__name__
