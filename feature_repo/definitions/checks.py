"""Find what would fail later, without any data: tables, columns, SQL and types that do not fit each other.

SQL is prepared by DuckDB over empty tables with the declared columns, and on-demand code runs on one invented row.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from configs.model import ModelSpec
from configs.reading import nearest
from configs.settings import Settings
from feature_repo.online.layout import LayoutError, ViewLayout, layouts
from feature_repo.online.service import OnDemand, Service, feature_service
from feature_repo.tables.conditions import arrow_type
from feature_repo.transforms import VIEWS, sql

if TYPE_CHECKING:
    import duckdb

__all__ = ["model_problems", "service_problems", "view_problems"]

#: Kind of a declared feature -> kinds of the columns that can be stored as it.
_FITS = {
    "number": {"number", "integer"},
    "integer": {"integer"},
    "string": {"string"},
    "boolean": {"boolean"},
    "time": {"time"},
}
#: Kind -> DuckDB's types.
_TYPES = {
    "integer": re.compile(r"U?(TINY|SMALL|BIG|HUGE)?(INT|INTEGER)"),
    "number": re.compile(r"DOUBLE|FLOAT|DECIMAL.*"),
    "string": re.compile(r"VARCHAR|UUID|ENUM.*"),
    "boolean": re.compile(r"BOOLEAN"),
    "time": re.compile(r"TIMESTAMP.*|DATE"),
}
#: Kind -> a value of a row that is invented for on-demand code.
_INVENTED: dict[str, Any] = {"number": 1.0, "integer": 1, "string": "a", "boolean": True, "other": None}


def view_problems(settings: Settings) -> Iterator[str]:
    """A sentence for each fault of a view: of its query over the tables, or of the columns that the query returns."""
    known = layouts(settings)
    for view, query in VIEWS.items():
        about = f"Feature view '{view}'"
        if missing := [table for table in query.tables if table not in settings.tables]:
            for table in missing:
                near = nearest(table, list(settings.tables))
                yield f"{about}: there is no table '{table}'.{near} Add configs/tables/{table}.yaml."
            continue
        with _empty(settings, query.tables) as connection:
            columns, why = _described(connection, sql(view))
        if columns is None:
            yield f"{about}: its query cannot be run: {why}; correct it under feature_repo/transforms."
        elif view not in known:
            yield f"{about} has a query and is not declared; declare it in feature_repo/features.py."
        else:
            yield from _column_problems(about, known[view], columns)


def _column_problems(about: str, layout: ViewLayout, columns: Mapping[str, str]) -> Iterator[str]:
    for name in ("event_timestamp", "known_at", *layout.join_keys, *layout.names):
        if name not in columns:
            yield (
                f"{about}: its query returns no column '{name}'.{_near(name, columns)} Add it there, or remove it from "
                "features.py."
            )
    for name, kind in layout.features:
        if name in columns and columns[name] not in _FITS[kind]:
            yield (
                f"{about}: feature '{name}' is declared as {_article(kind)}, and its query returns "
                f"{_article(columns[name])}; declare it so in feature_repo/features.py, or convert it in the query."
            )


def model_problems(settings: Settings, spec: ModelSpec) -> Iterator[str]:
    """A sentence for each table, column or SQL of a model's file that does not exist or does not fit."""
    about, request, label = f"Model '{spec.name}'", spec.requests, spec.label
    for where, table in (("requests.table", request.table), ("label.table", label.table)):
        if table not in settings.tables:
            yield f"{about}: {where} = '{table}': there is no such table.{_near(table, settings.tables)}"
    if request.table in settings.tables:
        held = settings.tables[request.table].columns
        named = {"requests.id": request.id, "requests.event_time": request.event_time}
        named |= {f"requests.entities.{name}": name for name in request.entities}
        named |= {f"requests.fields.{name}": name for name in request.fields}
        for where, name in named.items():
            if name not in held:
                yield f"{about}: {where} = '{name}': table '{request.table}' has no such column.{_near(name, held)}"
        if request.event_time in held and held[request.event_time].type != "time":
            kind = _article(held[request.event_time].type)
            yield f"{about}: requests.event_time = '{request.event_time}' is {kind}; name a time column."
        for name, field in request.inputs.items():
            if name in held and field.type not in (held[name].type, "number" if held[name].type == "integer" else ""):
                yield (
                    f"{about}: '{name}' is {_article(field.type)} in a request, and {_article(held[name].type)} in "
                    f"table '{request.table}'; give both one type."
                )
    if label.table in settings.tables:
        yield from _label_problems(settings, spec)


def _label_problems(settings: Settings, spec: ModelSpec) -> Iterator[str]:
    about, label = f"Model '{spec.name}'", spec.label
    held = settings.tables[label.table].columns
    if spec.requests.id not in held:
        yield (
            f"{about}: requests.id = '{spec.requests.id}': the table of labels, '{label.table}', has no such column."
            f"{_near(spec.requests.id, held)}"
        )
    with _empty(settings, [label.table]) as connection:
        for where, text, fits in (
            ("positive", label.positive, {"boolean", "integer"}),
            ("known_at", label.known_at, {"time"}),
        ):
            columns, why = _described(connection, f'SELECT ({text}) AS value FROM "{label.table}"')
            if columns is None:
                yield f"{about}: label.{where} = '{text}' cannot be computed on table '{label.table}': {why}."
            elif columns["value"] not in fits:
                expected = " or ".join(_article(kind) for kind in sorted(fits))
                yield f"{about}: label.{where} = '{text}' returns {_article(columns['value'])}; expected {expected}."


def service_problems(settings: Settings, spec: ModelSpec) -> tuple[Service | None, list[str]]:
    """The feature service of a model, None if it cannot be used, and a sentence for each of its faults."""
    about = f"Model '{spec.name}'"
    try:
        service = feature_service(settings, spec.feature_service)
    except (LookupError, LayoutError) as error:
        return None, [f"{about}: {error}"]
    problems = []
    inputs = spec.requests.inputs
    for view, layout in service.views.items():
        for key in layout.join_keys:
            if key not in spec.requests.entities:
                problems.append(
                    f"{about}: feature view '{view}' is joined by '{key}', which is not in requests.entities."
                    f"{_near(key, spec.requests.entities)} Add it there, or use another feature service."
                )
    for each in service.on_demand:
        if missing := [name for name in each.request if name not in inputs]:
            problems += [
                f"{about}: on-demand view '{each.name}' takes '{name}', which is not in requests.fields."
                f"{_near(name, inputs)} Add it there, or use another feature service."
                for name in missing
            ]
        else:
            problems += [f"{about}: {fault}" for fault in _on_demand_problems(each, service, spec)]
    return service, problems


def _on_demand_problems(view: OnDemand, service: Service, spec: ModelSpec) -> Iterator[str]:
    """Run the code of a view on one row: with the examples of the model's file, and one value per stored feature."""
    import pandas as pd

    stored = {name: kind for layout in service.views.values() for name, kind in layout.served.items()}
    now = datetime(2024, 2, 29, 12, tzinfo=UTC)
    row = {name: _INVENTED.get(stored.get(name, "other"), now) for name in view.stored}
    for name, kind in view.request.items():
        example = spec.requests.inputs[name].example
        value = _INVENTED.get(kind, now) if example is None else example
        row[name] = pd.Timestamp(value).tz_convert("UTC") if kind == "time" and isinstance(value, str) else value
    frame = pd.DataFrame({name: [row[name]] for name in [*view.request, *view.stored]})
    try:
        made = view.code(frame if view.mode == "pandas" else frame.to_dict("list"))
        found = {name: pd.Series(made[name]) for name in view.outputs if name in made}
    except Exception as error:
        yield (
            f"on-demand view '{view.name}' fails on one row ({type(error).__name__}: {' '.join(str(error).split())}); "
            f"the row was {row}."
        )
        return
    for name, kind in view.outputs.items():
        if name not in found:
            yield f"on-demand view '{view.name}' returns no '{name}', which it declares.{_near(name, list(made))}"
        elif kind in _FITS and (actual := _kind_of(found[name])) and actual not in _FITS[kind]:
            yield (
                f"on-demand view '{view.name}' declares '{name}' as {_article(kind)} and returns {_article(actual)}; "
                "declare it so in feature_repo/features.py, or convert it."
            )


def _kind_of(values: Any) -> str | None:
    """Kind of a series; None if it has no value that tells."""
    from pandas.api import types

    plain = values.convert_dtypes() if values.dtype == object else values
    for kind, fits in (
        ("boolean", types.is_bool_dtype),
        ("integer", types.is_integer_dtype),
        ("number", types.is_float_dtype),
        ("time", types.is_datetime64_any_dtype),
        ("string", types.is_string_dtype),
    ):
        if not plain.isna().all() and fits(plain):
            return kind
    return None


def _empty(settings: Settings, tables: Collection[str]) -> duckdb.DuckDBPyConnection:
    """A connection with these tables, without rows."""
    import duckdb
    import pyarrow as pa

    connection = duckdb.connect(config={"enable_external_access": False})
    connection.execute("SET TimeZone = 'UTC'")
    for table in tables:
        columns = settings.tables[table].columns.items()
        connection.register(table, pa.schema([(name, arrow_type(each.type)) for name, each in columns]).empty_table())
    return connection


def _described(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[dict[str, str] | None, str]:
    """Kind of each column of a query; None and the reason if it cannot be run."""
    import duckdb

    try:
        found = connection.execute(f"DESCRIBE {query}").fetchall()
    except duckdb.Error as error:
        return None, str(error).strip().splitlines()[0].rstrip(".!")
    kinds = {}
    for name, kind, *_ in found:
        kinds[str(name)] = next((each for each, types in _TYPES.items() if types.fullmatch(kind)), str(kind).lower())
    return kinds, ""


def _near(word: str, known: Collection[str]) -> str:
    return nearest(word, list(known))


def _article(kind: str) -> str:
    words = {"string": "a text", "integer": "a whole number", "time": "a time"}
    return words.get(kind, f"a {kind}")
