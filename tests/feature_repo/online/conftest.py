"""Settings of an empty home, with the definitions of drawn.py beside those of features.py."""

from __future__ import annotations

import pytest

from configs.settings import Settings, load_settings
from feature_repo import features
from feature_repo.online.sqlite_values import SqliteValues
from tests.feature_repo.online.drawn import DEFINITIONS
from tests.feature_repo.online.services import redis_values


@pytest.fixture
def environment(tmp_path, monkeypatch) -> Settings:
    for name, definition in DEFINITIONS.items():
        monkeypatch.setattr(features, name, definition, raising=False)
    return load_settings("local", {"HEADRACE_HOME": str(tmp_path / "home")})


@pytest.fixture(params=["sqlite", "redis"])
def values(request, environment):
    """The same store that ``environment`` opens, or one in Redis."""
    if request.param == "sqlite":
        yield SqliteValues(environment.home / "online.db")
    else:
        with redis_values() as found:
            yield found
