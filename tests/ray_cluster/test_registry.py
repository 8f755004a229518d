"""Bundles of every model family are kept without pickle, and come back as they were."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pandas as pd
import pytest
from skops import io

from configs.model import Family
from ray_cluster.registry import TRUSTED
from ray_cluster.training.families import assemble, fit_steps, preprocessing


@pytest.mark.parametrize("family", get_args(Family.model_fields["family"].annotation))
def test_a_bundle_of_each_family_survives_skops(family):
    generator = np.random.default_rng(0)
    frame = pd.DataFrame({"number": generator.normal(size=400), "text": generator.choice(["x", "y"], 400)})
    frame["text"] = frame["text"].astype(object)
    y = (frame["number"] + (frame["text"] == "x") > 0.5).to_numpy().astype(int)
    encode = preprocessing(frame).fit(frame)
    classifier = fit_steps(family, {}, encode.transform(frame).astype("float32"), y, 15, seed=0)
    bundle = assemble(encode, classifier)
    kept = io.dumps(bundle)
    assert set(io.get_untrusted_types(data=kept)) <= set(TRUSTED)
    again = io.loads(kept, trusted=TRUSTED)
    np.testing.assert_array_equal(again.predict_proba(frame), bundle.predict_proba(frame))
