"""A feature service that Feast's registry does not have."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from configs import load_settings
from feature_repo.definitions.feature_store import apply, request_features, retrieve


def test_it_is_named_with_the_nearest(tmp_path: Path) -> None:
    settings = load_settings("local", {"HEADRACE_HOME": str(tmp_path)})
    requests = pd.DataFrame({"carrier": ["UA"], "at": pd.to_datetime(["2013-05-01"], utc=True)})
    with pytest.raises(
        LookupError, match=r"no feature service 'flight_rsk' .*Known: none\. Define it .*headrace apply"
    ):
        retrieve(settings, "flight_rsk", requests, at="at")
    apply(settings)
    with pytest.raises(LookupError, match=r"no feature service 'flight_rsk' .*Did you mean 'flight_risk'"):
        request_features(settings, "flight_rsk")
