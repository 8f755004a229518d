"""imbalanced-learn's private method still gets the parents of each row: a new version that changes it fails here."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE, SMOTENC

from ray_cluster.training.sampling.imblearn_private import remembering


@pytest.mark.parametrize("kind", [SMOTE, SMOTENC])
def test_the_first_arguments_of_the_private_method(kind):
    names = list(inspect.signature(kind._generate_samples).parameters)
    assert names[:7] == ["self", "X", "nn_data", "nn_num", "rows", "cols", "steps"]


@pytest.mark.parametrize("kind", [SMOTE, SMOTENC])
def test_each_row_lies_between_its_parents(kind):
    random = np.random.default_rng(0)
    x = pd.DataFrame(random.normal(size=(60, 2)), columns=["a", "b"])
    y = np.r_[np.zeros(40, int), np.ones(20, int)]
    more = {"categorical_features": ["word"]} if kind is SMOTENC else {}
    if more:
        x["word"] = np.where(random.random(60) < 0.5, "x", "y")
    sampler = remembering(kind)(k_neighbors=3, random_state=0, **more)
    found, _ = sampler.fit_resample(x, y)
    real = x.loc[y == 1, ["a", "b"]].to_numpy()
    first, second, steps = real[sampler.first_], real[sampler.second_], sampler.steps_[:, None]
    np.testing.assert_allclose(found[["a", "b"]].to_numpy()[60:], first + steps * (second - first))
    plain, _ = kind(k_neighbors=3, random_state=0, **more).fit_resample(x, y)
    pd.testing.assert_frame_equal(found, plain)
