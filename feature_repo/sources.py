"""Read raw tables from where teams keep them: CSV, Parquet, a SQL query, or a Python function."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import CONFIGS, Source

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SourceError", "read", "source_fingerprint"]


class SourceError(ValueError):
    """A source that cannot be read; one sentence with what was looked for and how to mend it."""


def read(name: str, source: Source) -> pd.DataFrame:
    """Read one raw table whole.

    Raises:
        SourceError: nothing at the location, an unreadable file, a failing query or function.
    """
    import pandas as pd

    try:
        if source.kind == "python":
            frame = _function(name, source)()
            if not isinstance(frame, pd.DataFrame):
                raise SourceError(
                    f"Source '{name}': {source.location} returned a {type(frame).__name__}; expected a DataFrame."
                )
            return frame
        if source.kind == "sql":
            return _query(name, source)
        reader: Callable[..., pd.DataFrame] = pd.read_csv if source.kind == "csv" else pd.read_parquet
        return pd.concat([reader(path) for path in _files(name, source)], ignore_index=True)
    except SourceError:
        raise
    except Exception as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise SourceError(f"Source '{name}' ({source.kind}: {source.location}) could not be read: {first}.") from error


def source_fingerprint(name: str, source: Source) -> str | None:
    """Identify the source's present content without reading it, or None where that cannot be known.

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


def _function(name: str, source: Source) -> Callable[[], Any]:
    module, _, attribute = source.location.partition(":")
    try:
        function = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise SourceError(
            f"Source '{name}': '{source.location}' cannot be imported ({error}); expected module:function."
        ) from None
    if not callable(function):
        raise SourceError(f"Source '{name}': '{source.location}' is not a function.")
    return function  # type: ignore[no-any-return]


def _files(name: str, source: Source) -> list[Path]:
    location = CONFIGS.parent / source.location  # as doctor looks for it, whatever the working directory
    if location.is_dir():
        found = sorted(location.rglob(f"*.{source.kind}*"))
    else:
        found = sorted(Path(location.anchor).glob(str(location.relative_to(location.anchor))))
    if not found:
        raise SourceError(
            f"Source '{name}': no {source.kind} file at '{source.location}'; expected a file, a folder or a glob."
        )
    return found


def _query(name: str, source: Source) -> pd.DataFrame:
    import pandas as pd
    import sqlalchemy

    url = os.environ.get(source.url_env or "")
    if not url:
        raise SourceError(
            f"Source '{name}': set the environment variable {source.url_env or '(url_env is missing in the settings)'} "
            "to the database's SQLAlchemy URL, such as postgresql+psycopg://user:password@host:5432/name."
        )
    engine = sqlalchemy.create_engine(url)
    try:
        with engine.connect() as connection:
            return pd.read_sql_query(sqlalchemy.text(source.location), connection)
    finally:
        engine.dispose()
