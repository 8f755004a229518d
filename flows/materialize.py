"""Features: register the definitions with Feast, compute each view, and materialize its values."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.annotations import quote

from configs import ConfigError, Settings
from configs.reading import nearest
from flows.context import begin, shown

if TYPE_CHECKING:
    from feature_repo.definitions.apply import Pending


@task
def apply_definitions(force: bool = False) -> bool:
    """``headrace apply``, skipped if nothing changed; refuses to break a live model unless ``force`` is set."""
    from feature_repo.definitions.feature_store import apply

    settings, _ = begin(None)
    logger = get_run_logger()

    def check(waiting: Pending) -> None:
        from ray_cluster.lineage.impact import guard

        guard(settings, force, lambda found: [logger.warning("%s", each) for each in found.warnings])(waiting)

    return apply(settings, check)


@task(task_run_name="materialize {view}", cache_policy=NO_CACHE)
def materialize_view(view: str, as_of: datetime, since: datetime | None, applied: Any) -> dict[str, bool]:
    """Compute one view's rows, and materialize the values known at ``as_of``; the task ``applied`` must succeed first.

    Only a view that was never computed, and therefore has no users, is computed in the meantime.
    """
    from feature_repo.materialization.backfill import compute
    from feature_repo.materialization.online_write import write_online
    from feature_repo.materialization.view_files import state

    settings, as_of = begin(as_of)
    if state(settings, view):
        applied.result()
    held, computed = compute(settings, view)
    applied.result()
    moved = write_online(settings, view, as_of, since)
    return _said(view, held.rows, computed, moved, as_of)


@task(task_run_name="materialize on Ray", cache_policy=NO_CACHE)
def materialize_on_ray(
    views: list[str], as_of: datetime, since: datetime | None, applied: Any
) -> dict[str, dict[str, bool]]:
    """The same for all views in parallel, one Ray task each."""
    from ray_cluster.cluster.connection import connected
    from ray_cluster.cluster.feature_tasks import materialize_views

    settings, as_of = begin(as_of)
    applied.result()
    with connected(settings):
        found = materialize_views(settings, views, as_of, since)
    return {view: _said(view, did.rows, did.computed, did.materialized, as_of) for view, did in found.items()}


@flow(name="materialize", flow_run_name="materialize")
def materialize(
    as_of: datetime | None = None,
    views: list[str] | None = None,
    since: datetime | None = None,
    force: bool = False,
) -> dict[str, dict[str, bool]]:
    """Apply the Feast definitions, compute ``views``, and materialize the values known at ``as_of``.

    Default: all views whose tables were ingested; tables of some models may be missing. With ``since`` everything that
    became known at or after it is written online again, for a store that lost values; with ``force`` definitions that
    break a live model are applied too.
    """
    from feature_repo.transforms import VIEWS

    settings, as_of = begin(as_of)
    if since is not None:
        since = since.replace(tzinfo=UTC) if since.tzinfo is None else since.astimezone(UTC)
        if since > as_of:
            raise ConfigError(
                f"since {since:%Y-%m-%d %H:%M} UTC is after as_of {as_of:%Y-%m-%d %H:%M} UTC; use an earlier one."
            )
    names = views or _ingested(settings) or list(VIEWS)
    for name in names:
        if name not in VIEWS:
            raise ConfigError(
                f"There is no feature view '{name}'.{nearest(name, list(VIEWS))} Known: {', '.join(VIEWS)}."
            )
    results = {}
    with shown("materialize") as progress:
        applied = quote(apply_definitions.submit(force))  # Feast is imported while the first views are computed
        if settings.features.engine == "ray":
            progress("on Ray", 0.0)
            return materialize_on_ray(names, as_of, since, applied)
        for number, view in enumerate(names):
            progress(view, number / len(names))
            results[view] = materialize_view(view, as_of, since, applied)
    return results


def _ingested(settings: Settings) -> list[str]:
    """The views whose tables all have rows."""
    from feature_repo.tables import manifest
    from feature_repo.transforms import VIEWS

    tables = {table for query in VIEWS.values() for table in query.tables}
    held = {table for table in tables if (content := manifest(settings, table)) and content.files}
    found: list[str] = []
    waiting: list[str] = []
    for view, query in VIEWS.items():
        (found if held.issuperset(query.tables) else waiting).append(view)
    if found and waiting:
        get_run_logger().info("Left out, because their tables have no rows yet: %s", ", ".join(waiting))
    return found


def _said(view: str, rows: int, computed: bool, moved: bool, as_of: datetime) -> dict[str, bool]:
    get_run_logger().info(
        "%s: %s rows %s, online values %s",
        view,
        rows,
        "computed" if computed else "unchanged",
        f"as known at {as_of:%Y-%m-%d %H:%M} UTC" if moved else "unchanged",
    )
    return {"computed": computed, "materialized": moved}
