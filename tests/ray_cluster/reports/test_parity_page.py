"""The parity page stands alone, escapes what it shows, and says 100% only where it is."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ray_cluster.parity.causes import CAUSES
from ray_cluster.reports.parity_page import render_parity, share

TABLE = {"count": 10, "equal": 9, "share": 0.9, "causes": {"late row": 1}}


def result(**more: Any) -> dict[str, Any]:
    example = {
        "prediction_id": "abc",
        "version": 1,
        "as_of": "2013-12-17T00:00:00+00:00",
        "served_at": "2013-12-17T00:00:01+00:00",
        "entities": {"carrier": "<script>alert(1)</script>"},
        "view": "weather",
        "cause": "late row",
        "detail": "The row & more.",
        "known_until": None,
        "served_event_time": None,
        "offline_event_time": "2013-12-16T22:00:00+00:00",
        "offline_known_at": "2013-12-16T22:30:00+00:00",
        "served_expired": False,
        "offline_expired": True,
        "values": {"temp": [None, 41.5]},
    }
    made = {
        "model": "flight_delay",
        "as_of": "2013-12-31T00:00:00+00:00",
        "window": 604800.0,
        "logged": 10,
        "first": "2013-12-29T00:00:00+00:00",
        "last": "2013-12-30T00:00:00+00:00",
        "versions": {"1": 10},
        "rows": 10,
        "rows_equal": 9,
        "values": 10,
        "equal": 9,
        "share": 0.9,
        "causes": {"late row": 1},
        "views": [{"view": "weather", **TABLE}],
        "features": [{"feature": "temp", "view": "weather", **TABLE}],
        "days": [{"day": "2013-12-29", **TABLE}, {"day": "2013-12-30", **TABLE}],
        "examples": [example],
    }
    return made | more


def test_the_page_needs_nothing_else_and_escapes_values() -> None:
    page = render_parity(result(), CAUSES, 0.99)
    assert not re.search(r'(src|href)="(?!#)', page) and "@import" not in page
    assert "<script>alert" not in page and "&lt;script&gt;alert(1)" in page
    assert "below the minimum of 99.00%" in page and CAUSES["late row"].split(",")[0] in page
    assert "<svg" in page and "var(--blue)" in page and "prefers-color-scheme: dark" in page


def test_a_clean_result_says_so() -> None:
    same = {"count": 10, "equal": 10, "share": 1.0, "causes": {}}
    views, features = [{"view": "weather", **same}], [{"feature": "temp", "view": "weather", **same}]
    clean = result(share=1.0, equal=10, rows_equal=10, causes={}, views=views, features=features, examples=[])
    page = render_parity(clean | {"days": [{"day": "2013-12-29", **same}]}, CAUSES, None)
    assert "No value differs." in page and "1 feature is equal in every value" in page and "minimum" not in page


@given(st.integers(1, 10**7), st.data())
def test_a_share_is_never_rounded_up(values: int, data: st.DataObject) -> None:
    equal = data.draw(st.integers(0, values))
    shown = float(share(equal / values).rstrip("%")) / 100
    assert shown <= equal / values + 1e-12 and shown > equal / values - 0.0001 - 1e-12
    assert (share(equal / values) == "100%") == (equal == values)
