"""A small form of ``benchmarks/promotion.py``: how often the gate is wrong about equal and about better versions."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from benchmarks.promotion import FIT, GATE, GROUPS, RECIPE, World, judged
from ray_cluster.evaluation.intervals import combined, paired_gain
from ray_cluster.promotion.challenge import gain_evidence


def test_ten_equal_retrainings_seldom_promote_and_a_better_recipe_does() -> None:
    """Eight runs; the margin alone promotes in most of them."""
    wrong, right = np.zeros(2), np.zeros(2)
    for run in range(8):
        random = np.random.default_rng((3, run))
        world, recipe = World(random, 40), random.normal(0, RECIPE, GROUPS)
        fits = [world.scores(recipe, random.normal(0, FIT, GROUPS)) for _ in range(11)]
        noise = float(np.std([average_precision_score(world.y, scores) for scores in fits], ddof=1))
        attempts = [judged(world.y, world.day, fits[0], fits[at], noise, 6, at) for at in range(1, 11)]
        wrong += np.any(attempts, axis=0)
        better = world.scores(0 * recipe, random.normal(0, FIT, GROUPS))
        right += judged(world.y, world.day, fits[0], better, noise, 6, 1)
    assert wrong[0] >= 4 and wrong[1] <= 1
    assert right[1] >= 6


def test_the_noise_of_seeds_widens_the_interval_as_independent_errors_add() -> None:
    world = World(np.random.default_rng(5), 40)
    scores = [world.scores(np.zeros(GROUPS), np.random.default_rng(seed).normal(0, FIT, GROUPS)) for seed in (1, 2)]
    plain = paired_gain(world.y, *scores, world.day, "average_precision")
    noisy = paired_gain(world.y, *scores, world.day, "average_precision", noise=[(0.003, 3), (0.004, 3)])
    assert noisy.error == pytest.approx(np.sqrt(plain.error**2 + 0.003**2 + 0.004**2))
    assert min(3, plain.freedom) < noisy.freedom < plain.freedom + 6
    assert noisy.low < plain.low and noisy.at_least(0.025) == pytest.approx(noisy.low)
    assert noisy.at_least(0.005) < noisy.at_least(0.025) < noisy.gain
    assert combined((0.0, 1.0), (0.0, 1.0)) == (0.0, 1.0)
    error, freedom = combined((0.01, 12.0), (0.0, 1.0))
    assert (error, freedom) == (pytest.approx(0.01), pytest.approx(12.0))


def test_all_comparisons_on_the_same_rows_share_the_probability_of_an_error() -> None:
    world, noise = World(np.random.default_rng(5), 40), [(0.003, 3.0), (0.004, 3.0)]
    scores = [world.scores(np.zeros(GROUPS), np.random.default_rng(seed).normal(0, FIT, GROUPS)) for seed in (1, 2)]
    gain = paired_gain(world.y, *scores, world.day, GATE.metric, level=GATE.confidence, noise=noise)
    found = [gain_evidence(GATE, world.y, *scores, world.day, noise, attempt) for attempt in range(1, 10)]
    assert found[0]["alpha"] == pytest.approx((1 - GATE.confidence) / 4)
    assert sum(each["alpha"] for each in found) == pytest.approx((1 - GATE.confidence) / 2 * 9 / 10)
    for each in found:
        assert (each["mean"], each["low"], each["days"], each["rows"]) == (gain.gain, gain.low, 40, len(world.y))
        assert each["at_least"] == gain.at_least(each["alpha"]) < gain.low
    assert [each["at_least"] for each in found] == sorted((each["at_least"] for each in found), reverse=True)
