"""A blend is chosen like a trial, fitted again from its record, and kept in a bundle; a trial keeps to its rows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression

from configs.model import ModelSpec
from feature_repo.frames.training_frame import PREDICTION_TIME
from ray_cluster.evaluation.metrics import ranking
from ray_cluster.lineage.model_digest import model_digest
from ray_cluster.registry.bundles import TRUSTED
from ray_cluster.training.evaluate import evaluate
from ray_cluster.training.families.blend import Blend, blended, stacked_weights
from ray_cluster.training.final_fit import fit_before, fit_final
from ray_cluster.training.finalists import Chosen, choose, newest_scores
from ray_cluster.training.reproduce import chosen_again
from ray_cluster.training.sampling.sampler_selection import contender_scores
from ray_cluster.training.search import Search, TrialResult
from ray_cluster.training.seed_noise import seed_noise
from tests.ray_cluster.training.test_honesty import data, spec


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    import ray

    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def blending(how: str = "mean", **tuning: Any) -> ModelSpec:
    plain = spec()
    return spec(tuning={**plain.tuning.model_dump(mode="json"), "finalists": 2, "blend": how, **tuning})


def trials() -> list[TrialResult]:
    """Two families that are equally good; each family has a worse trial, too."""
    boosted = TrialResult(
        "00",
        "xgboost",
        {"max_depth": 2, "learning_rate": 0.3, "subsample": 0.7},
        "finished",
        20,
        0.62,
        1.0,
        [[20, 0.62]],
    )
    linear = TrialResult("01", "logistic_regression", {"C": 1.0}, "finished", 1, 0.61, 1.0, [[1, 0.61]])
    worse = replace(boosted, trial="02", metric=0.5, history=[[20, 0.5]])
    return [boosted, linear, worse]


def chosen(given_spec: ModelSpec, held_out: str = "as it is") -> tuple[Any, Chosen]:
    rows = data(given_spec, held_out)
    found = newest_scores(given_spec, rows, trials()[0])
    return rows, choose(given_spec, rows, Search(trials(), found))


@pytest.mark.parametrize("how", ["mean", "stacked"])
def test_the_blend_is_a_finalist_measured_on_the_same_windows(how: str) -> None:
    rows, found = chosen(blending(how))
    finalists = found.evidence["finalists"]
    assert [each["family"] for each in finalists] == ["xgboost", "logistic_regression", "blend"]
    assert [each["chosen"] for each in finalists].count(True) == 1
    best = max(finalists, key=lambda each: each["mean"])
    assert best["chosen"] and found.trial.family == best["family"]
    assert len(found.y) == len(found.scores) == sum(window["rows"] for window in found.evidence["windows"])
    window = rows.y[rows.periods.folds[0].validation]
    assert finalists[0]["metrics"][0] != finalists[2]["metrics"][0]
    if how == "mean" and best["family"] == "blend":
        assert ranking(window, found.scores[: len(window)])["average_precision"] == best["metrics"][0]


def test_a_blend_is_made_again_from_its_record_bit_for_bit() -> None:
    given_spec = blending("stacked")
    rows, _ = chosen(given_spec)
    members = tuple(trials()[:2])
    blend = replace(members[0], trial="09", family="blend", params={}, members=members, weights=(0.1, 0.6, 0.3))
    blend = replace(blend, iterations=21, history=[[21.0, 0.6]])
    recorded = TrialResult.from_dict(json.loads(json.dumps(asdict(blend))))
    assert recorded == blend
    first = chosen_again(given_spec, rows, blend, "none")
    again = chosen_again(given_spec, rows, recorded, "none")
    np.testing.assert_array_equal(first.scores, again.scores)
    final, repeated = fit_final(given_spec, first, rows), fit_final(given_spec, again, rows)
    assert model_digest(final.pipeline) == model_digest(repeated.pipeline)
    np.testing.assert_array_equal(final.scores, repeated.scores)

    alone = [fit_before(given_spec, member, rows, rows.periods.origins)[0].pipeline for member in members]
    features = rows.features[rows.periods.held_out]
    expected = blended([each.predict_proba(features)[:, 1] for each in alone], (0.1, 0.6, 0.3))
    np.testing.assert_array_equal(final.raw, expected)

    evaluation = evaluate(given_spec, rows, first, final, {})
    assert evaluation.family == "blend" and evaluation.params["00.weight"] == 0.6
    assert evaluation.params["00.iterations"] > 20 and evaluation.params["01.family"] == "logistic_regression"
    assert evaluation.served["iterations"] == evaluation.params["00.iterations"] + 1
    assert evaluation.shap
    assert seed_noise(given_spec, rows, first)["average_precision"] > 0
    scores = contender_scores(given_spec, blend, rows, "undersample")
    assert scores.shape == (int(rows.periods.validation.sum()),) and 0 < scores.min() < scores.max() < 1


def test_a_blend_survives_the_bundles_format(tmp_path: Path) -> None:
    import skops.io

    given_spec = blending()
    rows = data(given_spec)
    members = tuple(trials()[:2])
    blend = replace(members[0], family="blend", members=members, weights=(0.0, 0.5, 0.5))
    [fitted] = fit_before(given_spec, blend, rows, rows.periods.origins)
    skops.io.dump(fitted.pipeline, tmp_path / "model.skops")
    types = set(skops.io.get_untrusted_types(file=tmp_path / "model.skops"))
    assert types <= set(TRUSTED)
    loaded = skops.io.load(tmp_path / "model.skops", trusted=sorted(types))
    assert isinstance(loaded[-1], Blend) and list(loaded.feature_names_in_) == list(rows.features)
    held_out = rows.features[rows.periods.held_out]
    np.testing.assert_array_equal(loaded.predict_proba(held_out), fitted.pipeline.predict_proba(held_out))
    np.testing.assert_array_equal(loaded.predict(held_out), loaded.predict_proba(held_out)[:, 1] >= 0.5)


def test_a_trial_with_fewer_rows_has_as_many_in_its_final_fits() -> None:
    given_spec = blending("none", rows=[1000, 2000])
    assert given_spec.tuning.fewer({"rows": 1000}) == 1000 and given_spec.tuning.fewer({"rows": 2000}) is None
    rows = data(given_spec)
    few = replace(trials()[0], rows=1000)
    [fitted] = fit_before(given_spec, few, rows, rows.periods.origins)
    assert fitted.rows == 1000 and fitted.trial.iterations == few.iterations
    known = np.flatnonzero(rows.periods.origins[0].train)[-1000:]
    first = rows.rows[PREDICTION_TIME].iloc[known[0]]
    assert rows.periods.origins[0].start - first < timedelta(days=22)
    [everything] = fit_before(given_spec, trials()[0], rows, rows.periods.origins)
    assert everything.rows == rows.periods.origins[0].train.sum() and everything.trial.iterations > few.iterations
    assert not np.array_equal(*(each.pipeline.predict_proba(rows.features) for each in (fitted, everything)))


@drawn(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(-2, 2))
def test_a_blend_of_equals_is_each_of_them(scores: list[float], intercept: float) -> None:
    np.testing.assert_allclose(blended([scores] * 3, [0, *[1 / 3] * 3]), np.clip(scores, 1e-7, 1 - 1e-7), atol=1e-9)
    order = np.argsort(blended([scores], [intercept, 0.5]), kind="stable")
    assert np.all(np.diff(np.asarray(scores)[order]) >= -1e-7)


def test_stacked_weights_are_those_of_logistic_regression_unless_negative() -> None:
    random = np.random.default_rng(3)
    odds = random.normal(size=(4000, 2))
    y = random.random(4000) < 1 / (1 + np.exp(-(0.5 + 0.8 * odds[:, 0] + 0.4 * odds[:, 1])))
    scores = list((1 / (1 + np.exp(-odds))).T)
    reference = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(odds, y)
    expected = [*reference.intercept_, *reference.coef_[0]]
    np.testing.assert_allclose(stacked_weights(y, scores), expected, atol=1e-3)
    assert stacked_weights(y, [scores[0], 1 - scores[1]])[2] == 0.0


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"rows": [80000]}, r"rows = \[80000\]; expected one number, or a list of two or more different numbers"),
        ({"rows": [1000, 1000]}, "two or more different numbers"),
        ({"rows": [500, 2000]}, "greater than or equal to 1000"),
        ({"blend": "sum"}, "'none', 'mean' or 'stacked'"),
        (
            {"blend": "mean", "finalists": 1},
            "blend = mean needs two finalists",
        ),
    ],
)
def test_bad_settings_are_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        spec(tuning={**spec().tuning.model_dump(mode="json"), **changed})


def test_stacking_needs_two_windows_and_rows_on_disk_one_number() -> None:
    with pytest.raises(ValidationError, match=r"blend = stacked needs split\.folds above 1"):
        spec(tuning=blending("stacked").tuning.model_dump(mode="json"), split={"validation": "20d", "held_out": "20d"})
    boosted = {**spec().tuning.model_dump(mode="json"), "families": [{"family": "xgboost", "iterations": 100}]}
    with pytest.raises(ValidationError, match=r"fit\.memory = external needs one number"):
        spec(tuning={**boosted, "rows": [1000, 2000]}, fit={"memory": "external"})
