"""Whether a table as a whole may be used: each gate is a measure with its bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from configs.table import Table
from feature_repo.tables.table_files import Manifest

if TYPE_CHECKING:
    from feature_repo.tables.merging import Merging

__all__ = ["Failure", "fresh_enough", "judge", "said", "unmatched"]

#: A read of fewer rows beyond a cursor counts as this many for the share of refused ones.
_FEW = 100


@dataclass(frozen=True)
class Failure:
    """A gate that a table fails: what was ``measured``, and the ``bound`` that it passed, both for a person."""

    gate: str
    measured: str
    bound: str


def unmatched(merging: Merging) -> tuple[dict[str, int], list[Failure]]:
    """Column of ``references`` → rows whose value finds no row there, and the gates this fails."""
    spec = merging.spec
    counts: dict[str, int] = {}
    failures = []
    for column, target in spec.references.items():
        try:
            missing, of = merging.unmatched(column, target)
        except LookupError:
            if spec.gates.unmatched < 1:
                other = target.partition(".")[0]
                failures.append(
                    Failure(
                        "unmatched", f"{column} refers to table '{other}', which was never ingested", "ingest it first"
                    )
                )
            continue
        counts[column] = missing
        if of and missing / of > spec.gates.unmatched:
            measured = f"{missing:,} of {of:,} rows ({missing / of:.2%}) have a {column} that is not in {target}"
            failures.append(Failure("unmatched", measured, f"at most {spec.gates.unmatched:.2%}"))
    return counts, failures


def judge(spec: Table, before: Manifest | None, read: int, refused: int, rows_in: int, valid: int) -> list[Failure]:
    """The gates on counts that a table fails.

    Args:
        before: the previous ingest.
        read, refused: rows that this ingest read, and how many of them it would quarantine.
        rows_in: rows of the source by now, ``valid``: those of them that are valid, known yet or not.
    """
    gates, failures = spec.gates, []
    of = max(read, _FEW) if spec.source.cursor and before and before.mark is not None else read
    if of and refused / of > gates.quarantined:
        measured = f"{refused:,} of {read:,} rows ({refused / max(read, 1):.2%}) are not valid"
        failures.append(Failure("quarantined", measured, f"at most {gates.quarantined:.2%}"))
    if valid < gates.rows:
        failures.append(Failure("rows", f"{valid:,} valid rows", f"at least {gates.rows:,}"))
    if gates.row_change is not None and before and before.rows_in:
        change = (rows_in - before.rows_in) / before.rows_in
        if abs(change) > gates.row_change:
            measured = (
                f"the source has {rows_in:,} rows, {change:+.2%} against the {before.rows_in:,} of the previous ingest"
            )
            failures.append(Failure("row_change", measured, f"at most {gates.row_change:.2%} either way"))
    return failures


def fresh_enough(spec: Table, latest: datetime | None, as_of: datetime) -> list[Failure]:
    """The freshness gate, if the table has one and fails it; ``latest``: of the rows known at ``as_of``."""
    if spec.gates.freshness is None:
        return []
    column = spec.known_at or spec.day
    bound = f"at most {_length(spec.gates.freshness)} old"
    if latest is None:
        return [Failure("freshness", f"no row has a {column} up to {as_of.isoformat()}", bound)]
    if as_of - latest <= spec.gates.freshness:
        return []
    measured = f"the latest {column} is {latest.isoformat()}, {_length(as_of - latest)} before {as_of.isoformat()}"
    return [Failure("freshness", measured, bound)]


def said(table: str, failures: list[Failure], looked: str) -> str:
    """One sentence for a person; ``looked``: where the refused rows can be looked at."""
    first = failures[0]
    more = f" (and it fails {', '.join(each.gate for each in failures[1:])})" if failures[1:] else ""
    return (
        f"Table '{table}' is refused by its gate '{first.gate}': {first.measured}; expected {first.bound}{more}. "
        f"Nothing was changed. Mend the source ({looked}), or gates.{first.gate} in configs/tables/{table}.yaml."
    )


def _length(length: timedelta) -> str:
    seconds = length.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.3g}{unit}" if seconds / size < 1000 else f"{seconds / size:,.0f}{unit}"
    return f"{seconds:.3g}s"
