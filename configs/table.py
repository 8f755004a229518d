"""The declaration of one raw table: ``configs/tables/<name>.yaml``, with its source and the rules for valid rows."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictFloat, StrictInt, StrictStr, field_validator, model_validator

from configs.reading import ConfigError, Duration, Frozen, collected, merge, nearest, raise_all, read_yaml, validated

__all__ = ["Cleaning", "Column", "Gates", "Source", "Table", "ingest_order", "load_tables"]


class Source(Frozen):
    """The source of the rows."""

    kind: Literal["python", "csv", "parquet", "sql"] = Field(
        description="`python`: a function; `csv`, `parquet`: files; `sql`: a query."
    )
    location: str = Field(
        description=(
            "For `python`: `module:function`, which returns a DataFrame or yields several. For `csv` and "
            "`parquet`: a file, folder or glob (Parquet folders may be partitioned, `day=2013-01-01/`). For `sql`: "
            "a query."
        )
    )
    url_env: str | None = Field(
        None, description="For `sql`: the environment variable with the SQLAlchemy URL at which the query is run."
    )
    cursor: str | None = Field(
        None,
        description=(
            "For `sql` (PostgreSQL): a column of the query that grows with every insert and update, such as "
            "`updated_at` or a serial number. An ingest then requests only rows at or above the greatest value "
            "seen so far, and a row replaces a stored row with the same key. Rows deleted in the source are kept. "
            "Null: every ingest reads the whole source."
        ),
    )
    overlap: float | Duration = Field(
        0.0,
        description=(
            "How far below the greatest value of `cursor` each ingest reads again: `10m` for a time, `1000` for a "
            "number. Set it to the longest time between the assignment of a row's cursor value and its commit, "
            "because rows committed later with a lower value would be missed."
        ),
    )
    batch_rows: int = Field(100_000, ge=1, description="Number of rows that are read at once.")
    options: dict[str, StrictBool | StrictInt | StrictFloat | StrictStr] = Field(
        {}, description="For `python`: keyword arguments of the function."
    )

    @model_validator(mode="after")
    def _only_functions_take_options(self) -> Source:
        if self.options and self.kind != "python":
            raise ValueError(f"options are the arguments of a Python function; a {self.kind} source has none")
        return self

    @model_validator(mode="after")
    def _only_queries_have_cursors(self) -> Source:
        if self.cursor and self.kind != "sql":
            raise ValueError(f"cursor = '{self.cursor}' needs kind: sql; a {self.kind} source is read by its content")
        if self.overlap and not self.cursor:
            raise ValueError("overlap needs a cursor; otherwise every ingest reads the whole source")
        if (self.overlap.total_seconds() if isinstance(self.overlap, timedelta) else self.overlap) < 0:
            raise ValueError(f"overlap = {self.overlap}: expected 0 or more")
        return self


class Column(Frozen):
    """One column: its type, and what its values must be."""

    type: Literal["string", "integer", "number", "boolean", "time"] = Field(
        description="Type of the values. A time without an offset is in UTC."
    )
    description: str = Field("", description="Meaning of the column.")
    nullable: bool = Field(False, description="Whether a value may be null.")
    unique: bool = Field(False, description="Whether no two rows may have the same value.")
    pattern: str | None = Field(None, description="Regular expression that a text must match. Null means any text.")
    choices: list[str] | None = Field(None, description="The allowed texts. Null means any text.")
    low: float | None = Field(None, description="The lowest number, inclusive. Null means no bound.")
    high: float | None = Field(None, description="The highest number, inclusive. Null means no bound.")

    @model_validator(mode="after")
    def _fits_its_type(self) -> Column:
        if (self.pattern or self.choices) and self.type != "string":
            raise ValueError(f"pattern and choices are for strings; the column is a {self.type}")
        if (self.low is not None or self.high is not None) and self.type not in ("integer", "number"):
            raise ValueError(f"low and high are for numbers; the column is a {self.type}")
        if self.low is not None and self.high is not None and not self.low <= self.high:
            raise ValueError(f"low {self.low} is above high {self.high}")
        if self.pattern:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r} is not a regular expression ({error})") from None
        return self


class Cleaning(Frozen):
    """Declared corrections, applied before the rows are checked, in this order; each counts the changed values.

    Rules with parameters learned from data (imputation, clipping at quantiles) belong to a model, ``inputs:`` in
    its file, and are fitted on training rows only.
    """

    trim: list[str] = Field(
        [], description="Text columns whose surrounding white space is removed; an empty text becomes null."
    )
    replace: dict[str, dict[str, str | float | None]] = Field({}, description="Column: `{value: other}`.")
    clip: dict[str, tuple[float, float]] = Field(
        {}, description="Column: `[low, high]`; values beyond them are clipped."
    )
    dedupe: str | None = Field(
        None,
        description=(
            "Of valid rows that share the table's key, keep the `first` or `last` in source order, or the row with "
            "the greatest value in the named column; the others are quarantined. Null means `first`. With a "
            "`cursor` the newest row is kept."
        ),
    )

    @field_validator("replace", mode="before")
    @classmethod
    def _values_as_text(cls, value: object) -> object:
        if not isinstance(value, dict):
            return value
        for column, pairs in value.items():
            for old in pairs if isinstance(pairs, dict) else ():
                if isinstance(old, bool) or old is None:
                    raise ValueError(f"replace.{column} has the key {old}; YAML reads it so: write it in quotes")
        return {
            column: {str(old): new for old, new in pairs.items()} if isinstance(pairs, dict) else pairs
            for column, pairs in value.items()
        }


class Gates(Frozen):
    """When a whole table is refused: then no row of it is stored and no later step runs."""

    quarantined: float = Field(
        0.05,
        ge=0,
        le=1,
        description=(
            "Maximum share of refused rows among the rows read. With a `cursor` fewer than 100 rows count as 100, "
            "so that one invalid row of three does not stop the table."
        ),
    )
    rows: int = Field(1, ge=0, description="Minimum of valid rows, known yet or not.")
    row_change: float | None = Field(
        None,
        gt=0,
        description=(
            "Maximum relative change of the number of rows of the source (`rows_in`, which does not depend on "
            "`as_of`) since the previous ingest. Null means no bound."
        ),
    )
    freshness: Duration | None = Field(
        None,
        description=(
            "Maximum age, at `as_of`, of the latest row known then (by `known_at` if the rows have it, else by the "
            "latest `day`). Null means no bound."
        ),
    )
    unmatched: float = Field(
        1.0,
        ge=0,
        le=1,
        description=(
            "Maximum share of rows with a value in a column of `references` that has no match there, for each such "
            "column."
        ),
    )


class Table(Frozen):
    """One raw table. Created by :func:`load_tables`."""

    description: str = Field("", description="Meaning of the table.")
    source: Source = Field(description="Where the rows come from.")
    key: Annotated[list[str], Field(min_length=1)] = Field(description="Columns that identify a row.")
    day: str | None = Field(
        None, description="The UTC time column that partitions the table. Null for a table without time."
    )
    known_at: str | None = Field(
        None, description="Column with the time at which a row became known. Null: always known."
    )
    columns: Annotated[dict[str, Column], Field(min_length=1)] = Field(description="Column: its type and rules.")
    rows: dict[str, str] = Field({}, description="Name: SQL condition over the columns that every row must fulfil.")
    references: dict[str, str] = Field({}, description="Column: `table.column` that lists its values.")
    cleaning: Cleaning = Field(Cleaning(), description="Declared corrections, applied before the rows are checked.")
    gates: Gates = Field(Gates(), description="When the whole table is refused.")

    @model_validator(mode="after")
    def _names_its_own_columns(self) -> Table:
        known = list(self.columns)
        used = {
            "key": self.key,
            "day": [self.day] if self.day else [],
            "known_at": [self.known_at] if self.known_at else [],
            "references": list(self.references),
            "source.cursor": [self.source.cursor] if self.source.cursor else [],
            "cleaning.trim": self.cleaning.trim,
            "cleaning.replace": list(self.cleaning.replace),
            "cleaning.clip": list(self.cleaning.clip),
            "cleaning.dedupe": [] if self.cleaning.dedupe in (None, "first", "last") else [str(self.cleaning.dedupe)],
        }
        for place, names in used.items():
            for name in names:
                if name not in known:
                    raise ValueError(f"{place} names the column '{name}', which is not declared.{nearest(name, known)}")
        for place in ("key", "day", "known_at", "source.cursor"):
            for name in used[place]:
                if self.columns[name].nullable:
                    raise ValueError(f"{place} = '{name}' is a column that may be null; remove its nullable: true")
        for place in ("day", "known_at"):
            name = getattr(self, place)
            if name and self.columns[name].type != "time":
                raise ValueError(f"{place} = '{name}' is a {self.columns[name].type} column; expected type: time")
        for column, target in self.references.items():
            if not re.fullmatch(r"\w+\.\w+", target):
                raise ValueError(f"references.{column} = '{target}': expected table.column")
        if self.gates.freshness and not (self.day or self.known_at):
            raise ValueError("gates.freshness needs known_at or day, the time of a row")
        return self

    @model_validator(mode="after")
    def _cleans_what_fits(self) -> Table:
        for place, names, types in (
            ("trim", self.cleaning.trim, ("string",)),
            ("replace", self.cleaning.replace, ("string", "integer", "number")),
            ("clip", self.cleaning.clip, ("integer", "number")),
        ):
            for name in names:
                if self.columns[name].type not in types:
                    expected = " or ".join(types)
                    raise ValueError(
                        f"cleaning.{place} names '{name}', a {self.columns[name].type} column; expected {expected}"
                    )
        for name, (low, high) in self.cleaning.clip.items():
            if not low <= high:
                raise ValueError(f"cleaning.clip.{name} = [{low:g}, {high:g}]: the first is above the second")
        for name, pairs in self.cleaning.replace.items():
            text = self.columns[name].type == "string"
            for old, new in pairs.items():
                if new is not None and isinstance(new, str) is not text:
                    raise ValueError(
                        f"cleaning.replace.{name}: '{old}' becomes {new!r}, in a {self.columns[name].type}"
                    )
                if not text and not _is_number(old):
                    raise ValueError(f"cleaning.replace.{name}: '{old}' is not a number; the column holds numbers only")
        return self

    @model_validator(mode="after")
    def _can_follow_its_cursor(self) -> Table:
        cursor, overlap = self.source.cursor, self.source.overlap
        if cursor is None:
            return self
        kind = self.columns[cursor].type
        if kind == "boolean":
            raise ValueError(f"source.cursor = '{cursor}' is a boolean column; expected a time, a number or a text")
        if overlap and isinstance(overlap, timedelta) is not (kind == "time"):
            example = {"time": "10m", "string": "0"}.get(kind, "1000")
            raise ValueError(f"source.overlap = {overlap} is invalid for the {kind} column '{cursor}'; write {example}")
        if overlap and kind == "string":
            raise ValueError(f"source.overlap = {overlap}: '{cursor}' is a text; omit overlap")
        if cursor in {*self.cleaning.trim, *self.cleaning.replace, *self.cleaning.clip}:
            raise ValueError(f"cleaning changes '{cursor}', the source's cursor; remove that rule")
        if self.cleaning.dedupe:
            raise ValueError("cleaning.dedupe has no effect with source.cursor: the newest row of a key is kept")
        for name, column in self.columns.items():
            if column.unique and self.key != [name]:
                raise ValueError(
                    f"columns.{name}.unique cannot be enforced with source.cursor, where only the key is compared with "
                    "earlier rows; remove it"
                )
        return self


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def load_tables(folder: Path, overlay: Path) -> dict[str, Table]:
    """Every ``<name>.yaml`` under ``folder`` and ``overlay`` (an environment's), the latter merged over the former.

    Raises:
        ConfigError: unknown keys or invalid values, of all files; or references to tables or columns that do not exist.
    """
    names = sorted({path.stem for place in (folder, overlay) for path in place.glob("*.yaml")})
    found: dict[str, Table] = {}
    problems: list[ConfigError] = []
    for name in names:
        content: dict[str, Any] = {}
        where = []
        with collected(problems):
            for place in (folder, overlay):
                if (path := place / f"{name}.yaml").is_file():
                    content = merge(content, read_yaml(path))
                    where.append(f"{place.parent.name}/{place.name}/{path.name}")
            found[name] = validated(Table, content, " + ".join(where))
    raise_all(problems)
    raise_all(list(_dangling(found)))
    ingest_order(found)
    return found


def ingest_order(tables: Mapping[str, Table], names: Collection[str] | None = None) -> list[str]:
    """Names of ``tables`` (only ``names``, if given), each after those it refers to.

    Raises:
        ConfigError: tables refer to each other in a cycle. A table may refer to itself.
    """
    targets = {
        name: sorted({target.partition(".")[0] for target in table.references.values()} - {name})
        for name, table in tables.items()
    }
    try:
        order = list(TopologicalSorter(targets).static_order())
    except CycleError as error:
        circle = " → ".join(reversed(error.args[1]))
        raise ConfigError(
            f"The tables {circle} refer to each other in a cycle, so none can be ingested first; remove one of "
            f"these references under configs/tables/."
        ) from None
    return [name for name in order if name in (tables if names is None else names)]


def _dangling(tables: Mapping[str, Table]) -> Iterator[ConfigError]:
    """An error for each reference to a table or column that does not exist."""
    for name, table in tables.items():
        for column, target in table.references.items():
            other, _, key = target.partition(".")
            if other not in tables:
                why = f"there is no table '{other}'.{nearest(other, list(tables))}"
            elif key not in tables[other].columns:
                why = f"table '{other}' has no column '{key}'.{nearest(key, list(tables[other].columns))}"
            else:
                continue
            yield ConfigError(f"tables/{name}.yaml: references.{column} = '{target}': {why}")
