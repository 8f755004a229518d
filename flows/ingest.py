"""Raw tables: read, check, quarantine, store as Parquet by day."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_table_artifact

from configs import ConfigError, Settings
from configs.reading import nearest
from configs.table import ingest_order
from feature_repo.storage.secondary import secondary
from flows.context import begin, shown


@task(task_run_name="ingest {table}")
def ingest_one(table: str, as_of: datetime) -> dict[str, Any]:
    """Ingest one table; returns its counts."""
    from feature_repo.tables import ingest_table
    from ray_cluster.reports.table_report import write_table_page

    settings, as_of = begin(as_of)
    held, changed = ingest_table(settings, table, as_of)
    failures = list(held.failures)
    if changed and not failures:
        with secondary(f"page of table {table}", failures):
            page, key = write_table_page(settings, table), f"table-{table.replace('_', '-')}"
            create_link_artifact(key=key, link=page.as_uri(), link_text=f"Profile of {table}")
    get_run_logger().info(
        "%s: %s rows in, %s stored, %s quarantined, %s not yet known%s%s",
        table,
        held.rows_in,
        held.rows_out,
        held.quarantined,
        held.later,
        f"; {counted(held.cleaned)}" if any(held.cleaned.values()) else "",
        "" if changed else " (unchanged)",
    )
    return {
        "table": table,
        "rows_in": held.rows_in,
        "rows_out": held.rows_out,
        "quarantined": held.quarantined,
        "later": held.later,
        "erased": held.erased,
        "replaced": held.replaced,
        "cleaned": held.cleaned,
        "unmatched": held.unmatched,
        "fingerprint": held.fingerprint,
        "changed": changed,
        "reasons": held.reasons,
        "failures": failures,
    }


def counted(counts: dict[str, int]) -> str:
    """``{"trim name": 3}`` as ``trim name 3``; counts of zero are left out."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)


def in_order(settings: Settings, tables: list[str] | None) -> list[str]:
    """The tables to ingest, each after those it refers to, including referenced tables without rows.

    Raises:
        ConfigError: there is no such table (the message has the nearest name).
    """
    from feature_repo.tables import manifest

    names = set(tables or settings.tables)
    for name in names:
        if name not in settings.tables:
            known = list(settings.tables)
            raise ConfigError(f"There is no table '{name}'.{nearest(name, known)} Known: {', '.join(known)}.")
    waiting = list(names)
    while waiting:
        for target in settings.tables[waiting.pop()].references.values():
            other = target.partition(".")[0]
            if other not in names and manifest(settings, other) is None:
                names.add(other)
                waiting.append(other)
    return ingest_order(settings.tables, names)


@flow(name="ingest", flow_run_name="ingest", log_prints=False)
def ingest(tables: list[str] | None = None, as_of: datetime | None = None) -> list[dict[str, Any]]:
    """Ingest ``tables`` (default: all) as known at ``as_of``; each row is stored, quarantined or not yet known.

    A table is ingested after those it refers to. If a gate refuses a table, the flow stops: the table does not change,
    and tables that depend on it are not ingested.
    """
    settings, as_of = begin(as_of)
    names = in_order(settings, tables)
    results = []
    with shown("ingest") as progress:
        for number, name in enumerate(names):
            progress(name, number / len(names))
            results.append(ingest_one(name, as_of))
    with secondary("Prefect artifact of the ingest"):
        create_table_artifact(
            key="ingest",
            table=[
                {
                    key: counted(value) if isinstance(value, dict) else value
                    for key, value in row.items()
                    if key not in ("reasons", "failures")
                }
                | {"failed": ", ".join(failure["what"] for failure in row["failures"])}
                for row in results
            ],
            description="Rows in = rows stored + quarantined + not yet known; cleaned: values changed, by rule; "
            "unmatched: rows whose reference has no match, by column",
        )
    return results
