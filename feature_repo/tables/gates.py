"""Gates that decide whether a whole table is accepted: each is a measure with its bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from configs.durations import in_one_unit
from configs.table import Table
from feature_repo.tables.table_files import Manifest

if TYPE_CHECKING:
    from feature_repo.tables.merging import Merging

__all__ = ["Failure", "fresh_enough", "judge", "said", "unmatched"]

#: Minimum of rows in the share of refused rows, for a read of fewer rows after a cursor.
_FEW = 100


@dataclass(frozen=True)
class Failure:
    """A gate that a table fails: what was ``measured``, and the violated ``bound``, both as text."""

    gate: str
    measured: str
    bound: str


def unmatched(merging: Merging) -> tuple[dict[str, int], list[Failure]]:
    """Column of ``references`` → rows whose value has no match there, and the gates that fail as a result."""
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
                        "unmatched",
                        f"{column} refers to table '{other}', which was never ingested",
                        "it to be ingested first",
                    )
                )
            continue
        counts[column] = missing
        if of and missing / of > spec.gates.unmatched:
            measured = f"{missing:,} of {of:,} rows ({missing / of:.2%}) have a {column} that is not in {target}"
            failures.append(Failure("unmatched", measured, f"at most {spec.gates.unmatched:.2%}"))
    return counts, failures


def judge(spec: Table, before: Manifest | None, read: int, refused: int, rows_in: int, valid: int) -> list[Failure]:
    """The failed gates on counts.

    Args:
        before: the previous ingest.
            read, refused: rows that this ingest read, and the number of them it would quarantine.
            rows_in: current rows of the source, ``valid``: the valid ones among them, known yet or not.
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
    bound = f"at most {in_one_unit(spec.gates.freshness.total_seconds())} old"
    if latest is None:
        return [Failure("freshness", f"no row has a {column} up to {as_of.isoformat()}", bound)]
    if as_of - latest <= spec.gates.freshness:
        return []
    age = in_one_unit((as_of - latest).total_seconds())
    measured = f"the latest {column} is {latest.isoformat()}, {age} before {as_of.isoformat()}"
    return [Failure("freshness", measured, bound)]


def said(table: str, failures: list[Failure], looked: str) -> str:
    """The message of the failures; ``looked``: where to find the refused rows."""
    first = failures[0]
    more = f" (and it fails {', '.join(each.gate for each in failures[1:])})" if failures[1:] else ""
    return (
        f"Table '{table}' is refused by its gate '{first.gate}': {first.measured}; expected {first.bound}{more}. "
        f"Nothing was changed. Fix the source ({looked}), or gates.{first.gate} in configs/tables/{table}.yaml."
    )
