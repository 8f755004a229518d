"""Read a raw table by a SQL query; from PostgreSQL as a stream and, with a cursor, only rows after the last ingest.

PostgreSQL sends rows through a server-side cursor in one read-only transaction, which is one consistent snapshot.
The server converts its types to Headrace's: numeric → double precision (text if the column is declared otherwise),
dates and times without a zone → UTC, infinite times → null, uuid, json, enums, arrays … → text.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from configs.errors import HeadraceError
from configs.table import Table

if TYPE_CHECKING:
    import pandas as pd
    import psycopg
    import sqlalchemy

__all__ = ["Since", "SourceError", "describe", "query"]

#: PostgreSQL's type numbers (pg_type.h) by the resulting kind; other types are converted to text.
_TEXT = {18, 19, 25, 1043}
_INTEGER = {20, 21, 23, 26}
_FLOAT = {700, 701}
_NUMERIC, _BOOLEAN, _DATE, _TIMESTAMP, _TIMESTAMPTZ = 1700, 16, 1082, 1114, 1184
#: The SQL type for comparing a cursor column, by its declared type.
_CURSOR = {"integer": "int8", "number": "float8", "time": "timestamptz", "string": "text"}


class SourceError(HeadraceError, ValueError):
    """A source cannot be read; the message says what was searched and how to fix it."""


@dataclass(frozen=True)
class Since:
    """Start of a query: rows whose cursor is at least ``value`` (not ``inclusive``: greater), or null."""

    value: str | int | float
    inclusive: bool = True


def query(name: str, table: Table, since: Since | None = None) -> Iterator[pd.DataFrame]:
    """The rows of a SQL source in frames of ``batch_rows``, in the order of its cursor if it has one.

    Raises:
        SourceError: the URL is not set, the server does not answer, or refuses the query.
    """
    url = _url(name, table)
    if url.get_backend_name() == "postgresql":
        yield from _postgresql(name, table, since, url)
        return
    yield from _any_database(table, url)


def describe(name: str, table: Table) -> list[str]:
    """Names of the current columns of a SQL source; no row is read.

    Raises:
        SourceError: as for :func:`query`.
    """
    import sqlalchemy

    url = _url(name, table)
    if url.get_backend_name() == "postgresql":
        with _connected(name, table, url) as connection:
            return list(_command(name, table, None, connection)[1])
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return list(connection.execute(sqlalchemy.text(table.source.location)).keys())
    except sqlalchemy.exc.SQLAlchemyError as error:
        raise SourceError(f"Source '{name}': {url.get_backend_name()} says: {str(error).splitlines()[0]}.") from error
    finally:
        engine.dispose()


def _url(name: str, table: Table) -> sqlalchemy.URL:
    import sqlalchemy

    source = table.source
    text = os.environ.get(source.url_env or "")
    if not text:
        raise SourceError(
            f"Source '{name}': set the environment variable {source.url_env or '(url_env is missing in the settings)'} "
            "to the database's SQLAlchemy URL, such as postgresql+psycopg://user:password@host:5432/name."
        )
    try:
        url = sqlalchemy.make_url(text)
    except sqlalchemy.exc.ArgumentError:
        raise SourceError(
            f"Source '{name}': {source.url_env} is not a URL; expected "
            "postgresql+psycopg://user:password@host:5432/name."
        ) from None
    if table.source.cursor and url.get_backend_name() != "postgresql":
        raise SourceError(
            f"Source '{name}': source.cursor needs PostgreSQL; {source.url_env} names {url.get_backend_name()}. "
            f"Remove it from configs/tables/{name}.yaml to read the whole query."
        )
    return url


def _any_database(table: Table, url: sqlalchemy.URL) -> Iterator[pd.DataFrame]:
    import pandas as pd
    import sqlalchemy

    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect().execution_options(stream_results=True) as connection:
            found = connection.execute(sqlalchemy.text(table.source.location))
            names = list(found.keys())
            empty = True
            for rows in found.partitions(table.source.batch_rows):
                empty = False
                yield pd.DataFrame.from_records([tuple(row) for row in rows], columns=names)
            if empty:
                yield pd.DataFrame(columns=names)
    finally:
        engine.dispose()


def _postgresql(name: str, table: Table, since: Since | None, url: sqlalchemy.URL) -> Iterator[pd.DataFrame]:
    with _connected(name, table, url) as connection:
        command, kinds = _command(name, table, since, connection)
        with connection.cursor(name="headrace", binary=True) as cursor:
            cursor.execute(command)
            empty = True
            while rows := cursor.fetchmany(table.source.batch_rows):
                empty = False
                yield _frame(rows, kinds)
            if empty:
                yield _frame([], kinds)


@contextmanager
def _connected(name: str, table: Table, url: sqlalchemy.URL) -> Iterator[psycopg.Connection[Any]]:
    """A read-only transaction; an error of the server becomes a SourceError."""
    import psycopg

    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with psycopg.connect(address, connect_timeout=10, application_name="headrace") as connection:
            connection.read_only = True
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET cursor_tuple_fraction = 1")  # all rows will be fetched, not only the first ones
            yield connection
    except psycopg.Error as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        lost = isinstance(error, psycopg.OperationalError)
        remedy = f"the server, or {table.source.url_env}" if lost else f"source.location in configs/tables/{name}.yaml"
        said = f"Source '{name}': PostgreSQL ({url.host}, {url.database}) says: {first}; correct {remedy}."
        raise SourceError(said) from error


def _command(
    name: str, table: Table, since: Since | None, connection: psycopg.Connection[Any]
) -> tuple[Any, dict[str, str]]:
    """The statement to run, and each column of its result with its kind."""
    from psycopg import sql

    inner = sql.SQL("(\n{}\n) AS q").format(sql.SQL(table.source.location.strip().rstrip(";")))  # type: ignore[arg-type]
    described = connection.execute(sql.SQL("SELECT * FROM {} LIMIT 0").format(inner)).description or []
    kinds, chosen = {}, []
    for column in described:
        kinds[column.name], expression = _converted(column.name, column.type_code, table)
        chosen.append(sql.SQL("{} AS {}").format(expression, sql.Identifier(column.name)))
    cursor = table.source.cursor
    command = sql.SQL("SELECT * FROM (SELECT {} FROM {}) AS q").format(sql.SQL(", ").join(chosen), inner)
    if cursor is None:
        return command, kinds
    if cursor not in kinds:
        raise SourceError(
            f"Source '{name}': the query has no column '{cursor}', its source.cursor; it has {', '.join(kinds)}."
        )
    by: sql.Composable = sql.Identifier(cursor)
    if table.columns[cursor].type == "string":  # compared byte by byte, as in Python, for any collation of the database
        by = sql.SQL('{} COLLATE "C"').format(by)
    if since is not None:
        command = sql.SQL("{} WHERE {} {} CAST({} AS {}) OR {} IS NULL").format(
            command,
            by,
            sql.SQL(">=" if since.inclusive else ">"),
            sql.Literal(str(since.value)),
            sql.SQL(_CURSOR[table.columns[cursor].type]),
            sql.Identifier(cursor),
        )
    return sql.SQL("{} ORDER BY {}").format(command, by), kinds


def _converted(name: str, code: int, table: Table) -> tuple[str, Any]:
    """The resulting kind of a column, and the SQL expression that converts it."""
    from psycopg import sql

    column = sql.Identifier(name)
    declared = table.columns[name].type if name in table.columns else "string"
    kind, form = "string", "{}" if code in _TEXT else "CAST({} AS text)"
    if code in _INTEGER:
        kind, form = "integer", "{}"
    elif code in _FLOAT or (code == _NUMERIC and declared == "number"):
        kind, form = "number", "CAST({} AS float8)"
    elif code == _BOOLEAN:
        kind, form = "boolean", "{}"
    elif code in (_DATE, _TIMESTAMP):
        kind, form = "time", "CASE WHEN isfinite({0}) THEN CAST({0} AS timestamp) AT TIME ZONE 'UTC' END"
    elif code == _TIMESTAMPTZ:
        kind, form = "time", "CASE WHEN isfinite({0}) THEN {0} END"
    if name == table.source.cursor:  # compared in its stored form
        kind = declared
        target = _CURSOR[declared]
        if code == _TIMESTAMPTZ or (code, declared) in ((20, "integer"), (701, "number"), (25, "string")):
            form = "{}"  # unchanged, so that an index on it is used
        elif code not in (_DATE, _TIMESTAMP):
            form = f"CAST({{}} AS {target})"
    return kind, sql.SQL(form).format(column)  # type: ignore[arg-type]


def _frame(rows: list[tuple[Any, ...]], kinds: dict[str, str]) -> pd.DataFrame:
    import pandas as pd
    import pyarrow as pa

    from feature_repo.tables.conditions import arrow_type

    values = list(zip(*rows, strict=True)) if rows else [()] * len(kinds)
    columns = {}
    for (name, kind), held in zip(kinds.items(), values, strict=True):
        if kind == "string":
            columns[name] = pd.Series(list(held), dtype=object)
        elif kind == "boolean":
            columns[name] = pd.Series(list(held), dtype="boolean")
        else:
            keep = {pa.int64(): pd.Int64Dtype()}.get
            columns[name] = pa.array(held, arrow_type(kind)).to_pandas(types_mapper=keep)
    return pd.DataFrame(columns)
