"""One process at a time, on every machine that shares a database.

If the database is a SQLite file under home, the lock is a file there; if it is PostgreSQL, a lock of the server, which
applies to every machine and every home. Either is released when its process ends.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import HeadraceError
from feature_repo.storage.files import locked

__all__ = ["LockError", "exclusive"]


class LockError(HeadraceError, RuntimeError):
    """The database of the lock does not answer; the message does not contain its password."""


@contextmanager
def exclusive(url: str, home: Path, name: str) -> Iterator[None]:
    """Hold the lock ``name`` of the database at ``url`` in the block. Not reentrant.

    Raises:
        LockError: the server does not answer.
    """
    if not url.startswith("postgresql"):
        with locked(home, name):
            yield
        return
    import sqlalchemy

    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), signed=True)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        connection = engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        reason = " ".join(str(getattr(error, "orig", error)).split())
        raise LockError(f"{engine.url} cannot be reached ({reason})") from None
    # a transaction lock, not a session lock: it also works behind a pool that assigns a session per transaction
    with connection, connection.begin():
        connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})
        yield
