"""The online store: the latest value of each entity of each feature view, and how far each view was materialized."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from configs.errors import HeadraceError
from feature_repo.online.entity_keys import encode_key
from feature_repo.online.layout import ViewLayout

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["KNOWN_UNTIL", "Found", "OnlineError", "OnlineValues", "moment_bytes", "moment_of"]


#: Name of a view's ``known_until`` among its keys; no key starts with a null character.
KNOWN_UNTIL = b"\0known_until"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class OnlineError(HeadraceError, RuntimeError):
    """The online store could not be reached or cannot store the values; the message says which and why."""


@dataclass(frozen=True)
class Found:
    """Result of one lookup in the store, per view: encoded values in the order of the keys (None if there is none), and
    the as-of time of the view's materialization (None before the first)."""

    values: list[list[bytes | None]]
    known_until: list[datetime | None]


class OnlineValues(Protocol):
    """One encoded value per feature view and entity; safe to use from several threads and processes.

    Of two values of one entity the one with the greater (event_timestamp, known_at) is kept, for any order of writing;
    if they are equal, the one written last, so that a newly added feature is stored.
    Every method raises :class:`OnlineError` when the store does not answer.
    """

    def write(self, layout: ViewLayout, rows: pa.Table) -> int:
        """Store ``rows`` (join keys, features, ``event_timestamp``, ``known_at``) and return the number of entities.

        Rows with a null join key are left out, because no request can have them. A batch is stored atomically (SQLite),
        or in chunks of some thousand rows (Redis); writing it again has no further effect.

        Raises:
            OnlineError: a column is missing, or its values do not fit its kind in the layout.
        """

    def read(
        self, layouts: Sequence[ViewLayout], keys: Sequence[Sequence[tuple[Any, ...]]]
    ) -> list[list[bytes | None]]:
        """Encoded values (see ``codec``) for each view's ``keys``, tuples of join key values; one round trip."""
        encoded = [[encode_key(key) for key in wanted] for wanted in keys]
        found = self.look_up(layouts, [[key for key in wanted if key is not None] for wanted in encoded]).values
        results = []
        for wanted, values in zip(encoded, found, strict=True):
            rest = iter(values)
            results.append([None if key is None else next(rest) for key in wanted])
        return results

    def look_up(self, layouts: Sequence[ViewLayout], keys: Sequence[Sequence[bytes]]) -> Found:
        """Like :meth:`read`, for keys that are already encoded (see ``keys``), with each view's ``known_until``."""

    def written_layouts(self, layout: ViewLayout) -> dict[bytes, tuple[tuple[str, str], ...]]:
        """Features of every layout of this view's stored values, by the id in the values' header."""

    def delete(self, layout: ViewLayout, keys: Sequence[tuple[Any, ...]]) -> int:
        """Remove entities; returns the number of removed ones."""

    def matching(self, layout: ViewLayout, join_key: str, value: Any) -> list[tuple[Any, ...]]:
        """Keys of all entities of the view whose ``join_key`` has this value."""

    def count(self, layout: ViewLayout) -> int:
        """Number of the view's entities that have a value."""

    def known_until(self, layouts: Sequence[ViewLayout]) -> dict[str, datetime | None]:
        """The as-of time of each view's materialization."""
        moments = self.look_up(layouts, [[] for _ in layouts]).known_until
        return {layout.view: moment for layout, moment in zip(layouts, moments, strict=True)}

    def set_known_until(self, layout: ViewLayout, moment: datetime) -> None:
        """Record the as-of time of the view's materialization; call it after the values were written."""

    def clear(self, layout: ViewLayout) -> int:
        """Remove all data of the view, including its ``known_until``; returns the number of removed entities."""

    def close(self) -> None:
        """Close the connections."""


def moment_bytes(moment: datetime) -> bytes:
    """A time as stored: microseconds since 1970; a naive time counts as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return ((aware - _EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)


def moment_of(kept: bytes | None) -> datetime | None:
    """The time that :func:`moment_bytes` encoded."""
    return None if kept is None else _EPOCH + timedelta(microseconds=int.from_bytes(kept, "big", signed=True))
