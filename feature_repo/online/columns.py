"""The columns of one read from the online store, in one block of values per dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from feature_repo.online.codec import Codec, codec, microseconds
from feature_repo.online.layout import ViewLayout
from feature_repo.online.pandas_private import frame_of
from feature_repo.online.service import Service
from feature_repo.transforms.age import age_hours

__all__ = ["NAT", "Arrangement", "Columns", "Stored"]

#: NaT as an integer.
NAT = np.iinfo(np.int64).min
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Columns:
    """The blocks of one read: float64 (numbers, whole numbers and booleans), text or None, microseconds or NAT."""

    matrix: _Array
    texts: _Array
    times: _Array


@dataclass(frozen=True)
class Stored:
    """One stored view: the columns of the blocks for its features. ``span`` are its columns of the matrix, of which
    ``number_span`` has those ``numbers`` of the codec and ``age`` is that of the row's age, if the service has it; the
    others are written one by one."""

    layout: ViewLayout
    codec: Codec
    span: slice
    number_span: slice
    numbers: slice | list[int]
    integers: list[tuple[str, int]]
    flags: list[tuple[str, int]]
    texts: list[tuple[str, int]]
    times: list[tuple[str, int]]
    age: int | None

    def fill(
        self, values: list[bytes | None], inverse: _Array | None, asked_at: _Array, columns: Columns, events: _Array
    ) -> None:
        """Decode ``values``, all of this layout, into their columns, and the event times into ``events``.

        ``inverse`` has for each row the position of its value, -1 for none; None means one value per row.
        ``asked_at`` has the time of each row, microseconds or NAT, for the age.
        """
        present = [value for value in values if value is not None]
        if not present:
            return
        fixed = self.codec.fixed(present)
        rows: Any = slice(None)
        source: Any = slice(None)
        if inverse is not None or len(present) < len(values):
            at = np.full(len(values) + 1, -1)  # the last entry, at index -1, means "no value"
            at[[place for place, value in enumerate(values) if value is not None]] = np.arange(len(present))
            source = at[: len(values)] if inverse is None else at[inverse]
            rows = np.flatnonzero(source >= 0)
            source = source[rows]
        events[rows] = microseconds(fixed["event"])[source]
        if self.age is not None:
            columns.matrix[:, self.age] = age_hours(asked_at, events)
        if self.number_span.start < self.number_span.stop:
            columns.matrix[rows, self.number_span] = fixed["numbers"][source][:, self.numbers]
        for name, column in self.integers:
            whole = fixed["integers"][:, self.codec.integers.index(name)]
            columns.matrix[rows, column] = np.where(self.codec.nulls(fixed, name), np.nan, whole)[source]
        for name, column in self.flags:
            flags = fixed["flags"][:, self.codec.flags.index(name)]
            columns.matrix[rows, column] = np.where(self.codec.nulls(fixed, name), np.nan, flags)[source]
        for name, column in self.times:
            whole = fixed["integers"][:, self.codec.integers.index(name)]
            columns.times[rows, column] = np.where(self.codec.nulls(fixed, name), NAT, whole)[source]
        for name, column in self.texts:
            columns.texts[rows, column] = np.array([*self.codec.text(present, fixed, name), None], object)[:-1][source]

    def empty(self, where: _Array, columns: Columns) -> None:
        """Set the view's features to null in the rows where ``where`` is true."""
        columns.matrix[where, self.span] = np.nan
        for _, column in self.texts:
            columns.texts[where, column] = None
        for _, column in self.times:
            columns.times[where, column] = NAT


class Arrangement:
    """The block and column of each feature of a service; each view's numbers are adjacent.

    ``matrix``, ``texts`` and ``times`` map a feature to its column in that block; ``stored`` has the views: first those
    whose features are returned, then those that only on-demand code reads.
    """

    def __init__(self, service: Service) -> None:
        self.matrix: dict[str, int] = {}
        self.texts: dict[str, int] = {}
        self.times: dict[str, int] = {}
        self.stored: list[Stored] = [self._stored(service.views[view], names) for view, names in service.read.items()]
        for each in service.on_demand:
            for name, kind in each.outputs.items():
                block = {"string": self.texts, "other": self.texts, "time": self.times}.get(kind, self.matrix)
                block[name] = len(block)
        self._columns = pd.Index(service.features)
        place = {name: number for number, name in enumerate(service.features)}
        self._shown: list[tuple[slice | list[int], list[int]]] = []
        for block in (self.matrix, self.texts, self.times):
            shown = [name for name in block if name in place]
            taken = slice(None) if len(shown) == len(block) else [block[name] for name in shown]
            self._shown.append((taken, [place[name] for name in shown]))

    def _stored(self, layout: ViewLayout, names: list[str]) -> Stored:
        kinds, own = layout.served, codec(layout.features)
        age = layout.age if layout.age in names else None
        names = [name for name in names if name != age]
        numbers = [name for name in names if kinds[name] == "number"]
        start = len(self.matrix)
        for name in [*numbers, *(name for name in names if kinds[name] in ("integer", "boolean"))]:
            self.matrix[name] = len(self.matrix)
        if age:
            self.matrix[age] = len(self.matrix)
        for name in names:
            if kinds[name] == "string":
                self.texts[name] = len(self.texts)
            elif kinds[name] == "time":
                self.times[name] = len(self.times)
        return Stored(
            layout=layout,
            codec=own,
            span=slice(start, len(self.matrix)),
            number_span=slice(start, start + len(numbers)),
            numbers=slice(None) if numbers == own.numbers else [own.numbers.index(name) for name in numbers],
            integers=[(name, self.matrix[name]) for name in names if kinds[name] == "integer"],
            flags=[(name, self.matrix[name]) for name in names if kinds[name] == "boolean"],
            texts=[(name, self.texts[name]) for name in names if kinds[name] == "string"],
            times=[(name, self.times[name]) for name in names if kinds[name] == "time"],
            age=self.matrix[age] if age else None,
        )

    def columns(self, rows: int) -> Columns:
        """Blocks with only null values."""
        return Columns(
            np.full((rows, len(self.matrix)), np.nan),
            np.full((rows, len(self.texts)), None, object),
            np.full((rows, len(self.times)), NAT, np.int64),
        )

    def frame(self, index: pd.Index, columns: Columns) -> pd.DataFrame:
        """The service's features in their order."""
        (matrix, numbers), (texts, words), (times, moments) = self._shown
        return frame_of(
            self._columns,
            index,
            [
                (columns.matrix[:, matrix], numbers, None),
                (columns.texts[:, texts], words, None),
                (columns.times[:, times], moments, "us"),
            ],
        )
