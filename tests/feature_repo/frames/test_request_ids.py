"""An id has one text, whatever type a table or a frame holds it in."""

from __future__ import annotations

from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feature_repo.frames.request_ids import RequestIdError, id_text, id_texts

WHOLE = st.integers(-(2**63), 2**63 - 1)


@given(st.lists(WHOLE | st.none(), max_size=20))
def test_whole_numbers_keep_every_digit(ids: list[int | None]) -> None:
    expected = [None if each is None else f"{each:d}" for each in ids]
    assert id_texts(pd.Series(ids, dtype=object)).tolist() == expected
    assert id_texts(pd.Series(ids, dtype="Int64")).tolist() == expected
    if None not in ids:
        assert id_texts(pd.Series(ids, dtype="int64")).tolist() == expected


@given(st.lists(st.integers(1 - 2**53, 2**53 - 1), max_size=20))
def test_a_null_in_the_column_does_not_change_the_others(ids: list[int]) -> None:
    floats = pd.Series([*ids, None], dtype="float64")
    assert id_texts(floats).tolist() == [*(f"{each:d}" for each in ids), None]


@given(st.text(max_size=20))
def test_text_stays_as_it_is(text: str) -> None:
    assert id_text(text) == text
    assert id_texts(pd.Series([text], dtype="string")).tolist() == [text]


@given(st.uuids())
def test_a_uuid_is_its_hyphenated_text(uuid: UUID) -> None:
    assert id_text(uuid) == str(uuid)


@given(WHOLE, WHOLE)
def test_two_numbers_have_two_texts(one: int, other: int) -> None:
    assert (id_text(one) == id_text(np.int64(other))) == (one == other)


@pytest.mark.parametrize("value", [7.5, float("inf"), 2.0**53, True, np.bool_(True), pd.Timestamp(0), b"7"])
def test_what_identifies_no_request_is_an_error_with_its_value(value: object) -> None:
    with pytest.raises(RequestIdError, match="expected text, a whole number or a UUID") as caught:
        id_text(value)
    assert repr(value) in str(caught.value)
