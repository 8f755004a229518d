"""Simulate card transactions in numpy: nothing here is real, everything follows from a seed.

Cards come in blocks of ``CARDS``, each with a random generator of its own, and shop for one year. So a simulation of
any size is made block by block in bounded memory, and the first rows of a large one are the rows of a small one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta

import numpy as np

from feature_repo.examples.card_behaviour import (
    CARDS,
    DAY,
    DAYS,
    START,
    Cards,
    Floats,
    Ints,
    draw_cards,
    frauds,
    harmless,
    merchants,
)

__all__ = ["Block", "micros", "simulate"]


@dataclass(frozen=True)
class Block:
    """Transactions of a block's cards by card and time, one value each; times in microseconds since 1970.

    ``nth`` counts a card's own from 0. ``country`` is where it was made, the merchant's. ``delay``: seconds from the
    authorisation until it is posted. ``pattern``: index into ``PATTERNS``, 0 for no fraud. ``confirmed``: when it
    became known which.
    """

    cards: Cards
    card: Ints
    nth: Ints
    time: Ints
    merchant: Ints
    country: Ints
    channel: Ints
    amount: Floats
    delay: Ints
    confirmed: Ints
    pattern: Ints

    def __len__(self) -> int:
        return len(self.card)

    def head(self, rows: int) -> Block:
        """The first ``rows`` transactions, and the cards that made them."""
        if rows >= len(self):
            return self
        cards = int(self.card[rows - 1] - self.cards.number[0]) + 1
        parts = {each.name: getattr(self, each.name)[:rows] for each in fields(self) if each.name != "cards"}
        held = {each.name: getattr(self.cards, each.name)[:cards] for each in fields(Cards)}
        return Block(cards=Cards(**held), **parts)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def simulate(rows: int, seed: int) -> Iterator[Block]:
    """Blocks with ``rows`` transactions in all.

    Raises:
        ValueError: ``rows`` is not a whole number from 1 to a billion, or ``seed`` not one from 0.
    """
    for name, value, low in (("rows", rows, 1), ("seed", seed, 0)):
        if type(value) is not int or not low <= value <= 10**9:
            raise ValueError(f"{name} = {value!r}: expected a whole number from {low} to 1,000,000,000")
    return _blocks(rows, seed)


def _blocks(left: int, seed: int) -> Iterator[Block]:
    number = 0
    while left > 0:
        block = _block(seed, number).head(left)
        yield block
        left -= len(block)
        number += 1


def _block(seed: int, number: int) -> Block:
    """All transactions of one block of cards."""
    rng = np.random.default_rng([seed, 1, number])
    shops = merchants(seed)
    cards = draw_cards(rng, number)
    parts = [harmless(rng, cards, shops), frauds(rng, cards, shops)]
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort((columns["time"], columns["who"]))
    order = order[columns["time"][order] < DAYS * DAY]
    who, time, shop = (columns[name][order] for name in ("who", "time", "shop"))
    contactless = rng.random(len(order)) < 0.4
    first = np.searchsorted(who, np.arange(CARDS))
    origin = micros(START)
    return Block(
        cards=cards,
        card=cards.number[who],
        nth=np.arange(len(order)) - first[who],
        time=origin + time * 1_000_000,
        merchant=shop,
        country=shops.country[shop],
        channel=np.where(columns["online"][order], 2, contactless.astype(np.int64)),
        amount=np.round(np.clip(columns["amount"][order], 0.5, 20_000), 2),
        delay=2 + np.clip(rng.lognormal(3.0, 1.0, len(order)), 0, 600).astype(np.int64),
        confirmed=origin + columns["confirmed"][order] * 1_000_000,
        pattern=columns["pattern"][order],
    )
