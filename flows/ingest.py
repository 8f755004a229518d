"""Raw tables: read, check, quarantine, store as Parquet by day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact

from configs import ConfigError
from configs.reading import nearest
from flows.entry import begin
from flows.progress import shown


@task(task_run_name="ingest {table}")
def ingest_one(table: str, as_of: datetime) -> dict[str, Any]:
    """Ingest one table; returns its counts."""
    from feature_repo.tables import ingest_table

    settings, as_of = begin(as_of)
    held, changed = ingest_table(settings, table, as_of)
    get_run_logger().info(
        "%s: %s rows in, %s stored, %s quarantined, %s not yet known%s",
        table,
        held.rows_in,
        held.rows_out,
        held.quarantined,
        held.later,
        "" if changed else " (unchanged)",
    )
    return {
        "table": table,
        "rows_in": held.rows_in,
        "rows_out": held.rows_out,
        "quarantined": held.quarantined,
        "later": held.later,
        "fingerprint": held.fingerprint,
        "changed": changed,
        "reasons": held.reasons,
    }


@flow(name="ingest", flow_run_name="ingest", log_prints=False)
def ingest(tables: list[str] | None = None, as_of: datetime | None = None) -> list[dict[str, Any]]:
    """Ingest ``tables`` (default: all) as known at ``as_of``; each row is stored, quarantined or not yet known."""
    settings, as_of = begin(as_of)
    names = tables or list(settings.sources)
    for name in names:
        if name not in settings.sources:
            known = list(settings.sources)
            raise ConfigError(f"There is no table '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
    results = []
    with shown("ingest") as progress:
        for number, name in enumerate(names):
            progress(name, number / len(names))
            results.append(ingest_one(name, as_of))
    create_table_artifact(
        key="ingest",
        table=[{key: value for key, value in row.items() if key != "reasons"} for row in results],
        description="Rows in = rows stored + quarantined + not yet known",
    )
    return results
