"""Features of simulated card payments: recent uses of the card, and the risk of the merchant."""

from __future__ import annotations

from feature_repo.transforms.corrected import corrected
from feature_repo.transforms.rolling import Query, longest, rolling

__all__ = ["QUERIES"]

_POSTED = "(SELECT *, round(amount * 100)::BIGINT AS cents FROM card_transactions)"
_SPREAD = "sqrt(greatest(avg(cents * cents){} - avg(cents){} * avg(cents){}, 0)) / 100"

#: Per view over postings: the join keys, and feature name → aggregate and window.
_WINDOWS: dict[str, tuple[str, dict[str, tuple[str, str]]]] = {
    "card_velocity": (
        "card_id",
        {
            "card_count_1h": ("count(*){}", "1 HOUR"),
            "card_sum_1h": ("sum(cents){} / 100", "1 HOUR"),
            "card_max_1h": ("max(cents){} / 100", "1 HOUR"),
            "card_merchants_1h": ("count(DISTINCT merchant_id){}", "1 HOUR"),
            "card_countries_1h": ("count(DISTINCT country){}", "1 HOUR"),
        },
    ),
    "card_spending": (
        "card_id",
        {
            "card_count_1d": ("count(*){}", "1 DAY"),
            "card_sum_1d": ("sum(cents){} / 100", "1 DAY"),
            "card_max_1d": ("max(cents){} / 100", "1 DAY"),
            "card_count_7d": ("count(*){}", "7 DAYS"),
            "card_sum_7d": ("sum(cents){} / 100", "7 DAYS"),
            "card_mean_7d": ("avg(cents){} / 100", "7 DAYS"),
            "card_max_7d": ("max(cents){} / 100", "7 DAYS"),
        },
    ),
    "card_habits": (
        "card_id",
        {
            "card_count_28d": ("count(*){}", "28 DAYS"),
            "card_mean_28d": ("avg(cents){} / 100", "28 DAYS"),
            "card_spread_28d": (_SPREAD, "28 DAYS"),
            "card_max_28d": ("max(cents){} / 100", "28 DAYS"),
            "card_countries_28d": ("count(DISTINCT country){}", "28 DAYS"),
        },
    ),
    "card_country": ("card_id, country", {"card_country_count_28d": ("count(*){}", "28 DAYS")}),
}

#: Smoothing for merchants with few labels: this many labels with this average rate of fraud are added.
_ADDED, _RATE = 50, 0.003
_REPORTED = {
    f"{what}_{days}d": (aggregate, f"{days} DAYS")
    for days in (28, 90)
    for what, aggregate in (("frauds", "sum(fraud::DOUBLE)"), ("labels", "count(*)"))
}
_MERCHANT_RISK = f"""SELECT merchant_id, event_timestamp, known_at,
         (frauds_28d + {_ADDED * _RATE}) / (labels_28d + {_ADDED}) AS merchant_fraud_rate_28d,
         (frauds_90d + {_ADDED * _RATE}) / (labels_90d + {_ADDED}) AS merchant_fraud_rate_90d,
         labels_90d AS merchant_labels_90d
       FROM ({rolling("card_labels", "merchant_id", _REPORTED, tie="transaction_id")})"""

_MERCHANTS = """SELECT merchant_id, opened_at AS event_timestamp, known_at, category AS merchant_category,
         year(opened_at)::DOUBLE AS merchant_opened_year
       FROM card_merchants"""

_CARDS = """SELECT card_id, issued_at AS event_timestamp, issued_at AS known_at, home_country AS card_home_country,
         tier AS card_tier, spending_limit AS card_limit, year(issued_at)::DOUBLE AS card_issued_year
       FROM cards"""

QUERIES: dict[str, Query] = {
    **{
        view: Query(
            ("card_transactions",),
            corrected(_POSTED, "transaction_id", keys, "authorized_at", features),
            lookback=longest(features),  # the table's ``day`` is the day when a posting became known
        )
        for view, (keys, features) in _WINDOWS.items()
    },
    "merchant_risk": Query(("card_labels",), _MERCHANT_RISK, lookback=longest(_REPORTED)),
    "merchant_attributes": Query(("card_merchants",), _MERCHANTS),
    "card_attributes": Query(("cards",), _CARDS),
}
