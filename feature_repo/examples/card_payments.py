"""The simulated example: a year of card payments as raw tables, of any size, from a seed; late and corrected rows
appear at known times."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feature_repo.examples import card_simulation as behaviour
from feature_repo.examples.card_simulation import DRIFT_AT, START, Block, micros, simulate

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "CORRECTED_AT",
    "MISPOSTED_FROM",
    "MISPOSTED_UNTIL",
    "OUTAGE_COUNTRY",
    "OUTAGE_DELAY",
    "OUTAGE_FROM",
    "OUTAGE_UNTIL",
    "RECODED_AT",
    "OF_BLOCK",
    "merchant_table",
    "simulated",
    "DRIFT_AT",
    "ROWS",
    "SEED",
    "START",
    "authorizations",
    "cards",
    "fingerprint",
    "labels",
    "merchants",
    "transactions",
    "write",
]

#: Simulated late rows: purchases in this country within these 24 hours were posted two days late.
OUTAGE_COUNTRY = "CA"
OUTAGE_FROM = datetime(2013, 3, 5, 6, tzinfo=UTC)
OUTAGE_UNTIL = datetime(2013, 3, 6, 6, tzinfo=UTC)
OUTAGE_DELAY = timedelta(days=2)
#: Simulated corrections: one merchant in ten posted ten times the amount in these four days; a second row of each such
#: transaction, with the right amount, became known at ``CORRECTED_AT``.
MISPOSTED_FROM = datetime(2013, 3, 11, tzinfo=UTC)
MISPOSTED_UNTIL = datetime(2013, 3, 15, tzinfo=UTC)
CORRECTED_AT = datetime(2013, 3, 18, 9, tzinfo=UTC)
#: Simulated correction of attributes: every twentieth merchant was listed as a grocery until this time.
RECODED_AT = datetime(2013, 3, 14, 12, tzinfo=UTC)

_TIME = pa.timestamp("us", tz="UTC")


def simulated(table: str, rows: int, seed: int) -> Iterator[pa.Table]:
    """The rows of one table, block by block; each block fits in 100 MB for any ``rows``."""
    blocks = simulate(rows, seed)
    if table == "card_merchants":
        yield merchant_table(seed)
        return
    for block in blocks:
        yield OF_BLOCK[table](block)


def _authorizations(block: Block) -> pa.Table:
    return pa.table(
        {
            **_keys(block),
            "country": _named(behaviour.COUNTRIES, block.country),
            "channel": _named(behaviour.CHANNELS, block.channel),
            "amount": block.amount,
            "authorized_at": pa.array(block.time, _TIME),
        }
    )


def _transactions(block: Block) -> pa.Table:
    stuck = (block.country == behaviour.COUNTRIES.index(OUTAGE_COUNTRY)) & _within(block, OUTAGE_FROM, OUTAGE_UNTIL)
    known_at = block.time + block.delay * 1_000_000 + stuck * (OUTAGE_DELAY // timedelta(microseconds=1))
    wrong = (block.merchant % 10 == 3) & _within(block, MISPOSTED_FROM, MISPOSTED_UNTIL)
    posted = pa.table(
        {
            **_keys(block),
            "country": _named(behaviour.COUNTRIES, block.country),
            "amount": np.where(wrong, np.round(block.amount * 10, 2), block.amount),
            "authorized_at": pa.array(block.time, _TIME),
            "known_at": pa.array(known_at, _TIME),
        }
    )
    corrected = posted.filter(pa.array(wrong))
    corrected = corrected.set_column(corrected.column_names.index("amount"), "amount", [block.amount[wrong]])
    moment = pa.array(np.full(len(corrected), micros(CORRECTED_AT)), _TIME)
    return pa.concat_tables([posted, corrected.set_column(posted.column_names.index("known_at"), "known_at", moment)])


def _labels(block: Block) -> pa.Table:
    return pa.table(
        {**_keys(block), "fraud": block.pattern > 0, "known_at": pa.array(block.confirmed, _TIME)},
    )


def _cards(block: Block) -> pa.Table:
    held = block.cards
    return pa.table(
        {
            "card_id": _ids("C", held.number, 7),
            "home_country": _named(behaviour.COUNTRIES, held.country),
            "tier": _named(("standard", "gold", "platinum"), held.tier),
            "spending_limit": held.limit.astype(float),
            "issued_at": _days(held.issued),
        }
    )


#: Table → its rows of one block of cards.
OF_BLOCK = {
    "card_authorizations": _authorizations,
    "card_transactions": _transactions,
    "card_labels": _labels,
    "cards": _cards,
}


def merchant_table(seed: int) -> pa.Table:
    """The merchants; each merchant with a corrected category has a second row, known later."""
    shops = behaviour.merchants(seed)
    number = np.arange(behaviour.MERCHANTS)
    wrong = number % 20 == 7
    rows = np.concatenate([number, number[wrong]])  # the corrections come last
    again = np.arange(len(rows)) >= len(number)
    category = np.where(wrong[rows] & ~again, behaviour.CATEGORIES.index("grocery"), shops.category[rows])
    known_at = np.where(again, micros(RECODED_AT), shops.opened[rows] * behaviour.DAY * 1_000_000)
    return pa.table(
        {
            "merchant_id": _ids("M", rows, 4),
            "country": _named(behaviour.COUNTRIES, shops.country[rows]),
            "category": _named(behaviour.CATEGORIES, category),
            "opened_at": _days(shops.opened[rows]),
            "known_at": pa.array(known_at, _TIME),
        }
    )


def _keys(block: Block) -> dict[str, pa.Array]:
    return {
        "transaction_id": _ids("T", block.card * 100_000 + block.nth, 12),
        "card_id": _ids("C", block.card, 7),
        "merchant_id": _ids("M", block.merchant, 4),
    }


def _within(block: Block, start: datetime, end: datetime) -> np.ndarray:
    return (block.time >= micros(start)) & (block.time < micros(end))


def _ids(letter: str, numbers: np.ndarray, digits: int) -> pa.Array:
    texts = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), digits, "0")
    return pc.binary_join_element_wise(letter, texts, "")


def _named(names: tuple[str, ...], index: np.ndarray) -> pa.Array:
    return pa.array(names).take(pa.array(index))


def _days(days: np.ndarray) -> pa.Array:
    return pa.array(days * behaviour.DAY * 1_000_000, _TIME)


#: Default number of transactions and seed, if a table's ``options`` have none.
ROWS, SEED = 200_000, 7


def authorizations(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """The requests: one row per transaction, by card and time, known immediately. A higher ``rows`` appends rows."""
    return _frames("card_authorizations", rows, seed)


def transactions(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """The postings: one row per transaction, and one more for each corrected one, known at its ``known_at``."""
    return _frames("card_transactions", rows, seed)


def labels(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """Whether each transaction was fraud: reported after 1 to 21 days; a negative outcome is known after 21."""
    return _frames("card_labels", rows, seed)


def cards(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """The cards of the first ``rows`` transactions."""
    return _frames("cards", rows, seed)


def merchants(rows: int = ROWS, seed: int = SEED) -> Iterator[pd.DataFrame]:
    """All merchants, for any ``rows``; a corrected one has a second row with the same ``opened_at``."""
    return _frames("card_merchants", rows, seed)


def fingerprint() -> str:
    """Fingerprint of the simulation's code, which determines a table's rows together with its options."""
    return "".join(
        Path(__file__).with_name(name).read_text(encoding="utf-8")
        for name in ("card_simulation.py", "card_payments.py")
    )


def write(folder: Path, rows: int, seed: int = SEED, file_rows: int = 1_000_000) -> dict[str, int]:
    """Write all tables as ``folder/<table>/part-<number>.parquet``; returns the number of rows of each.

    A file is closed when it has ``file_rows`` rows, so memory does not grow with ``rows``.

    Raises:
        ValueError: an invalid number of rows or seed; nothing is written then.
        FileExistsError: a table's folder contains files already.
    """
    blocks = simulate(rows, seed)
    tables = [*OF_BLOCK, "card_merchants"]
    for table in tables:
        (folder / table).mkdir(parents=True, exist_ok=True)
        if any((folder / table).iterdir()):
            raise FileExistsError(f"{folder / table} contains files already; choose an empty folder.")
    files = {table: _Files(folder / table, file_rows) for table in tables}
    files["card_merchants"].add(merchant_table(seed))
    for block in blocks:
        for table, of_block in OF_BLOCK.items():
            files[table].add(of_block(block))
    return {table: each.close() for table, each in files.items()}


class _Files:
    """Parquet files of one folder, written one by one."""

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
