"""What all tests share: property tests judge what is computed, not how fast a busy machine draws the examples; and what
one file's tests put into the environment, such as the address of a Ray cluster, no other file's tests find there."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("headrace", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("headrace")


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
