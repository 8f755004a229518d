"""The plan and the refusal, against a model that is really registered and live."""

from __future__ import annotations

import json

import pytest

from configs.settings import CONFIGS
from feature_repo.definitions import feature_store
from feature_repo.definitions.apply import pending
from feature_repo.definitions.load import registered, written
from feature_repo.definitions.plan import diff
from ray_cluster.lineage.impact import LiveModelError, guard, impact_of
from tests.feature_repo.definitions.definitions_example import module

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

FEATURES = (CONFIGS.parent / "feature_repo" / "features.py").read_text()


def edited(folder, old, new):
    assert old in FEATURES
    return module(folder, FEATURES.replace(old, new, 1), "features")


def test_a_live_model_is_not_broken_unless_forced(headrace, lifecycle, tmp_path):
    settings = headrace.settings
    nothing = headrace("plan", "--json")
    assert nothing.returncode == 0, nothing.stderr
    assert json.loads(nothing.stdout)["changes"] == []

    opened = feature_store.open_store(settings)
    shorter = edited(tmp_path, "ttl=timedelta(hours=6)", "ttl=timedelta(hours=1)")
    found = impact_of(settings, pending(settings, opened, shorter))
    (impact,) = found.impacts
    (taker,) = [each for each in impact.dependents if each.live]
    assert (taker.model, taker.version, taker.aliases) == ("flight_delay", lifecycle["version"], ("champion",))
    assert "temp" in taker.features and found.breaks and not found.notes

    with pytest.raises(LiveModelError, match=r"weather: TTL shortened, 6h → 1h, which the live model flight_delay"):
        feature_store.apply(settings, guard(settings, False, lambda _: None), shorter)
    assert diff(registered(opened), written(shorter)) != []

    unused = edited(tmp_path, '        "precip_6h",\n', '        "precip_6h",\n        "snow",\n')
    assert feature_store.apply(settings, guard(settings, False, lambda _: None), unused)

    assert feature_store.apply(settings, guard(settings, True, lambda _: None), shorter)
    assert diff(registered(opened), written(shorter)) == []
    refused = headrace("plan")  # back to the file as it is: a longer TTL changes values, and breaks nobody
    assert refused.returncode == 0 and "TTL lengthened" in refused.stdout
    back = headrace("apply")
    assert back.returncode == 0, back.stderr
    assert "Applied" in back.stdout
