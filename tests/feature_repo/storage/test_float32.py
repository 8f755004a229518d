"""Numbers that are infinite in float32."""

from __future__ import annotations

import numpy as np
import pandas as pd
from hypothesis import example, given
from hypothesis import strategies as st

from feature_repo.storage.float32 import LARGEST, beyond, finite


def test_the_largest_number_is_numpys() -> None:
    assert np.finfo("float32").max == LARGEST


@given(st.lists(st.floats(), min_size=1))
@example([LARGEST, np.nextafter(LARGEST, np.inf), np.inf, -np.inf, np.nan])
def test_what_is_left_is_finite_when_cast_and_nothing_else_changes(numbers: list[float]) -> None:
    given_ = np.array(numbers)
    frame = pd.DataFrame({"a": given_, "text": "x", "whole": 2**62, "b": 1.0})
    found = finite(frame)
    assert not np.isinf(found["a"].astype("float32")).any()
    missing = beyond(given_) | np.isnan(given_)
    assert found["a"].isna().tolist() == missing.tolist() and (found["a"] == given_)[~missing].all()
    assert missing.tolist() == [not abs(number) <= LARGEST for number in numbers]
    assert found.drop(columns="a").equals(frame.drop(columns="a")) and list(found) == list(frame)
