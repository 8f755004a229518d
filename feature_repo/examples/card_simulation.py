"""Simulate card payments in numpy: shopping patterns and stolen card numbers; all results depend on a seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CARDS",
    "CATEGORIES",
    "CHANNELS",
    "COUNTRIES",
    "Cards",
    "DAYS",
    "DRIFT_AT",
    "Floats",
    "Ints",
    "MERCHANTS",
    "Merchants",
    "PATTERNS",
    "START",
    "draw_cards",
    "frauds",
    "harmless",
    "merchants",
    "Block",
    "micros",
    "simulate",
]

#: Start of the simulated year.
START = datetime(2013, 1, 1, tzinfo=UTC)
DAYS = 365
#: Simulated drift: from this time on all owners spend a quarter more and shop online more often, and half of the
#: compromised cards are first tested with many tiny purchases, a pattern that did not occur before.
DRIFT_AT = datetime(2013, 10, 1, tzinfo=UTC)

COUNTRIES = ("US", "GB", "CA", "MX", "BR")
CHANNELS = ("chip", "contactless", "online")
CATEGORIES = ("grocery", "fuel", "restaurant", "clothing", "travel", "electronics", "digital", "gift_cards")
CARDS = 256  # in a block
MERCHANTS = 1000
PATTERNS = ("none", "burst", "single", "testing")

DAY = 86_400  # seconds
_CATEGORY_SHARE = np.array([0.24, 0.12, 0.2, 0.14, 0.06, 0.09, 0.1, 0.05])
_CATEGORY_AMOUNT = np.array([0.1, 0.1, -0.2, 0.3, 1.1, 0.9, -0.7, 0.3])  # added to the logarithm of the amount
_CATEGORY_RISK = np.array([0.3, 0.4, 0.2, 0.7, 1.5, 3.0, 2.0, 6.0])
_COUNTRY_SHARE = np.array([0.4, 0.2, 0.15, 0.15, 0.1])
_BY_HOUR = np.array([5, 3, 2, 1, 1, 3, 10, 25, 45, 55, 60, 70, 85, 75, 65, 65, 75, 90, 95, 85, 60, 40, 25, 12], float)
_BY_NIGHT = np.array([9, 10, 10, 9, 7, 5, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5, 7], float)
#: Times that a card is compromised in the year; about 0.3 % of all transactions are then fraud.
_COMPROMISED = 0.16
#: An outcome is final after the period for complaints; fraud is reported within it.
_FINAL = 21 * DAY

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cards:
    """A block's cards, one value each; ``issued`` in days since 1970, ``spend`` the mean logarithm of an amount."""

    number: Ints
    country: Ints
    tier: Ints
    limit: Ints
    issued: Ints
    spend: Floats


@dataclass(frozen=True)
class Merchants:
    """All merchants, one value each; ``opened`` in days since 1970, ``risk`` their weight in fraud."""

    country: Ints
    category: Ints
    opened: Ints
    popularity: Floats
    risk: Floats


@cache
def merchants(seed: int) -> Merchants:
    """The merchants of a seed: the same for any number of rows."""
    rng = np.random.default_rng([seed, 0])
    category = rng.choice(len(CATEGORIES), MERCHANTS, p=_CATEGORY_SHARE)
    return Merchants(
        country=rng.choice(len(COUNTRIES), MERCHANTS, p=_COUNTRY_SHARE),
        category=category,
        opened=rng.integers(7305, 15340, MERCHANTS),  # 1990 to 2011
        popularity=1 / (1 + rng.permutation(MERCHANTS)) ** 0.7,
        risk=_CATEGORY_RISK[category] * rng.lognormal(0, 1.2, MERCHANTS),
    )


def draw_cards(rng: np.random.Generator, number: int) -> Cards:
    """The cards of block ``number``."""
    tier = rng.choice(3, CARDS, p=[0.7, 0.2, 0.1])
    return Cards(
        number=number * CARDS + np.arange(CARDS),
        country=rng.choice(len(COUNTRIES), CARDS, p=_COUNTRY_SHARE),
        tier=tier,
        limit=np.array([2000, 5000, 15000])[tier],
        issued=rng.integers(13149, 15340, CARDS),  # 2006 to 2011
        spend=rng.normal(3.1, 0.45, CARDS) + 0.3 * tier,
    )


def harmless(rng: np.random.Generator, cards: Cards, shops: Merchants) -> dict[str, Any]:
    """Purchases of the cards' owners: mostly at favourite merchants, sometimes in sprees, sometimes on a journey."""
    spread = rng.uniform(0.45, 0.85, CARDS)
    online = rng.beta(2, 5, CARDS)
    daily = 0.66 * rng.lognormal(-0.125, 0.5, CARDS)
    favourites = _pick(rng, shops, shops.popularity, np.repeat(cards.country, 12)).reshape(CARDS, 12)
    journey = rng.integers(0, DAYS, (CARDS, 2))
    abroad = rng.choice(len(COUNTRIES), (CARDS, 2), p=_COUNTRY_SHARE)

    who = np.repeat(np.arange(CARDS), rng.poisson(daily * DAYS))
    time = rng.integers(0, DAYS, len(who)) * DAY + _of_day(rng, _BY_HOUR, len(who))
    sprees = np.repeat(np.flatnonzero(rng.random(len(who)) < 0.015), 3)
    who = np.concatenate([who, who[sprees]])
    time = np.concatenate([time, time[sprees] + 20 + rng.exponential(1800, len(sprees)).astype(np.int64)])
    rows = len(who)

    later = time >= (DRIFT_AT - START).total_seconds()
    is_online = rng.random(rows) < np.minimum(online[who] * np.where(later, 1.4, 1.0), 0.95)
    country = cards.country[who]
    for trip in range(2):
        away = (time // DAY >= journey[who, trip]) & (time // DAY < journey[who, trip] + 7)
        country = np.where(away, abroad[who, trip], country)
    anywhere = is_online & (rng.random(rows) < 0.15)
    country = np.where(anywhere, rng.choice(len(COUNTRIES), rows, p=_COUNTRY_SHARE), country)
    usual = (rng.random(rows) < 0.65) & (country == cards.country[who])
    shop = np.where(usual, favourites[who, rng.integers(0, 12, rows)], _pick(rng, shops, shops.popularity, country))
    level = cards.spend[who] + _CATEGORY_AMOUNT[shops.category[shop]] + np.where(later, np.log(1.25), 0.0)
    return {
        "who": who,
        "time": time,
        "shop": shop,
        "online": is_online,
        "amount": np.exp(level + spread[who] * rng.normal(0, 1, rows)),
        "pattern": np.zeros(rows, np.int64),
        "confirmed": time + _FINAL,
    }


def frauds(rng: np.random.Generator, cards: Cards, shops: Merchants) -> dict[str, Any]:
    """Purchases with compromised cards: one campaign each, reported days after its last purchase.

    Burst: 3 to 8 large purchases minutes apart, more often by night. Single: one or two, hours apart. Testing (from
    ``DRIFT_AT`` on): 4 to 9 tiny ones, then a very large one. All patterns prefer risky merchants.
    """
    who = np.repeat(np.arange(CARDS), rng.poisson(_COMPROMISED, CARDS))
    campaigns = len(who)
    start = rng.integers(0, DAYS, campaigns) * DAY
    chance = rng.random(campaigns)
    before = np.where(chance < 0.75, 1, 2)
    after = np.where(chance < 0.35, 1, np.where(chance < 0.5, 2, 3))
    pattern = np.where(start >= (DRIFT_AT - START).total_seconds(), after, before)
    night = (pattern == 1) & (rng.random(campaigns) < 0.6)
    start += np.where(night, _of_day(rng, _BY_NIGHT, campaigns), _of_day(rng, _BY_HOUR, campaigns))
    sizes = [rng.integers(low, high, campaigns) for low, high in ((3, 9), (1, 3), (5, 11))]
    size = np.choose(pattern - 1, sizes)
    foreign = rng.random(campaigns) < 0.5
    country = np.where(foreign, rng.choice(len(COUNTRIES), campaigns, p=_COUNTRY_SHARE), cards.country[who])
    report = np.clip(rng.lognormal(1.6, 0.7, campaigns) * DAY, DAY, _FINAL).astype(np.int64)

    of = np.repeat(np.arange(campaigns), size)
    rows = len(of)
    first = np.cumsum(size) - size
    step = np.arange(rows) - first[of]
    waits = 30 + rng.exponential(np.array([360, 5000, 150])[pattern[of] - 1]).astype(np.int64)
    waited = np.cumsum(np.where(step == 0, 0, waits))
    time = start[of] + waited - waited[first[of]]
    shop = _pick(rng, shops, shops.risk, country[of])
    tiny = (pattern[of] == 3) & (step < size[of] - 1)
    lift = np.where(pattern[of] == 3, 1.8, 0.9)
    level = cards.spend[who[of]] + _CATEGORY_AMOUNT[shops.category[shop]] + lift
    amount = np.exp(level + 0.8 * rng.normal(0, 1, rows))
    return {
        "who": who[of],
        "time": time,
        "shop": shop,
        "online": rng.random(rows) < np.where(tiny, 0.95, 0.6),
        "amount": np.where(tiny, rng.uniform(0.5, 4, rows), amount),
        "pattern": pattern[of],
        "confirmed": np.minimum(time[first + size - 1][of] + report[of], time + _FINAL),
    }


def _of_day(rng: np.random.Generator, weights: Floats, rows: int) -> Ints:
    """Seconds of the day, drawn with the hours' weights."""
    return rng.choice(24, rows, p=weights / weights.sum()) * 3600 + rng.integers(0, 3600, rows)


def _pick(rng: np.random.Generator, shops: Merchants, weight: Floats, country: Ints) -> Ints:
    """One merchant in each ``country``, drawn with ``weight``."""
    chance, found = rng.random(len(country)), np.zeros(len(country), np.int64)
    for place in range(len(COUNTRIES)):
        there, rows = np.flatnonzero(shops.country == place), country == place
        reach = np.cumsum(weight[there])
        found[rows] = there[np.searchsorted(reach / reach[-1], chance[rows], side="right")]
    return found


@dataclass(frozen=True)
class Block:
    """Transactions of a block's cards by card and time, one value each; times in microseconds since 1970.

    ``nth`` counts a card's transactions from 0. ``country`` is the merchant's country. ``delay``: seconds from the
    authorisation to the posting. ``pattern``: index into ``PATTERNS``, 0 for no fraud. ``confirmed``: when the
    outcome became known.
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
        """The first ``rows`` transactions, and their cards."""
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
    """Blocks with ``rows`` transactions in total.

    Raises:
        ValueError: ``rows`` is not a whole number from 1 to a billion, or ``seed`` is not one of at least 0.
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
