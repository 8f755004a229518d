"""The overlay of corrected labels: versions, what stands, and writers at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs import load_settings
from configs.settings import Settings
from feature_repo.frames.label_overrides import (
    LabelOverride,
    LabelOverrideError,
    append,
    labels_folder,
    overlay,
    overlay_version,
    standing,
    with_overrides,
)


@pytest.fixture
def here(tmp_path: Path) -> Settings:
    return load_settings("local", {"HEADRACE_HOME": str(tmp_path)})


def line(identity: str, label: int | None, version: int = 0) -> LabelOverride:
    return LabelOverride(
        identity, label, 0, "Ada", "looked at it", "2026-01-01T00:00:00+00:00", version, {"card_id": "C1"}
    )


def test_each_batch_is_a_version_and_earlier_ones_stay_readable(here):
    known = pd.DataFrame({"id": ["a", "b", "c"], "label": [0, 0, 1]})
    assert overlay_version(here, "m") == 0 and with_overrides(here, "m", known) is known
    assert append(here, "m", [line("a", 1), line("b", 1)], 0) == 1
    first = (labels_folder(here, "m") / "overlay.jsonl").read_bytes()
    assert append(here, "m", [line("a", None)], 1) == 2
    assert (labels_folder(here, "m") / "overlay.jsonl").read_bytes().startswith(first)
    assert [each.version for each in overlay(here, "m")] == [1, 1, 2]
    for version, expected in ((0, [0, 0, 1]), (1, [1, 1, 1]), (2, [0, 1, 1]), (None, [0, 1, 1])):
        found = with_overrides(here, "m", known, version)
        assert found["label"].tolist() == expected and found["label"].dtype == known["label"].dtype
    assert known["label"].tolist() == [0, 0, 1]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0, 1, None])), max_size=12))
def test_the_last_word_on_an_id_stands(said):
    expected: dict[str, int] = {}
    for identity, label in said:
        expected.pop(identity, None)
        if label is not None:
            expected[identity] = label
    found = standing([line(identity, label) for identity, label in said])
    assert {identity: each.label for identity, each in found.items()} == expected


def test_who_checked_against_an_older_version_adds_nothing(here):
    def attempt(number: int) -> bool:
        try:
            append(here, "m", [line(f"id{number}", 1)], overlay_version(here, "m"))
        except LabelOverrideError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(attempt, range(40)))
    assert overlay_version(here, "m") == len(overlay(here, "m")) == sum(done) >= 1
    with pytest.raises(LabelOverrideError, match=r"went from version 0 to \d+ meanwhile; repeat the command"):
        append(here, "m", [line("z", 1)], 0)


def test_what_is_no_overlay_is_told(here):
    append(here, "m", [line("a", 1)], 0)
    with pytest.raises(LabelOverrideError, match=r"at version 1, and version 3 is requested"):
        overlay(here, "m", 3)
    with (labels_folder(here, "m") / "overlay.jsonl").open("a") as file:
        file.write('{"id": ')
    with pytest.raises(LabelOverrideError, match=r"overlay\.jsonl line 2 is not a relabel"):
        overlay(here, "m")
