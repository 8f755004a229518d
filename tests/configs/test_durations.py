"""Lengths of time in words, and in one unit."""

from __future__ import annotations

import doctest

import pytest

from configs import durations
from configs.durations import in_one_unit


def test_the_examples_of_the_docstrings() -> None:
    assert doctest.testmod(durations).failed == 0


@pytest.mark.parametrize(
    ("seconds", "rounded", "exact"),
    [
        (86400, "1d", "1d"),
        (86460, "1d", "1441m"),
        (90, "1.5m", "90s"),
        (0, "0s", "0d"),
        (1500 * 86400, "1,500d", "1500d"),
    ],
)
def test_a_length_in_one_unit(seconds: float, rounded: str, exact: str) -> None:
    assert in_one_unit(seconds) == rounded and in_one_unit(seconds, exact=True) == exact
