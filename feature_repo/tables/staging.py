"""Checked batches of an ingest in progress, on disk until the whole table is accepted.

``tables/<name>/staging/`` has, per batch, its valid rows, its refused rows and, written last, a record of both. After
a kill, an ingest of a source with a cursor continues after the complete batches; any other starts again.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.table import Table
from feature_repo.storage.files import read_json, write_json
from feature_repo.tables.conditions import arrow_type

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from feature_repo.tables.quality import Checked

__all__ = ["ORDER", "Batch", "Mark", "Staging", "behind", "rows_schema"]

#: A row's position among all rows of the ingest, kept with it until it is stored.
ORDER = "__order"

#: A value of a cursor column in JSON; times are ISO texts in UTC.
Mark = str | int | float


@dataclass(frozen=True)
class Batch:
    """The record of one batch. ``low`` and ``high``: its least and greatest cursor; ``gaps``: rows without one."""

    number: int
    valid: int
    refused: int
    erased: int
    cleaned: dict[str, int] = field(default_factory=dict)
    low: Mark | None = None
    high: Mark | None = None
    gaps: int = 0


def rows_schema(spec: Table) -> pa.Schema:
    """The Arrow schema of a table's stored rows, in declared order."""
    import pyarrow as pa

    return pa.schema([(name, arrow_type(column.type)) for name, column in spec.columns.items()])


class Staging:
    """The batches of one ingest, each complete or absent.

    Args:
        folder: the table's folder; the batches are in ``staging`` below it.
        plan: identifies the source and the content that it extends; batches of another plan are deleted.
    """

    def __init__(self, folder: Path, spec: Table, plan: str) -> None:
        self.folder = folder / "staging"
        self.spec = spec
        self.batches: list[Batch] = []
        if spec.source.cursor and read_json(self.folder / "plan.json") == plan:
            self.batches = self._resumable()
        else:
            self.clear()
            write_json(self.folder / "plan.json", plan)

    @property
    def reached(self) -> Mark | None:
        """The greatest cursor value with all rows staged, or None before the first batch."""
        highs = [batch.high for batch in self.batches if batch.high is not None]
        return highs[-1] if highs else None

    def add(self, checked: Checked, erased: int, cleaned: dict[str, int], cursor: pd.Series[Any] | None) -> None:
        """Store one batch; ``cursor`` is that column of all its rows, in ascending order."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        number = self.batches[-1].number + 1 if self.batches else 0
        start = number << 32
        valid = pa.Table.from_pandas(checked.valid, schema=rows_schema(self.spec), preserve_index=False)
        places = pa.array(checked.valid.index.to_numpy(dtype="int64") + start)
        self.folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(valid.append_column(ORDER, places), self._path(number, "valid"), compression="lz4")
        if len(checked.refused):
            texts = {name: _texts(checked.refused[name]) for name in [*self.spec.columns, "reason"]}
            texts[ORDER] = pa.array(checked.refused.index.to_numpy(dtype="int64") + start)
            pq.write_table(pa.table(texts), self._path(number, "refused"), compression="lz4")
        known = cursor.dropna() if cursor is not None else None
        batch = Batch(
            number=number,
            valid=len(checked.valid),
            refused=len(checked.refused),
            erased=erased,
            cleaned=cleaned,
            low=_plain(known.iloc[0]) if known is not None and len(known) else None,
            high=_plain(known.iloc[-1]) if known is not None and len(known) else None,
            gaps=len(cursor) - len(known) if cursor is not None and known is not None else 0,
        )
        write_json(self._path(number, "record"), asdict(batch))
        self.batches.append(batch)

    def files(self, part: str) -> list[Path]:
        """Paths of the ``valid`` or ``refused`` parts of all batches."""
        return [path for batch in self.batches if (path := self._path(batch.number, part)).exists()]

    def cleaned(self) -> dict[str, int]:
        """Rule → number of changed values, over all batches."""
        total: dict[str, int] = {}
        for batch in self.batches:
            for rule, count in batch.cleaned.items():
                total[rule] = total.get(rule, 0) + count
        return total

    def clear(self) -> None:
        """Delete all batches."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.batches = []

    def _path(self, number: int, part: str) -> Path:
        return self.folder / f"{number:06d}.{part}{'.json' if part == 'record' else '.parquet'}"

    def _resumable(self) -> list[Batch]:
        """The complete batches after which reading can continue; later batches are removed.

        Reading continues after their greatest cursor. So that no row is missed, a batch is not kept if its rows may
        continue in the next one (the same cursor in both), if it has rows without a cursor, or if rows may still have
        been committed into its range: within ``overlap`` of the last batch, and the last batch itself.
        """
        found: list[Batch] = []
        while content := read_json(self._path(len(found), "record")):
            found.append(Batch(**content))
        keep: list[Batch] = []
        if found and found[-1].high is not None:
            settled = behind(found[-1].high, self.spec)
            for batch, after in pairwise(found):
                if batch.gaps or batch.high is None or after.low is None:
                    break
                if not batch.high < settled:  # type: ignore[operator]
                    break
                if batch.high < after.low:  # type: ignore[operator]
                    keep = found[: batch.number + 1]
        for path in self.folder.iterdir():
            if path.name != "plan.json" and path.name.split(".")[0] not in {f"{batch.number:06d}" for batch in keep}:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return keep


def behind(mark: Mark, spec: Table) -> Mark:
    """``mark`` minus the source's ``overlap``: rows before it no longer change."""
    overlap = spec.source.overlap
    if isinstance(overlap, timedelta):
        return (datetime.fromisoformat(str(mark)) - overlap).isoformat(timespec="microseconds")
    if isinstance(mark, str):
        return mark
    return mark - (int(overlap) if isinstance(mark, int) else overlap)


def _plain(value: Any) -> Mark:
    if hasattr(value, "isoformat"):
        return str(value.isoformat(timespec="microseconds"))
    return value.item() if hasattr(value, "item") else value  # type: ignore[no-any-return]


def _texts(values: pd.Series[Any]) -> Any:
    import pandas as pd
    import pyarrow as pa

    return pa.array(
        [None if missing else str(value) for value, missing in zip(values, pd.isna(values), strict=True)], pa.string()
    )
