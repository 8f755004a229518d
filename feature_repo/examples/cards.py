"""The simulated example: a year of card payments as raw tables, of any size, from a seed. Nothing in it is real.

A payment is told in three steps, each known later than the one before: the authorisation at once
(:func:`authorizations`, what a model scores), the posting seconds to minutes later (:func:`transactions`, what
features are made of) and whether it was fraud, days to weeks later (:func:`labels`).

Planted, at the times of the constants below, so that whoever reads the tables can be held to them: postings that
arrive two days late, postings corrected long after, merchants corrected without a new event time, and, from
``DRIFT_AT`` on, other amounts and another kind of fraud.

The functions yield frames, a block of cards each, so that memory does not grow with the number of rows.
``python -m feature_repo.examples.cards --rows 5000000 --out DIR`` writes the tables as Parquet folders.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from feature_repo.examples.card_behaviour import DRIFT_AT, START
from feature_repo.examples.card_simulation import simulate
from feature_repo.examples.card_tables import (
    CORRECTED_AT,
    MISPOSTED_FROM,
    MISPOSTED_UNTIL,
    OF_BLOCK,
    OUTAGE_COUNTRY,
    OUTAGE_DELAY,
    OUTAGE_FROM,
    OUTAGE_UNTIL,
    RECODED_AT,
    merchant_table,
    simulated,
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CORRECTED_AT",
    "DRIFT_AT",
    "MISPOSTED_FROM",
    "MISPOSTED_UNTIL",
    "OUTAGE_COUNTRY",
    "OUTAGE_DELAY",
    "OUTAGE_FROM",
    "OUTAGE_UNTIL",
    "RECODED_AT",
    "ROWS",
    "SEED",
    "START",
    "authorizations",
    "cards",
    "fingerprint",
    "labels",
    "merchants",
    "simulated",
    "transactions",
    "write",
]

#: Transactions and seed where a table's ``options`` give none.
ROWS, SEED = 200_000, 7


def authorizations(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """The requests: one row per transaction, by card and time, known at once. More ``rows`` only add at the end."""
    return _frames("card_authorizations", rows, seed)


def transactions(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """The postings: one row per transaction, and one more for each that was corrected, known at its ``known_at``."""
    return _frames("card_transactions", rows, seed)


def labels(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """Whether each transaction was fraud: reported after 1 to 21 days; that it was none is known after 21."""
    return _frames("card_labels", rows, seed)


def cards(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """The cards that made the first ``rows`` transactions."""
    return _frames("cards", rows, seed)


def merchants(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """All merchants, whatever ``rows`` is; a corrected one has a second row with the same ``opened_at``."""
    return _frames("card_merchants", rows, seed)


def fingerprint() -> str:
    """The simulation's code, which together with a table's options makes its rows."""
    return "".join(
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("card_behaviour.py", "card_simulation.py", "card_tables.py")
    )


def write(folder: Path, rows: int, seed: int = SEED, file_rows: int = 1_000_000) -> dict[str, int]:
    """Write all tables as ``folder/<table>/part-<number>.parquet``; returns the number of rows of each.

    A file is closed once it has ``file_rows`` rows, so memory does not grow with ``rows``.

    Raises:
        ValueError: a number of rows or a seed that cannot be; nothing is written then.
        FileExistsError: a table's folder holds files already.
    """
    blocks = simulate(rows, seed)
    tables = [*OF_BLOCK, "card_merchants"]
    for table in tables:
        (folder / table).mkdir(parents=True, exist_ok=True)
        if any((folder / table).iterdir()):
            raise FileExistsError(f"{folder / table} holds files already; name an empty folder.")
    files = {table: _Files(folder / table, file_rows) for table in tables}
    files["card_merchants"].add(merchant_table(seed))
    for block in blocks:
        for table, of_block in OF_BLOCK.items():
            files[table].add(of_block(block))
    return {table: each.close() for table, each in files.items()}


class _Files:
    """Parquet files of one folder, written one after the other."""

    def __init__(self, folder: Path, file_rows: int) -> None:
        self._folder, self._file_rows = folder, file_rows
        self._writer: pq.ParquetWriter | None = None
        self._rows, self._in_file, self._number = 0, 0, 0

    def add(self, table: pa.Table) -> None:
        if self._writer is None:
            path = self._folder / f"part-{self._number:05d}.parquet"
            self._writer = pq.ParquetWriter(path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._rows += len(table)
        self._in_file += len(table)
        if self._in_file >= self._file_rows:
            self._writer.close()
            self._writer, self._in_file, self._number = None, 0, self._number + 1

    def close(self) -> int:
        if self._writer:
            self._writer.close()
        return self._rows


def _frames(table: str, rows: int, seed: int) -> Iterator[pd.DataFrame]:
    return (part.to_pandas() for part in simulated(table, rows, seed))


def main() -> None:
    """Write the simulated tables as Parquet folders."""
    parser = argparse.ArgumentParser(description="Write simulated card payments as Parquet, one folder per table.")
    parser.add_argument("--rows", type=int, default=ROWS, help="transactions (default %(default)s)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--out", type=Path, required=True, help="an empty folder")
    arguments = parser.parse_args()
    try:
        counts = write(arguments.out, arguments.rows, arguments.seed)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    sys.stdout.writelines(f"{arguments.out / table}: {rows:,} simulated rows\n" for table, rows in counts.items())


if __name__ == "__main__":
    main()
