"""Which one of several rows of a key counts, in SQL: over the views ``known`` and ``refused`` of an ingest's batches.

The statements fill the table ``lost`` with the place and the reason of every row that does not count.
"""

from __future__ import annotations

from collections.abc import Iterable

from configs.table import Table
from feature_repo.tables.staging import ORDER
from feature_repo.tables.storage import quoted

__all__ = ["SQL_TYPES", "deduplicate", "escaped", "literal", "parsed", "supersede"]

#: Declared type → DuckDB's.
SQL_TYPES = {
    "string": "VARCHAR",
    "integer": "BIGINT",
    "number": "DOUBLE",
    "boolean": "BOOLEAN",
    "time": "TIMESTAMPTZ",
}
_PLACE = quoted(ORDER)
_LEFT = f"{_PLACE} NOT IN (SELECT place FROM lost)"


def deduplicate(spec: Table) -> list[str]:
    """Of valid rows that share the key, then of those that share a unique value, one stays as the table declares."""
    rule = spec.cleaning.dedupe or "first"
    order = {"first": _PLACE, "last": f"{_PLACE} DESC"}.get(rule, f"{quoted(rule)} DESC NULLS LAST, {_PLACE}")
    statements = []
    unique = [[name] for name, column in spec.columns.items() if column.unique and spec.key != [name]]
    for columns in [spec.key, *unique]:
        names = _listed(columns)
        what = "key" if columns == spec.key else "value"
        statements += [
            f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {names} FROM known "
            f"WHERE {_LEFT} AND {quoted(columns[0])} IS NOT NULL GROUP BY ALL HAVING count(*) > 1",
            f"INSERT INTO lost SELECT place, 'duplicate {what} ({escaped(', '.join(columns))})' FROM (SELECT "
            f"{_PLACE} AS place, row_number() OVER (PARTITION BY {names} ORDER BY {order}) AS number "
            f"FROM known SEMI JOIN repeated USING ({names}) WHERE {_LEFT}) WHERE number > 1",
        ]
    return statements


def supersede(spec: Table) -> list[str]:
    """With a cursor: of all rows of a key, valid or refused, the newest counts; of equally new ones the greatest.

    The view ``versions`` holds all rows that have a key and a cursor.
    """
    columns, key = _listed(spec.columns), _listed(spec.key)
    cursor = str(spec.source.cursor)
    read = ", ".join(f"{parsed(spec, name)} AS {quoted(name)}" for name in spec.columns)
    complete = " AND ".join(f"{quoted(name)} IS NOT NULL" for name in [*spec.key, cursor])
    content = ", ".join(f"{quoted(name)} DESC NULLS LAST" for name in spec.columns)
    return [
        f"CREATE TEMP VIEW versions AS SELECT {columns}, {_PLACE}, false AS bad FROM known UNION ALL SELECT * FROM "
        f"(SELECT {read}, {_PLACE}, true AS bad FROM refused AS q) WHERE {complete}",
        f"CREATE TEMP TABLE repeated AS SELECT {key} FROM versions GROUP BY ALL HAVING count(*) > 1",
        f"INSERT INTO lost SELECT place, '' FROM (SELECT {_PLACE} AS place, row_number() OVER (PARTITION BY "
        f"{key} ORDER BY {quoted(cursor)} DESC, bad, {content}) AS number "
        f"FROM versions SEMI JOIN repeated USING ({key})) WHERE number > 1",
    ]


def parsed(spec: Table, name: str) -> str:
    """A column of refused rows ``q``, all text, in its declared type; null where it has no such form."""
    return f"TRY_CAST(q.{quoted(name)} AS {SQL_TYPES[spec.columns[name].type]})"


def literal(value: str | int | float, kind: str) -> str:
    """A value of a declared type as SQL writes it."""
    return f"CAST('{escaped(value)}' AS {SQL_TYPES[kind]})"


def escaped(value: object) -> str:
    """A text as it stands between the quotes of SQL."""
    return str(value).replace("'", "''")


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(map(quoted, columns))
