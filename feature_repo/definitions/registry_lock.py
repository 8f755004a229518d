"""The write lock of Feast's registry, and a record of the last apply; both are stored in the registry's database.

Feast writes one object after another and uses no lock, so that concurrent writes would mix. Here writers take turns
(:mod:`feature_repo.storage.locks`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from configs.errors import HeadraceError
from feature_repo.storage import locks

__all__ = ["Record", "RegistrationError", "exclusive", "record", "recorded"]

_TABLE = "headrace_applied"


class RegistrationError(HeadraceError, RuntimeError):
    """The registry cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Record:
    """The definitions that were applied last: ``fingerprint`` of their files, and the facts that Feast does not store.

    ``queries``: view → fingerprint of its query; ``code``: on-demand view → fingerprint of its code.
    """

    fingerprint: str
    queries: dict[str, str] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)


@contextmanager
def exclusive(url: str, home: Path) -> Iterator[None]:
    """One writer to the registry at ``url`` at a time in the block. Not reentrant.

    Raises:
        RegistrationError: the registry's server does not answer.
    """
    try:
        with locks.exclusive(url, home, "feast-apply"):
            yield
    except locks.LockError as error:
        raise RegistrationError(
            f"Feast's registry at {error}; `headrace up` creates it, `headrace doctor` finds the cause."
        ) from None


def recorded(url: str) -> Record | None:
    """The last apply to the registry at ``url``; None before the first, and during or after an interrupted one.

    Takes milliseconds, because Feast is not imported.
    """
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        with engine.connect() as connection:
            held = (
                f"SELECT content FROM {_TABLE} WHERE EXISTS (SELECT 1 FROM feature_services)"  # none after a teardown
            )
            found = connection.execute(sqlalchemy.text(held)).scalar()
    except sqlalchemy.exc.SQLAlchemyError:
        return None
    return Record(**json.loads(found)) if found else None


def record(url: str, content: Record | None) -> None:
    """Record what was applied, or with None that no apply is complete: call it in :func:`exclusive` before the first
    object is written and again after the last, so that an interrupted apply is repeated."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE TABLE IF NOT EXISTS {_TABLE} (content TEXT NOT NULL)"))
        connection.execute(sqlalchemy.text(f"DELETE FROM {_TABLE}"))
        if content:
            text = json.dumps(asdict(content))
            connection.execute(sqlalchemy.text(f"INSERT INTO {_TABLE} VALUES (:content)"), {"content": text})
