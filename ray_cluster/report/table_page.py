"""The page of one raw table, and the page that lists all of them; self-contained as the lifecycle report is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray_cluster.report.formats import percent
from ray_cluster.report.page import environment
from ray_cluster.report.table_content import TableContent
from ray_cluster.report.table_shapes import histogram, over_time, rules, shares_of, sparkline

__all__ = ["render_index", "render_table"]


def render_table(content: TableContent) -> str:
    """Return the page. Every value is escaped; a part without facts says in one sentence that it has none."""
    changes = {column["name"]: column for column in (content.change or {}).get("columns", [])}
    before = {column["name"]: column for column in (content.before or {}).get("columns", [])}
    rows = content.profile["rows"]
    series = content.profile["series"]
    return (
        environment()
        .get_template("table.html.j2")
        .render(
            content=content,
            rows=rows,
            counts=_counts(content),
            cleaned=[(name, count) for name, count in _by_name(content.manifest.get("cleaned")).items() if count],
            found={column["name"]: column for column in content.profile["columns"]},
            changes=changes,
            shapes={
                column["name"]: histogram(column, before.get(column["name"])) for column in content.profile["columns"]
            },
            series=over_time(series, (content.before or {}).get("series")) if series else None,
            shares_of=lambda column: shares_of(column, rows),
            sparkline=sparkline,
            rules=rules,
        )
    )


def _counts(content: TableContent) -> list[tuple[str, int, str]]:
    """The tiles at the top: name, number, and what it means."""
    held, now = content.manifest, content.profile["rows"]
    refused = percent(held["quarantined"] / max(held["rows_in"], 1))
    later = "after the moment of the ingest" if content.spec.known_at else "never: no known_at is declared"
    known = {
        "Rows in": (held["rows_in"], "read from the source"),
        "Stored": (held["rows_out"], f"{len(content.profile['columns'])} columns"),
        "Quarantined": (held["quarantined"], f"{refused} of the rows in"),
        "Known later": (held["later"], later),
    }
    if held.get("cleaned"):
        known["Cleaned"] = (sum(_by_name(held["cleaned"]).values()), "values mended by declared rules")
    if content.spec.references and "unmatched" in held:
        lost = sum(_by_name(held["unmatched"]).values())
        known["Unmatched"] = (lost, f"references without a row, of {now:,} rows")
    return [(name, number, beside) for name, (number, beside) in known.items()]


def _by_name(counts: Any) -> dict[str, int]:
    """Counts by name; a single number is a count of all."""
    return dict(counts) if isinstance(counts, dict) else {"values": counts or 0}


def render_index(tables: Sequence[TableContent], missing: Sequence[str]) -> str:
    """Return the page of all tables: what each holds, and how much stands out; ``missing`` were never ingested."""
    shown: Any = {"tables": tables, "missing": missing}
    return environment().get_template("tables.html.j2").render(shown)
