"""Profiles and drift, beside reference implementations and as statistics."""

import json
from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, wasserstein_distance

from feature_repo.tables.stability import stability_index
from ray_cluster.evaluation.column_profile import ColumnProfile, MonitoringError, profile, profile_column
from ray_cluster.monitoring.binning import pool_rare
from ray_cluster.monitoring.drift import column_drift

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # scipy's, on samples of one value

values = st.lists(st.one_of(st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.none()), min_size=2, max_size=60)


def drift(reference: Any, current: Any) -> Any:
    return column_drift("x", profile_column(pd.Series(reference)), pd.Series(current))


def shifted(random: np.random.Generator, n: int, shift: float) -> Any:
    return random.normal(shift, 1, n)


@settings(max_examples=200, deadline=None)
@given(values, values)
def test_small_samples_agree_with_scipy(reference: list[float | None], current: list[float | None]) -> None:
    left, right = (pd.Series(side, dtype=float) for side in (reference, current))
    a, b = left.dropna().to_numpy(), right.dropna().to_numpy()
    found = column_drift("x", profile_column(left), right)
    assert 0 <= found.psi <= found.psi_raw or found.psi == 0
    if not len(a) or not len(b):
        assert found.ks is None and found.wasserstein is None
        return
    assert found.ks == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
    expected = wasserstein_distance(a, b)
    scale = a.std() if a.std() > 0 else 1.0
    assert found.wasserstein == pytest.approx(expected / scale, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("kind", ["normal", "lognormal", "zeros", "counts"])
def test_a_profile_of_many_rows_agrees_with_the_rows(kind: str) -> None:
    random = np.random.default_rng(7)
    draw: Callable[[int, float], Any] = {
        "normal": lambda n, s: random.normal(s, 1, n),
        "lognormal": lambda n, s: random.lognormal(s, 1, n),
        "zeros": lambda n, s: np.where(random.random(n) < 0.6 - s / 2, 0.0, random.exponential(1, n)),
        "counts": lambda n, s: random.poisson(2 + s, n).astype(float),
    }[kind]
    a, b = draw(50_000, 0.0), draw(8_000, 0.3)
    found = drift(a, b)
    assert found.ks == pytest.approx(ks_2samp(a, b).statistic, abs=1e-3)
    assert found.wasserstein == pytest.approx(wasserstein_distance(a, b) / a.std(), rel=0.02, abs=2e-3)


def test_distances_are_those_of_a_hand_calculation() -> None:
    """Every value moves by 2, of a reference with a standard deviation of sqrt(1.25); half of them pass the largest."""
    found = drift([0.0, 1.0, 2.0, 3.0], [2.0, 3.0, 4.0, 5.0, None])
    assert (found.ks, found.wasserstein) == (0.5, pytest.approx(2 / 1.25**0.5))
    constant = drift([4.0, 4.0], [1.0, 1.0])
    assert (constant.ks, constant.wasserstein) == (1.0, 3.0)  # a constant has no unit: in the column's own


def test_psi_is_the_textbook_one_over_the_reference_deciles() -> None:
    random = np.random.default_rng(3)
    a, b = shifted(random, 20_000, 0), shifted(random, 3_000, 0.4)
    deciles = np.quantile(a, np.arange(1, 10) / 10, method="inverted_cdf")
    p = np.bincount(np.searchsorted(deciles, a), minlength=10) / len(a)
    q = np.bincount(np.searchsorted(deciles, b), minlength=10) / len(b)
    exact = sum((y - x) * log(y / x) for x, y in zip(p, q, strict=True))
    found = drift(a, b)
    assert found.psi_raw == pytest.approx(exact, rel=1e-12)
    assert found.psi == pytest.approx(exact - 9 * (1 / 3_000 + 1 / 20_000), rel=1e-12)


def test_without_shift_the_corrected_index_is_nothing_on_average() -> None:
    """The mean of the uncorrected one is (B - 1)(1/n + 1/m), as Yurdakul and Naranjo (2020) derive."""
    random = np.random.default_rng(11)
    for n in (100, 200, 1000):
        raw = [drift(shifted(random, 5_000, 0), shifted(random, n, 0)).psi_raw for _ in range(150)]
        assert np.mean(raw) == pytest.approx(9 * (1 / n + 1 / 5_000), rel=0.15)


@pytest.mark.parametrize("kind", ["normal", "five values", "many categories", "half missing"])
def test_no_false_alarm_at_200_rows(kind: str) -> None:
    random = np.random.default_rng(13)
    weights = random.dirichlet(np.full(120, 0.4))

    def draw(n: int) -> Any:
        if kind == "normal":
            return random.normal(size=n)
        if kind == "five values":
            return random.choice(5, n, p=[0.5, 0.2, 0.15, 0.1, 0.05])
        if kind == "many categories":
            return random.choice([f"N{i}" for i in range(120)], n, p=weights)
        return np.where(random.random(n) < 0.5, np.nan, random.normal(size=n))

    reference = profile_column(pd.Series(draw(10_000)))
    found = [column_drift("x", reference, pd.Series(draw(200))) for _ in range(300)]
    assert np.mean([d.psi > 0.25 for d in found]) < 0.01
    assert np.mean([d.psi > 0.1 for d in found]) < 0.05


def test_real_shifts_are_found_at_2000_rows() -> None:
    """The index of a normal shifted by d standard deviations is d squared, a little less in ten bins: at 0.5 it is
    0.24, so a bound of 0.2 finds it, and the usual 0.25 finds shifts from 0.6 on."""
    random = np.random.default_rng(17)
    reference = profile_column(pd.Series(shifted(random, 10_000, 0)))

    def power(shift: float, bound: float) -> float:
        found = [column_drift("x", reference, pd.Series(shifted(random, 2_000, shift))).psi for _ in range(100)]
        return float(np.mean(np.array(found) > bound))

    assert power(0.5, 0.2) > 0.85
    assert power(0.6, 0.25) > 0.9
    assert power(0.2, 0.2) == 0


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        ([0.0] * 500, [1.0] * 500),  # a constant that becomes another
        ([5.0] * 500, [4.0] * 500),  # below as above
        ([0.0, 1.0] * 250, [2.0] * 500),  # beyond the largest
        (list(np.linspace(0, 1, 500)), [None] * 500),  # gone
        ([None] * 500, list(np.linspace(0, 1, 500))),  # new
        (["a"] * 500, ["b"] * 500),  # a category never seen
    ],
)
def test_columns_that_change_wholly_are_found(reference: list[Any], current: list[Any]) -> None:
    assert drift(reference, current).psi > 1


def test_unseen_categories_and_gaps_are_counted() -> None:
    found = drift(["a", "b"] * 50, ["a", "z", "z", None])
    assert (found.unseen_share, found.null_share, found.reference_null_share) == (0.5, 0.25, 0.0)


CITIES = [f"city{number % 800}" for number in range(3_000)]


@pytest.mark.parametrize(
    ("reference", "current"),
    [
        (CITIES, ["elsewhere"] * 1_200),  # one new value instead of all known ones
        (CITIES, [f"town{number % 800}" for number in range(1_200)]),  # as many new ones, each rare
        (CITIES, ["city5"] * 1_200),  # all rows in one of the rare values
        (["city5"] * 3_000, CITIES[:1_200]),
        ([f"name{number}" for number in range(3_000)], ["unknown"] * 1_200),  # every value was new, and now none is
        (CITIES, CITIES[:600] + ["elsewhere"] * 600),  # every other row
    ],
)
def test_a_change_among_many_rare_categories_is_found(reference: list[str], current: list[str]) -> None:
    assert drift(reference, current).psi > 1


def test_rare_categories_share_a_bin_and_unseen_ones_another() -> None:
    """Of 60 and 15 rows, a category keeps its own bin from 25 rows of both together on (5 expected in the smaller)."""
    reference = ["a"] * 40 + ["b"] * 12 + ["c"] * 4 + ["d"] * 2 + ["e", "f"]
    current = ["a"] * 5 + ["b"] * 3 + ["c", "e"] + ["x"] * 2 + ["y", "z"] + [None]
    found = drift(reference, current)
    # missing; a; the known rare ones b, c, d, e and f; and x, y and z, for which e and f stand, which occur once
    raw, psi = stability_index([0, 40, 18, 2], [1, 5, 5, 4])
    assert (found.psi_raw, found.psi) == pytest.approx((raw, psi), rel=1e-12)
    assert (found.unseen_share, found.null_share) == (4 / 15, 1 / 15)


@settings(deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=60), st.lists(st.integers(0, 40), min_size=60, max_size=90))
def test_pooling_keeps_every_row(reference: list[int], current: list[int]) -> None:
    before, now = np.array(reference, dtype=float), np.array(current, dtype=float)
    expected, found = pool_rare(before, now)
    assert len(expected) == len(found) <= len(now) + 2
    assert expected.sum() == before.sum() and found.sum() == now.sum()
    assert (expected >= 0).all() and (expected[0], found[0]) == (before[0], now[0])


@settings(deadline=None)
@given(st.lists(st.integers(2, 9), min_size=10, max_size=60), st.lists(st.integers(1, 9), min_size=20, max_size=60))
def test_categories_of_which_none_is_left_are_found(reference: list[int], current: list[int]) -> None:
    """However rare they are, as long as the reference holds each of them twice or more."""
    was = [f"a{value}" for value, rows in enumerate(reference) for _ in range(rows)]
    now = [f"b{value}" for value, rows in enumerate(current) for _ in range(rows)]
    found = drift(was, now)
    assert found.psi > 1 and found.unseen_share == 1
    assert drift(was, was).psi == 0


@pytest.mark.parametrize("kind", ["800 cities", "5,000 tail numbers", "a long tail", "all different"])
@pytest.mark.parametrize(("before", "rows"), [(3_000, 1_200), (10_000, 200), (2_000, 8_000)])
def test_many_categories_give_no_false_alarm(kind: str, before: int, rows: int) -> None:
    """Unseen values keep coming where the reference holds values once; that alone is no drift."""
    random = np.random.default_rng(19)
    weights = 1 / np.arange(1, 20_001)

    def draw(n: int) -> Any:
        if kind == "a long tail":
            return random.choice(20_000, n, p=weights / weights.sum())
        return random.integers(0, {"800 cities": 800, "5,000 tail numbers": 5_000}.get(kind, 10**12), n)

    psi = [drift(draw(before).astype(str), draw(rows).astype(str)).psi for _ in range(20)]
    assert max(psi) < 0.2 and np.mean(psi) < 0.02, psi


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=12), st.data())
def test_the_index_is_finite_and_nothing_for_equal_shares(counts: list[int], data: st.DataObject) -> None:
    other = data.draw(st.lists(st.integers(0, 500), min_size=len(counts), max_size=len(counts)))
    a, b = np.array(counts, dtype=float), np.array(other, dtype=float)
    raw, corrected = stability_index(a, b)
    assert np.isfinite(raw) and 0 <= corrected <= max(raw, 0)
    assert stability_index(a, a)[0] == pytest.approx(0, abs=1e-12)


def test_profiles_survive_json_and_know_kinds() -> None:
    frame = pd.DataFrame(
        {
            "number": [1.0, None, 3.0],
            "flag": [True, False, True],
            "maybe": pd.Series([True, None, False], dtype=object),
            "text": ["a", None, "b"],
            "time": pd.to_datetime(["2013-01-01", "2013-01-02", None], utc=True),
            "nothing": [None, None, None],
        }
    )
    profiles = profile(frame)
    assert {name: p.kind for name, p in profiles.items()} == {
        "number": "numeric", "flag": "numeric", "maybe": "numeric", "text": "categorical", "time": "numeric",
        "nothing": "categorical",
    }  # fmt: skip
    assert profiles["time"].quantiles[1] - profiles["time"].quantiles[0] == 86_400
    for stored in profiles.values():
        assert ColumnProfile.from_dict(json.loads(json.dumps(stored.to_dict(), allow_nan=False))) == stored
    assert len(profile_column(pd.Series(np.arange(100_000.0))).quantiles) == 1001


def test_text_in_a_numeric_column_is_named() -> None:
    with pytest.raises(MonitoringError, match="Column 'x' contains 'gusty'"):
        drift([1.0, 2.0], ["3", "gusty"])
