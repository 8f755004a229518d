"""The page of one raw table, and the page that lists all tables; self-contained like the lifecycle report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from configs.table import Table
from ray_cluster.reports.formats import percent
from ray_cluster.reports.page import environment
from ray_cluster.reports.table_charts import histogram, over_time, rules, shares_of, sparkline

__all__ = [
    "TableContent",
    "render_index",
    "render_table",
]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class TableContent:
    """The facts behind one page. Facts that are None or empty become a sentence.

    Attributes:
        name, spec: the table and its declaration. manifest: the fields of the ingest's manifest.
        profile, before: as :mod:`~feature_repo.tables.table_profile` returns them, now and at the ingest before
            the content last changed.
        change: :func:`feature_repo.tables.change.compare` of the two. alerts: sentences, the most serious first.
        gates: ``{gate, bound, found, held}``, bound and found as text, held None if it is unknown.
        refused: rows of the quarantine as texts, ``reason`` among them. mentions: rule or column -> refused rows whose
            reason names it.
        others: the other tables that have a page.
    """

    name: str
    spec: Table
    manifest: Facts
    profile: Facts
    before: Facts | None = None
    change: Facts | None = None
    alerts: Sequence[str] = ()
    gates: Sequence[Facts] = ()
    refused: Sequence[Facts] = ()
    mentions: Mapping[str, int] = field(default_factory=dict)
    others: Sequence[str] = ()


def render_table(content: TableContent) -> str:
    """Return the page. Every value is escaped; a part with no facts says so in one sentence."""
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
    later = "after the time of the ingest" if content.spec.known_at else "never: no known_at is declared"
    known = {
        "Rows in": (held["rows_in"], "read from the source"),
        "Stored": (held["rows_out"], f"{len(content.profile['columns'])} columns"),
        "Quarantined": (held["quarantined"], f"{refused} of the rows in"),
        "Known later": (held["later"], later),
    }
    if held.get("cleaned"):
        known["Cleaned"] = (sum(_by_name(held["cleaned"]).values()), "values corrected by declared rules")
    if content.spec.references and "unmatched" in held:
        lost = sum(_by_name(held["unmatched"]).values())
        known["Unmatched"] = (lost, f"references without a row, of {now:,} rows")
    return [(name, number, beside) for name, (number, beside) in known.items()]


def _by_name(counts: Any) -> dict[str, int]:
    """Counts by name; a single number is a count of all."""
    return dict(counts) if isinstance(counts, dict) else {"values": counts or 0}


def render_index(tables: Sequence[TableContent], missing: Sequence[str]) -> str:
    """Return the page of all tables: the content of each, and its alerts; tables in ``missing`` were never ingested."""
    shown: Any = {"tables": tables, "missing": missing}
    return environment().get_template("tables.html.j2").render(shown)
