"""A training frame built part by part on disk is the frame in one piece, also after a kill."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from configs.model import ModelSpec
from configs.settings import Settings
from configs.training import Fit
from feature_repo.frames.frame_parts import build_parts, windows
from feature_repo.frames.training_frame import (
    LABEL_KNOWN_AT,
    FrameError,
    LabelError,
    labelled_requests,
    labels,
    requests,
    training_frame,
)
from feature_repo.tables import connect
from tests.feature_repo.frames.test_training_frame import AS_OF, SPEC, made

END = datetime(2014, 1, 1, tzinfo=UTC)


def by_parts(rows: int, spec: ModelSpec = SPEC) -> ModelSpec:
    return spec.model_copy(update={"fit": Fit.model_validate({"memory": "external", "rows_per_part": rows})})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = dict(os.environ)
    yield made(tmp_path_factory.mktemp("parts") / "home", 20_000, AS_OF)
    os.environ.clear()
    os.environ.update(before)


@given(st.lists(st.tuples(st.integers(1, 500_000), st.integers(1, 50)), max_size=40), st.integers(1, 60))
def test_windows_follow_one_another_and_hold_no_more_than_they_may(steps, rows):
    moments, now = [], datetime(2012, 1, 1, tzinfo=UTC)
    for minutes, _ in steps:
        now += timedelta(minutes=minutes)
        moments.append(now)
    counts = pd.DataFrame({"moment": pd.to_datetime(moments, utc=True), "requests": [number for _, number in steps]})
    found = windows(counts, rows, datetime(2100, 1, 1, tzinfo=UTC))
    assert found[0][0] == datetime(1970, 1, 1, tzinfo=UTC) and found[-1][1] == datetime(2100, 1, 1, tzinfo=UTC)
    assert all(one[1] == two[0] for one, two in pairwise(found))
    held = [[n for m, (_, n) in zip(moments, steps, strict=True) if start <= m < end] for start, end in found]
    assert sum(map(sum, held)) == sum(number for _, number in steps)
    assert all(sum(numbers) <= rows or len(numbers) == 1 for numbers in held)
    assert all(sum(one) + two[0] > rows for one, two in pairwise(held) if one and two)


def test_the_parts_one_after_another_are_the_frame_with_its_fingerprint(here):
    whole = training_frame(here, SPEC, AS_OF)
    parts = build_parts(here, by_parts(1000), AS_OF)
    assert len(parts.files) > 2 and parts.row_count == len(whole.rows)
    assert all(len(part) <= 1000 for part in parts.read())
    together = pd.concat(parts.read(), ignore_index=True)
    pd.testing.assert_frame_equal(together.drop(columns=LABEL_KNOWN_AT), whole.rows)
    assert (parts.fingerprint, parts.columns, parts.features) == (whole.fingerprint, whole.columns, whole.features)
    known = whole.rows[["transaction_id"]].merge(labels(here, SPEC, AS_OF), on="transaction_id")
    assert (together[LABEL_KNOWN_AT] == known[LABEL_KNOWN_AT]).all()
    assert [len(part) for part in parts.read(["label"], backwards=True)] == [len(part) for part in parts.read()][::-1]
    parts.remove()
    assert not parts.folder.exists()


def test_labels_of_some_requests_are_those_of_all(here):
    asked = requests(here, SPEC, AS_OF - timedelta(days=60), AS_OF - timedelta(days=10), AS_OF)
    everything = labels(here, SPEC, AS_OF)
    some, unlabelled = labelled_requests(here, SPEC, asked, AS_OF, 0)
    some = some[[*everything]].sort_values("transaction_id", ignore_index=True)
    assert 0 < len(some) < len(everything) and unlabelled == 0
    mine = everything["transaction_id"].isin(asked["transaction_id"])
    pd.testing.assert_frame_equal(some, everything[mine].reset_index(drop=True))


def test_null_labels_are_left_out_and_counted_in_one_piece_and_by_parts(here):
    unknown = "hash(transaction_id) % 7 = 0"
    spec = SPEC.model_copy(
        update={"label": SPEC.label.model_copy(update={"positive": f"CASE WHEN {unknown} THEN NULL ELSE fraud END"})}
    )
    plain, whole = training_frame(here, SPEC, AS_OF), training_frame(here, spec, AS_OF)
    with connect(here, AS_OF, only=["card_labels"]) as connection:
        nulls = connection.execute(f"SELECT transaction_id FROM card_labels WHERE {unknown}").df()["transaction_id"]
    known = plain.rows[~plain.rows["transaction_id"].isin(nulls)].reset_index(drop=True)
    pd.testing.assert_frame_equal(whole.rows, known)
    assert whole.rows["label"].dtype == plain.rows["label"].dtype == "int32"
    assert plain.unlabelled == 0 and whole.unlabelled == len(plain.rows) - len(known) > 0
    build_parts(here, by_parts(1000, spec), AS_OF).lock.release()
    parts = build_parts(here, by_parts(1000, spec), AS_OF)  # every part is there: their counts are read back
    assert (parts.unlabelled, parts.fingerprint) == (whole.unlabelled, whole.fingerprint)
    parts.remove()


def test_a_label_that_is_no_label_is_refused_in_one_piece_and_by_parts(here):
    spec = SPEC.model_copy(update={"label": SPEC.label.model_copy(update={"positive": "card_id"})})
    with pytest.raises(LabelError) as whole:
        training_frame(here, spec, AS_OF)
    with pytest.raises(LabelError) as parts:
        build_parts(here, by_parts(1000, spec), AS_OF)
    assert str(parts.value) == str(whole.value)
    assert str(whole.value).startswith(
        "Model 'card_fraud': label.positive = 'card_id' returns a value other than true,"
    )
    locks = list((here.home / "locks").glob("fit-*.lock"))
    assert locks
    for lock in locks:  # another process may build them
        FileLock(lock).acquire(timeout=0).lock.release()


def _build(settings: Settings, spec: ModelSpec) -> None:
    build_parts(settings, spec, AS_OF)


def test_a_killed_build_goes_on_with_the_parts_that_are_missing(here):
    spec = by_parts(1500)
    builder = multiprocessing.get_context("spawn").Process(target=_build, args=(here, spec))
    builder.start()
    until = time.monotonic() + 120
    folder = here.home / "fit"
    while not list(folder.glob("*/00000.parquet")) and time.monotonic() < until:
        time.sleep(0.005)
    builder.kill()
    builder.join()
    left = {path: path.stat().st_mtime_ns for path in folder.glob("*/0*.parquet")}
    parts = build_parts(here, spec, AS_OF)
    assert left and {path: path.stat().st_mtime_ns for path in left} == left and set(left) < set(parts.files)
    assert parts.fingerprint == training_frame(here, SPEC, AS_OF).fingerprint
    assert all(path.suffix == ".parquet" for path in parts.folder.iterdir())  # what the killed one was at is gone
    other = build_parts(here, by_parts(4000), AS_OF)
    assert parts.folder.exists()  # its lock is held: somebody is at work on it
    parts.lock.release()
    other.remove()
    build_parts(here, by_parts(4000), AS_OF).remove()
    assert not parts.folder.exists()


def test_a_column_without_a_value_in_one_part_has_the_type_that_it_has_in_others(here):
    parts = build_parts(here, by_parts(1000), AS_OF)
    first = pd.read_parquet(parts.files[0])
    Path(parts.files[0]).unlink()
    first["card_max_1h"] = None
    first.to_parquet(parts.files[0], index=False)
    assert pd.read_parquet(parts.files[0])["card_max_1h"].dtype == object
    assert next(parts.read())["card_max_1h"].dtype == "float64"
    assert next(parts.read(["card_max_1h"])).dtypes.tolist() == ["float64"]
    parts.remove()


def test_without_labelled_rows_it_is_told_as_of_the_frame_in_one_piece(here):
    early = datetime(2013, 1, 10, tzinfo=UTC)
    with pytest.raises(FrameError) as whole:
        training_frame(here, SPEC, early)
    with pytest.raises(FrameError) as parts:
        build_parts(here, by_parts(1000), early)
    assert str(parts.value) == str(whole.value) and "0 labelled rows" in str(whole.value)
