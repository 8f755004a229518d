"""Gather the facts about a raw table, and write its page under ``reports/tables/``."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from configs.errors import HeadraceError
from configs.reading import nearest
from configs.settings import Settings
from configs.table import Table
from feature_repo.storage.files import read_json
from feature_repo.tables import manifest, table_path
from feature_repo.tables.change import alerts, compare
from feature_repo.tables.table_profile import held_profile, previous_profile
from ray_cluster.reports.page import write_page
from ray_cluster.reports.table_page import TableContent, render_index, render_table

__all__ = [
    "TablePageError",
    "profiled",
    "table_content",
    "write_table_index",
    "write_table_page",
    "write_table_pages",
]

#: Maximum of refused rows on a page.
ROWS = 20


class TablePageError(HeadraceError, LookupError):
    """There is no such table, or it was not ingested yet; the message is one sentence."""


def write_table_page(settings: Settings, table: str) -> Path:
    """Write ``reports/tables/<table>.html`` and return it.

    Raises:
        TablePageError: no such table, or it was not ingested yet.
    """
    return write_page(_folder(settings) / f"{table}.html", render_table(table_content(settings, table)))


def write_table_pages(settings: Settings, table: str | None = None) -> list[Path]:
    """Write the page of ``table``, or of every ingested one, and the index; return their paths, the index last.

    Raises:
        TablePageError: no such table, or nothing was ingested yet.
    """
    names = [table] if table else profiled(settings)
    if not names:
        raise TablePageError(f"No table was ingested into {settings.home} yet; run `headrace run ingest`.")
    return [*(write_table_page(settings, name) for name in names), write_table_index(settings)]


def write_table_index(settings: Settings) -> Path:
    """Write ``reports/tables/index.html``, the list of all tables, and return it."""
    held = profiled(settings)
    missing = [name for name in settings.tables if name not in held]
    page = render_index([table_content(settings, name) for name in held], missing)
    return write_page(_folder(settings) / "index.html", page)


def table_content(settings: Settings, table: str) -> TableContent:
    """The facts behind a table's page.

    Raises:
        TablePageError: no such table, or it was not ingested yet.
    """
    known = list(settings.tables)
    if table not in settings.tables:
        raise TablePageError(f"There is no table '{table}'.{nearest(table, known)} Known: {', '.join(known)}.")
    held, now = manifest(settings, table), held_profile(settings, table)
    if held is None or now is None:
        raise TablePageError(
            _last_refusal(settings, table)
            or f"Table '{table}' has no rows to profile yet; run `headrace run ingest --param tables=[{table}]`."
        )
    spec, before = settings.tables[table], previous_profile(settings, table)
    change = compare(before, now) if before else None
    facts = asdict(held)
    refused = _refused(settings, table)
    return TableContent(
        name=table,
        spec=spec,
        manifest=facts,
        profile=now,
        before=before,
        change=change,
        alerts=[*filter(None, [_last_refusal(settings, table)]), *_quarantine_alerts(facts), *alerts(now, change)],
        gates=_gates(spec, facts, now),
        refused=refused[:ROWS],
        mentions=_mentions(spec, refused),
        others=profiled(settings),
    )


def profiled(settings: Settings) -> list[str]:
    """The tables that were ingested and thereby profiled."""
    held = [name for name in settings.tables if manifest(settings, name) is not None]
    return [name for name in held if held_profile(settings, name) is not None]


def _folder(settings: Settings) -> Path:
    return settings.home / "reports" / "tables"


def _refused(settings: Settings, table: str) -> list[dict[str, Any]]:
    """The quarantined rows as texts, reason first."""
    import pandas as pd

    path = table_path(settings, table) / "quarantine.parquet"
    if not path.is_file():
        return []
    frame = pd.read_parquet(path)
    frame = frame[["reason", *(name for name in frame if name != "reason")]] if "reason" in frame else frame
    texts = frame.astype(object).where(frame.notna(), None)
    return [
        {str(name): None if value is None else str(value) for name, value in row.items()}
        for row in texts.to_dict("records")
    ]


def _mentions(spec: Table, refused: list[dict[str, Any]]) -> dict[str, int]:
    """Number of refused rows whose reason names each column or each rule of whole rows."""
    reasons = [row["reason"] or "" for row in refused if "reason" in row]
    marks = {name: f"{name} = " for name in spec.columns} | {name: f" fails {name}" for name in spec.rows}
    return {
        name: sum(any(part.startswith(mark) or mark in f" {part}" for part in reason.split("; ")) for reason in reasons)
        for name, mark in marks.items()
    }


def _last_refusal(settings: Settings, table: str) -> str | None:
    """Why a gate refused the last ingest, if it did; the stored rows are then of the ingest before."""
    report = read_json(table_path(settings, table) / "refused" / "report.json")
    return report["sentence"] if report else None


def _quarantine_alerts(held: dict[str, Any]) -> list[str]:
    if not held["quarantined"]:
        return []
    reason, count = next(iter(held["reasons"].items()), ("no reason given", held["quarantined"]))
    most = "" if len(held["reasons"]) == 1 else f", most often ({count:,})"
    return [f"{held['quarantined']:,} row{'' if held['quarantined'] == 1 else 's'} quarantined{most}: {reason}."]


def _gates(spec: Table, held: dict[str, Any], now: dict[str, Any]) -> list[dict[str, Any]]:
    """Each declared gate with its bound and the table's value."""
    gates, rows = spec.gates, held["rows_out"]
    valid = rows + held["later"]
    share = held["quarantined"] / max(held["rows_in"], 1)
    found = [
        _gate("quarantined", f"at most {gates.quarantined:.1%}", f"{share:.2%}", share <= gates.quarantined),
        _gate("rows", f"at least {gates.rows:,}", f"{valid:,}", valid >= gates.rows),
    ]
    if gates.row_change is not None:
        found.append(_gate("row change", f"at most {gates.row_change:.0%}", "judged at the ingest", None))
    latest = _latest(spec, now)
    if gates.freshness is not None:
        age = datetime.fromisoformat(held["as_of"]) - latest if latest else None
        shown = "unknown" if age is None else f"{max(age.total_seconds(), 0) / 3600:,.1f} h"
        bound = f"at most {gates.freshness.total_seconds() / 3600:g} h"
        found.append(_gate("freshness", bound, shown, None if age is None else age <= gates.freshness))
    if spec.references:
        lost = held.get("unmatched")
        worst = max(lost.values(), default=0) if isinstance(lost, dict) else lost
        part = None if worst is None else worst / max(rows, 1)
        within = None if part is None else part <= gates.unmatched
        found.append(_gate("unmatched", f"at most {gates.unmatched:.0%}", _share(part), within))
    return found


def _latest(spec: Table, now: dict[str, Any]) -> datetime | None:
    """The latest known_at, else the latest day, of the stored rows."""
    ends = {column["name"]: column["maximum"] for column in now["columns"]}
    end = ends.get(spec.known_at or spec.day or "")
    return datetime.fromisoformat(end) if end else None


def _gate(gate: str, bound: str, found: str, held: bool | None) -> dict[str, Any]:
    return {"gate": gate, "bound": bound, "found": found, "held": held}


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
