"""Who may write to Feast's registry now, and what was written last: both are kept in the registry's own database.

Feast writes one object after another and takes no lock, so that two writers mix. Here they take turns: by a lock file
where the registry is a SQLite file under home, by a lock of the server where it is PostgreSQL, which holds for every
machine and every home. Either falls with the process that holds it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from feature_repo.files import locked

__all__ = ["Record", "RegistrationError", "exclusive", "record", "recorded"]

#: Of the PostgreSQL advisory lock; any constant that nothing else in the registry's database uses.
_LOCK = 0x4845414452414345

_TABLE = "headrace_applied"


class RegistrationError(RuntimeError):
    """The registry cannot be used; one sentence."""


@dataclass(frozen=True)
class Record:
    """The definitions that were applied last: ``fingerprint`` of their files, and what Feast does not keep of them.

    ``queries``: view → fingerprint of its query; ``code``: on-demand view → fingerprint of its code.
    """

    fingerprint: str
    queries: dict[str, str] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)


@contextmanager
def exclusive(url: str, home: Path) -> Iterator[None]:
    """One writer to the registry at ``url`` at a time in the block. Not reentrant.

    Raises:
        RegistrationError: the server that keeps the registry does not answer.
    """
    if not url.startswith("postgresql"):
        with locked(home, "feast-apply"):
            yield
        return
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    try:
        connection = engine.connect()
    except sqlalchemy.exc.OperationalError as error:
        raise _unreachable(engine.url, error) from None
    # of a transaction, not of a session: so it also holds behind a pool that lends a session per transaction
    with connection, connection.begin():
        connection.execute(sqlalchemy.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
        yield


def recorded(url: str) -> Record | None:
    """What was applied last to the registry at ``url``; None before the first time, and while or after one was cut off.

    Costs milliseconds, as Feast is not imported.
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
    """Write down what was applied, or with None that nothing whole is: call it so in :func:`exclusive` before the first
    object is written and again after the last, so that an apply that is cut off is repeated."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE TABLE IF NOT EXISTS {_TABLE} (content TEXT NOT NULL)"))
        connection.execute(sqlalchemy.text(f"DELETE FROM {_TABLE}"))
        if content:
            text = json.dumps(asdict(content))
            connection.execute(sqlalchemy.text(f"INSERT INTO {_TABLE} VALUES (:content)"), {"content": text})


def _unreachable(url: object, error: Exception) -> RegistrationError:
    reason = " ".join(str(getattr(error, "orig", error)).split())
    return RegistrationError(
        f"Feast's registry at {url} cannot be reached ({reason}); `headrace up` makes it, `headrace doctor` looks why."
    )
