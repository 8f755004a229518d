"""The rule of point-in-time retrieval, on arrays: the row of a history that is valid for an entity at a time.

A row is visible at *t* if its event time and its known-at time are both at or before *t*. Of the visible rows the one
with the latest event time is valid; of equal ones the one with the latest known-at time, then the last in the history.

A history is indexed once: rows are ranked by (event, known, position), then sorted per entity by the time when they
become visible, ``max(event, known)``. The running maximum of the ranks over an entity's times is the valid row from
each time on, so a late row never replaces a newer one. A lookup is then one binary search per request, on a single
integer that combines the entity and the number of rows visible by then. The result is exact: times are integers, and
nothing is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Integers", "Timeline", "grouped", "timeline"]

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """A history indexed for lookups.

    ``moments``: when a row becomes visible, ascending, over all entities. ``slots``: entity and position in ``moments``
    in one integer, ascending. ``counting``: row of the history that is valid from that slot on.
    """

    moments: Integers
    slots: Integers
    counting: Integers

    def visible(self, at: Integers) -> Integers:
        """Number of rows visible at each time; ``at`` must be ascending, because other orders take much longer."""
        return np.searchsorted(self.moments, at, side="right")

    def rows(self, entities: Integers, visible: Integers) -> Integers:
        """The valid row of the history for an entity among the first ``visible`` rows; -1 if there is none.

        The input is ordered by entity, then time, for the same reason.
        """
        if not len(self.slots):
            return np.full(len(entities), -1, np.int64)
        bits = _bits(len(self.moments))
        place = np.searchsorted(self.slots, (entities << bits) + visible, side="left") - 1
        found = (place >= 0) & (self.slots[place] >> bits == entities)
        return np.where(found, self.counting[place], -1)


def timeline(entities: Integers, event: Integers, known: Integers) -> Timeline:
    """Index a history: entity (numbers from 0), event time and known-at time of each row, times in one unit."""
    count = len(event)
    bits = _bits(count)
    ranked = None if _ordered(event, known) else np.lexsort((known, event))
    if ranked is not None:
        entities, event, known = entities[ranked], event[ranked], known[ranked]
    moments = np.maximum(event, known)
    late = bool(np.any(moments[1:] < moments[:-1]))
    rank = None
    if late:
        rank = np.argsort(moments, kind="stable")
        entities, moments = entities[rank], moments[rank]
    slots = np.sort((entities << bits) + np.arange(count))
    counting = slots & ((1 << bits) - 1)
    if rank is not None:
        first = slots - counting  # the entity, in the upper bits
        counting = np.maximum.accumulate(first + rank[counting]) - first
    return Timeline(moments, slots, counting if ranked is None else ranked[counting])


def grouped(entities: Integers) -> Integers:
    """Positions of the non-negative entries of ``entities``, sorted by entity; the order within an entity is kept."""
    bits = _bits(len(entities))
    known = np.flatnonzero(entities >= 0)
    return np.sort((entities[known] << bits) + known) & ((1 << bits) - 1)


def _ordered(event: Integers, known: Integers) -> bool:
    """Whether the rows are already sorted by (event, known), as in the files of a view."""
    later, same = event[1:] > event[:-1], event[1:] == event[:-1]
    return bool(np.all(later | (same & (known[1:] >= known[:-1]))))


def _bits(count: int) -> int:
    """Number of low bits for a number of rows from 0 to ``count``."""
    return int(count).bit_length()
