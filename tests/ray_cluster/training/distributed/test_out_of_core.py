"""Training on a frame that stays on disk: the same periods, rows, codes and shares as in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from configs.model import ModelSpec
from configs.reading import merge
from configs.settings import Settings
from ray_cluster.training.data import TrainingData, prepare
from ray_cluster.training.distributed.out_of_core import PARTS_IN_MEMORY, encoder_of_parts, shares_on_disk
from ray_cluster.training.distributed.shares import deal
from ray_cluster.training.families import preprocessing
from tests.feature_repo.frames.test_training_frame import AS_OF, SPEC, made


def spec(**changes: Any) -> ModelSpec:
    boosted = [family.model_dump() for family in SPEC.tuning.families if family.family == "xgboost"]
    base = {
        "label": {"positive": "fraud OR hash(transaction_id) % 10 = 0"},  # so that short periods have both outcomes
        "split": {"validation": "30d", "held_out": "30d"},
        "tuning": {"rows": 1000, "families": boosted},
        "sampling": {"method": "none"},  # frames on disk take no sampler
        "inputs": {"card_max_1d": {"impute": "median", "clip": [0.01, 0.99]}, "purchase_channel": {"indicator": True}},
    }
    return ModelSpec.model_validate(merge(merge(SPEC.model_dump(), base), changes))


def external(rows: int, workers: int = 1) -> ModelSpec:
    return spec(fit={"memory": "external", "rows_per_part": rows, "workers": workers})


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    before = dict(os.environ)
    yield made(tmp_path_factory.mktemp("external") / "home", 20_000, AS_OF)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def whole(here: Settings) -> TrainingData:
    return prepare(here, spec(), AS_OF)


@pytest.fixture
def data(here: Settings) -> Iterator[TrainingData]:
    found = prepare(here, external(1000, workers=2), AS_OF)
    yield found
    found.release()
    assert not list((here.home / "fit").iterdir())


def test_the_rows_in_memory_are_the_latest_and_lie_in_the_same_periods(whole, data):
    held = len(data.rows)
    assert held < len(whole.rows) == data.row_count and data.periods.train.sum() == 1000
    pd.testing.assert_frame_equal(data.rows, whole.rows.tail(held).reset_index(drop=True))
    pd.testing.assert_frame_equal(data.features, whole.features.tail(held).reset_index(drop=True))
    np.testing.assert_array_equal(data.y, whole.y[-held:])
    for name in ("train", "validation", "held_out"):
        np.testing.assert_array_equal(getattr(data.periods, name), getattr(whole.periods, name)[-held:])
    assert whole.periods.train[:-held].sum() > 500


def test_what_is_recorded_of_the_frame_is_told_of_all_rows(whole, data):
    assert data.periods.describe(data.rows["label"]) == whole.periods.describe(whole.rows["label"])
    assert data.timezone == whole.timezone == spec().timezone
    assert (data.frame.fingerprint, data.frame.tables) == (whole.frame.fingerprint, whole.frame.tables)
    assert (data.frame.columns, data.frame.features) == (whole.frame.columns, whole.frame.features)


def test_every_fold_has_the_training_rows_that_its_fits_take(here):
    folds = {"split": {"validation": "25d", "held_out": "22d", "folds": 2}}
    right = prepare(here, spec(**folds), AS_OF)
    asked = spec(**folds, fit={"memory": "external", "rows_per_part": 1000})
    found = prepare(here, asked, AS_OF)
    assert len(found.periods.folds) == 2 and len(found.rows) < len(right.rows)
    for mine, theirs in zip(found.periods.folds, right.periods.folds, strict=True):
        for one, other in ((mine.train, theirs.train), (mine.validation, theirs.validation)):
            ids, expected = (d.rows["transaction_id"][mask] for d, mask in ((found, one), (right, other)))
            assert ids.tail(1000).tolist() == expected.tail(1000).tolist()
    found.release()


def before(data):
    """The start of the held-out period."""
    return data.periods.origins[0].start


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_the_shares_on_disk_are_those_dealt_in_memory(here, whole, workers):
    """With parts that hold all early rows: the preprocessing too is the same to the last digit."""
    asked = external(2000, workers)
    data = prepare(here, asked, AS_OF)
    assert data.parts is not None and len(data.parts.files) > 1
    asked = external(100_000, workers)
    encode = encoder_of_parts(asked, data.parts, before(data))
    expected = preprocessing(whole.features, spec().inputs).fit(whole.features[whole.early])
    x = expected.transform(whole.features[whole.early])
    with shares_on_disk(asked, {}, data.parts, before(data), encode, paged=True) as shares:
        assert len(shares) == workers and not any(share.paged for share in shares)
        for rank, share in enumerate(shares):
            share_x, share_y = deal(rank, workers, x, whole.y[whole.early])
            np.testing.assert_array_equal(np.concatenate([np.load(pair[0]) for pair in share.files]), share_x)
            np.testing.assert_array_equal(np.concatenate([np.load(pair[1]) for pair in share.files]), share_y)
    assert not (data.parts.folder / "shares").exists()
    data.release()


def test_texts_have_their_codes_and_numbers_a_samples_statistics(whole, data):
    encode = encoder_of_parts(external(1000), data.parts, before(data))
    expected = preprocessing(whole.features, spec().inputs).fit(whole.features[whole.early])
    names = encode.get_feature_names_out().tolist()
    assert names == expected.get_feature_names_out().tolist()
    found, right = (each.transform(whole.features[whole.early]) for each in (encode, expected))
    for column, name in enumerate(names):
        if name == "card_max_1d":  # clipped at quantiles and imputed by the median of every other row
            assert np.mean(found[:, column] == right[:, column]) > 0.5
            np.testing.assert_allclose(np.median(found[:, column]), np.median(right[:, column]), rtol=0.1)
        else:
            np.testing.assert_array_equal(found[:, column], right[:, column])


def test_bins_go_to_disk_when_there_are_many_parts(data):
    asked = external(1000)
    few = asked.model_copy(update={"fit": asked.fit.model_copy(update={"rows_per_part": 100})})
    encode = encoder_of_parts(asked, data.parts, before(data))
    early = data.periods.describe(data.rows["label"])
    total = early["train"]["rows"] + early["validation"]["rows"]
    assert 100 * PARTS_IN_MEMORY < total < 1000 * PARTS_IN_MEMORY
    for each, wished, expected in ((asked, True, False), (few, True, True), (few, False, False)):
        with shares_on_disk(each, {}, data.parts, before(data), encode, paged=wished) as shares:
            assert [share.paged for share in shares] == [expected]


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1.0, 1: 7.5}])
def test_classes_weigh_what_they_weigh_in_memory(whole, data, class_weight):
    from sklearn.utils.class_weight import compute_class_weight

    asked = external(1000)
    encode = encoder_of_parts(asked, data.parts, before(data))
    with shares_on_disk(asked, {"class_weight": class_weight}, data.parts, before(data), encode, paged=False) as (
        share,
    ):
        if class_weight is None:
            assert share.class_weights is None
        else:
            right = compute_class_weight(class_weight, classes=np.array([0, 1]), y=whole.y[whole.early])
            np.testing.assert_allclose(share.class_weights, right)
            matrix = share.matrix(256, 1)
            np.testing.assert_allclose(matrix.get_weight(), right[matrix.get_label().astype(int)], rtol=1e-6)
