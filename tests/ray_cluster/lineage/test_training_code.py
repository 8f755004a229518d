"""The code that a training frame and a fit depend on: known files are in it, and unrelated code is not."""

from __future__ import annotations

from fnmatch import fnmatchcase

import pytest

from feature_repo.frames.fingerprints import FRAME_CODE, frame_files
from feature_repo.storage.code_files import imported_files
from ray_cluster.lineage.environment import FIT_CODE, fit_files


@pytest.mark.parametrize(
    "path",
    [
        "feature_repo/features.py",
        "feature_repo/frames/expired_values.py",
        "feature_repo/frames/frame_parts.py",
        "feature_repo/frames/label_overrides.py",
        "feature_repo/frames/training_frame.py",
        "feature_repo/materialization/backfill.py",
        "feature_repo/offline/join.py",
        "feature_repo/offline/offline_store.py",
        "feature_repo/offline/point_in_time.py",
        "feature_repo/online/layout.py",
        "feature_repo/tables/table_files.py",
        "feature_repo/transforms/calendar.py",
        "feature_repo/transforms/purchase.py",
    ],
)
def test_a_frame_depends_on(path: str) -> None:
    assert path in frame_files()


@pytest.mark.parametrize(
    "path",
    [
        "ray_cluster/decisions/sampler_rules.py",
        "ray_cluster/evaluation/intervals.py",
        "ray_cluster/evaluation/column_profile.py",
        "ray_cluster/training/calibration.py",
        "ray_cluster/training/distributed/workers.py",
        "ray_cluster/training/families/xgboost.py",
        "ray_cluster/training/inputs.py",
        "ray_cluster/training/sampling/smote.py",
        "ray_cluster/training/search/worker.py",
        "ray_cluster/training/train.py",
    ],
)
def test_a_fit_depends_on(path: str) -> None:
    assert path in fit_files()


def test_code_that_changes_no_value_is_left_out() -> None:
    for path in (*frame_files(), *fit_files()):
        assert not path.startswith(("configs/", "flows/", "feature_repo/storage/", "ray_cluster/registry/")), path
        assert not path.startswith(("ray_cluster/serving/", "ray_cluster/reports/", "ray_cluster/promotion/")), path
    assert not {"feature_repo/transforms/__init__.py", "feature_repo/transforms/flights.py"} & {*frame_files()}
    assert all(path.startswith("ray_cluster/") for path in fit_files())
    unread = {"ray_cluster/training/reproduce.py", "ray_cluster/training/experiment.py"}
    assert not unread & {*fit_files()}


@pytest.mark.parametrize("code", [FRAME_CODE, FIT_CODE])
def test_every_module_that_is_left_out_would_be_imported(code: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    roots, stop = code
    for pattern in stop:
        without = tuple(each for each in stop if each != pattern)
        added = {*imported_files(roots, without)} - {*imported_files(roots, stop)}
        assert any(fnmatchcase(path.removesuffix(".py").removesuffix("/__init__").replace("/", "."), pattern)
                   for path in added), pattern  # fmt: skip
