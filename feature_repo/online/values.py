"""The online store: the latest value of each entity of each feature view, and how far each view was materialized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from configs.errors import HeadraceError
from feature_repo.online.layout import ViewLayout

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KNOWN_UNTIL", "Found", "OnlineError", "OnlineValues", "moment_bytes", "moment_of"]


#: Name under which a view's ``known_until`` is kept among its keys, none of which begins with a null character.
KNOWN_UNTIL = b"\0known_until"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OnlineError(HeadraceError, RuntimeError):
    """The online store could not be reached or cannot hold what it was given; one sentence says which and why."""


@dataclass(frozen=True)
class Found:
    """What one look into the store gave, view by view: encoded values in the order of the keys (None where there is
    none), and the moment that the view was materialized as of (None before it first was)."""

    values: list[list[bytes | None]]
    known_until: list[datetime | None]


class OnlineValues(Protocol):
    """One encoded value per feature view and entity; safe to use from several threads and processes.

    Of two values of one entity the one with the greater (event_timestamp, known_at) stays, whatever the order of
    writing; of two with equal ones the one written last, so that a newly added feature arrives.
    Every method raises :class:`OnlineError` when the store does not answer.
    """

    def write(self, layout: ViewLayout, rows: pa.Table) -> int:
        """Store ``rows`` (join keys, features, ``event_timestamp``, ``known_at``) and return how many entities got one.

        Rows with a null join key are left out: no request can name them. A batch is stored as a whole or not at all
        (SQLite), or in pieces of some thousand rows (Redis); writing it again does no harm.

        Raises:
            OnlineError: a column is missing, or its values do not fit the kind that the layout gives it.
        """

    def read(
        self, layouts: Sequence[ViewLayout], keys: Sequence[Sequence[tuple[Any, ...]]]
    ) -> list[list[bytes | None]]:
        """Encoded values (see ``codec``) for each view's ``keys``, tuples of join key values; one round trip."""

    def look_up(self, layouts: Sequence[ViewLayout], keys: Sequence[Sequence[bytes]]) -> Found:
        """As :meth:`read`, for keys that are encoded already (see ``keys``), with each view's ``known_until``."""

    def written_layouts(self, layout: ViewLayout) -> dict[bytes, tuple[tuple[str, str], ...]]:
        """Features of every layout that values of this view were ever written in, by the id in the values' header."""

    def delete(self, layout: ViewLayout, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; returns how many were there."""

    def matching(self, layout: ViewLayout, join_key: str, value: Any) -> list[tuple[Any, ...]]:
        """Keys of all entities of the view whose ``join_key`` has this value."""

    def count(self, layout: ViewLayout) -> int:
        """How many entities of the view have a value."""

    def known_until(self, layouts: Sequence[ViewLayout]) -> dict[str, datetime | None]:
        """Per view, the moment it was materialized as of."""

    def set_known_until(self, layout: ViewLayout, moment: datetime) -> None:
        """Record the moment that the view was materialized as of; call it after the values were written."""

    def clear(self, layout: ViewLayout) -> int:
        """Remove everything of the view, its ``known_until`` included; returns how many entities were there."""

    def close(self) -> None:
        """Close the connections."""


def moment_bytes(moment: datetime) -> bytes:
    """A moment as the stores keep it: microseconds since 1970; a naive one counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return ((aware - _EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)


def moment_of(kept: bytes | None) -> datetime | None:
    """The moment that :func:`moment_bytes` kept."""
    return None if kept is None else _EPOCH + timedelta(microseconds=int.from_bytes(kept, "big", signed=True))
