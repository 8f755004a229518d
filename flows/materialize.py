"""Features: register the definitions with Feast, compute each view, bring its values online."""

from __future__ import annotations

from datetime import datetime

from prefect import flow, get_run_logger, task

from flows.entry import begin
from flows.progress import shown


@task
def apply_definitions() -> bool:
    """``feast apply``, skipped when nothing changed."""
    from feature_repo.store import apply

    settings, _ = begin(None)
    return apply(settings)


@task(task_run_name="materialize {view}")
def materialize_view(view: str, as_of: datetime) -> dict[str, bool]:
    """Compute one view's rows and bring online what was known at ``as_of``."""
    from feature_repo import store

    settings, as_of = begin(as_of)
    held, computed = store.compute(settings, view)
    moved = store.materialize(settings, view, as_of)
    get_run_logger().info(
        "%s: %s rows %s, online values %s",
        view,
        held.rows,
        "computed" if computed else "unchanged",
        f"as known at {as_of:%Y-%m-%d %H:%M} UTC" if moved else "unchanged",
    )
    return {"computed": computed, "materialized": moved}


@flow(name="materialize", flow_run_name="materialize")
def materialize(as_of: datetime | None = None) -> dict[str, dict[str, bool]]:
    """Apply the Feast definitions, compute every view, and bring online what was known at ``as_of``."""
    from feature_repo.transforms import VIEWS

    _, as_of = begin(as_of)
    results = {}
    with shown("materialize") as progress:
        progress("feast apply", 0.0)
        apply_definitions()
        for number, view in enumerate(VIEWS, start=1):
            progress(view, number / (len(VIEWS) + 1))
            results[view] = materialize_view(view, as_of)
    return results
