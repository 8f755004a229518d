"""Read raw tables from their sources in batches: CSV, Parquet, a SQL query, or a Python function."""

from __future__ import annotations

import hashlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from configs.settings import CONFIGS
from configs.table import Source, Table
from feature_repo.tables.query import Since, SourceError, describe, query

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Since", "SourceError", "batches", "probe", "source_fingerprint"]

#: The texts that pandas reads as null in a CSV file by default.
_NULL_TEXTS = [
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA"),
    *("NULL", "NaN", "None", "n/a", "nan", "null"),
]
#: Hive's name of a null in a folder's name.
_HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def batches(name: str, table: Table, since: Since | None = None) -> Iterator[pd.DataFrame]:
    """Read one raw table in frames of ``batch_rows`` rows (the last may be shorter); ``since`` only with a cursor.

    A source without rows yields one empty frame, so that its columns can be checked, if it has columns.

    Raises:
        SourceError: no file at the location, an unreadable file, a failing query or function.
    """
    source = table.source
    read = {"python": _call, "csv": _csv, "parquet": _parquet}
    with _told(name, f"{source.kind}: {source.location}", f"correct source in configs/tables/{name}.yaml"):
        if source.kind == "sql":
            yield from query(name, table, since)
        else:
            yield from _rebatched(read[source.kind](name, table), source.batch_rows)


@contextmanager
def _told(name: str, what: str, remedy: str) -> Iterator[None]:
    """Turn an error into one sentence: what could not be read, why, and how to fix it."""
    try:
        yield
    except SourceError:
        raise
    except Exception as error:
        first = "".join(str(error).strip().splitlines()[:1]).rstrip(".")
        why = f"{type(error).__name__}: {first}" if first else type(error).__name__
        raise SourceError(f"Source '{name}' ({what}) could not be read: {why}; {remedy}.") from error


def source_fingerprint(name: str, source: Source) -> str | None:
    """Fingerprint of the source's current content without reading it, or None if that is unknown.

    Files: paths, sizes and modification times. Python: the module's code and its own ``fingerprint()``, if it has
    one. SQL: None, so a query always runs.
    """
    if source.kind == "sql":
        return None
    digest = hashlib.blake2b(source.model_dump_json().encode(), digest_size=16)
    if source.kind == "python":
        function = _function(name, source)
        module = import_module(function.__module__)
        if module.__file__ is None or not hasattr(module, "fingerprint"):
            return None
        digest.update(Path(module.__file__).read_bytes())
        digest.update(str(module.fingerprint()).encode())
    else:
        for path in _files(name, source):
            stat = path.stat()
            digest.update(f"{path}:{stat.st_size}:{stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def probe(name: str, table: Table) -> str:
    """A short description of the data at a source's location; no row is read.

    Raises:
        SourceError: there are no data, a server does not answer, or a query's columns are not the declared ones.
    """
    source = table.source
    if source.kind == "python":
        _function(name, source)
        return source.location
    if source.kind != "sql":
        found = _files(name, source)
        return f"{len(found)} {source.kind} file{'s' if len(found) > 1 else ''} at {source.location}"
    columns = describe(name, table)
    for column in table.columns:
        if column not in columns:
            raise SourceError(f"Source '{name}': the query has no column '{column}'; it has {', '.join(columns)}.")
    for column in columns:
        if column not in table.columns:
            raise SourceError(f"Source '{name}': the query's column '{column}' is not declared.")
    return f"{source.url_env} answers with {len(columns)} columns"


def _rebatched(frames: Iterable[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """The same rows in frames of ``rows``: many small files are checked together, a large frame in pieces."""
    import pandas as pd

    waiting: list[pd.DataFrame] = []
    for frame in frames:
        if waiting and list(frame.columns) != list(waiting[0].columns):
            yield pd.concat(waiting, ignore_index=True)
            waiting = []
        waiting.append(frame)
        if sum(map(len, waiting)) >= rows:
            whole = pd.concat(waiting, ignore_index=True) if len(waiting) > 1 else frame
            full = len(whole) // rows * rows
            for start in range(0, full, rows):
                yield whole.iloc[start : start + rows]
            waiting = [whole.iloc[full:]] if full < len(whole) else []
    if waiting:
        yield pd.concat(waiting, ignore_index=True)


def _call(name: str, table: Table) -> Iterator[pd.DataFrame]:
    import pandas as pd

    source = table.source
    found = _function(name, source)(**source.options)
    several = isinstance(found, Iterable) and not isinstance(found, pd.DataFrame | str | bytes | dict)
    for frame in found if several else [found]:
        if not isinstance(frame, pd.DataFrame):
            raise SourceError(
                f"Source '{name}': {source.location} {'yielded' if several else 'returned'} a "
                f"{type(frame).__name__}; expected a DataFrame, or several."
            )
        yield frame


def _function(name: str, source: Source) -> Callable[..., Any]:
    module, _, attribute = source.location.partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SourceError(
            f"Source '{name}': '{source.location}' cannot be imported ({error}); expected module:function."
        ) from None
    if not callable(function):
        raise SourceError(f"Source '{name}': '{source.location}' is not a function.")
    try:
        inspect.signature(function).bind(**source.options)
    except TypeError as error:
        raise SourceError(
            f"Source '{name}': {source.location}{inspect.signature(function)} cannot be called with "
            f"options = {source.options}: {error}."
        ) from None
    return function  # type: ignore[no-any-return]


def _csv(name: str, table: Table) -> Iterator[pd.DataFrame]:
    """Text is read as text ("007" stays) and only its empty cells are null ("NA" is Namibia); integers are exact."""
    import pandas as pd

    texts = [column for column, spec in table.columns.items() if spec.type == "string"]
    exact = [*texts, *(column for column, spec in table.columns.items() if spec.type == "integer")]
    for path in _files(name, table.source):
        with _told(name, f"csv: {path}", "fix the file, or remove it"):
            header = pd.read_csv(path, nrows=0).columns
            reader = pd.read_csv(
                path,
                chunksize=table.source.batch_rows,
                dtype={column: str for column in exact if column in header},
                keep_default_na=False,
                na_values={column: [""] if column in texts else _NULL_TEXTS for column in header},
                low_memory=False,
            )
            with reader:
                empty = True
                for frame in reader:
                    empty = False
                    yield frame
            if empty:
                yield pd.DataFrame(columns=header)


def _parquet(name: str, table: Table) -> Iterator[pd.DataFrame]:
    """Row groups of each file; a missing declared column may be in a folder's name, ``day=2013-01-01/``."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    for path in _files(name, table.source):
        folders = (part.partition("=") for part in path.parent.parts if "=" in part)
        named = {key: None if value == _HIVE_NULL else unquote(value) for key, _, value in folders}
        with _told(name, f"parquet: {path}", "fix the file, or remove it"), pq.ParquetFile(path) as file:
            named = {key: value for key, value in named.items() if key in table.columns}
            named = {key: value for key, value in named.items() if key not in file.schema_arrow.names}
            found = file.iter_batches(batch_size=table.source.batch_rows) if file.metadata.num_rows else ()
            for batch in found or (file.schema_arrow.empty_table(),):
                rows = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
                index = [column for column in rows.column_names if re.fullmatch(r"__index_level_\d+__", column)]
                rows = rows.drop_columns(index)  # columns that pandas adds for a frame's index
                yield rows.to_pandas(types_mapper=_keep_integers, ignore_metadata=True).assign(**named)


def _keep_integers(kind: Any) -> Any:
    """Integers with gaps stay integers: a float is not exact above 2^53."""
    import pandas as pd
    import pyarrow as pa

    return pd.Int64Dtype() if pa.types.is_integer(kind) and kind != pa.uint64() else None


def _files(name: str, source: Source) -> list[Path]:
    """The files at a source's location, sorted; those hidden by a leading dot or underscore are not data."""
    location = CONFIGS.parent / source.location  # as in doctor, for any working directory
    if location.is_dir():
        found = sorted(location.rglob(f"*.{source.kind}*"))
        found = [path for path in found if not _hidden(path.relative_to(location))]
    else:
        found = sorted(Path(location.anchor).glob(str(location.relative_to(location.anchor))))
    found = [path for path in found if path.is_file()]
    if not found:
        raise SourceError(
            f"Source '{name}': no {source.kind} file at '{source.location}'; expected a file, a folder or a glob. "
            f"Correct source.location in configs/tables/{name}.yaml."
        )
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith((".", "_")) for part in path.parts)
