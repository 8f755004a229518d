"""What ``headrace status`` says of the features: how old they are, whether that is too old, what the store holds."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs import Settings, load_settings
from feature_repo.materialization.view_files import ViewState, remember
from feature_repo.online import open_values
from feature_repo.online.layout import layouts
from flows.stack.status import sections

NOW = datetime(2013, 12, 17, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    variables = {"HEADRACE_HOME": str(tmp_path), "HEADRACE_PORT_OFFSET": "19870", "HEADRACE_ENV": "local"}
    return load_settings(variables=variables).model_copy(update={"clock": NOW})


def materialized(settings: Settings, view: str, latest: str, until: str | None, stored: str | None) -> None:
    state = ViewState(view=view, rows=26114, code="c", tables={}, online_until=until, latest_event=latest)
    remember(settings, state)
    if stored:
        values = open_values(settings)
        values.set_known_until(layouts(settings)[view], datetime.fromisoformat(stored))
        values.close()


def features(settings: Settings) -> dict[str, tuple[str, ...]]:
    (section,) = [each for each in sections(settings) if each.title == "Features"]
    assert section.columns == ("view", "rows", "latest event", "online as of", "TTL", "age", "state")
    return {row[0]: row[1:] for row in section.rows}


def test_age_ttl_and_what_they_come_to(settings: Settings) -> None:
    until = "2013-12-16T22:00:00+00:00"
    # more has been computed than was brought online: the newest value online is as old as the materialization
    materialized(settings, "weather", "2013-12-30T00:00:00+00:00", until, until)
    assert features(settings)["weather"] == (
        "26,114",
        "2013-12-30 00:00",
        "2013-12-16 22:00",
        "6 h",
        "2 h",
        "fresh",
    )
    # brought online just now, but nothing newer than seven hours is known
    materialized(settings, "weather", "2013-12-16T16:59:00+00:00", NOW.isoformat(), NOW.isoformat())
    assert features(settings)["weather"][4:] == ("7 h 1 min", "stale")
    materialized(settings, "plane_attributes", "2013-01-01T00:00:00+00:00", until, until)
    assert features(settings)["plane_attributes"][3:] == ("none", "350 d", "fresh")


def test_what_a_replay_brought_online_is_ahead_of_the_clock(settings: Settings) -> None:
    until = "2013-12-30T20:00:00+00:00"
    materialized(settings, "weather", until, until, until)
    assert features(settings)["weather"][2:] == ("2013-12-30 20:00", "6 h", "", "ahead")


def test_never_and_a_store_that_differs_from_the_record(settings: Settings) -> None:
    materialized(settings, "weather", "2013-12-16T16:59:00+00:00", None, None)
    assert features(settings)["weather"][2:] == ("never", "6 h", "", "never")
    until = "2013-12-16T22:00:00+00:00"
    materialized(settings, "weather", until, until, None)
    assert features(settings)["weather"][-1] == "fresh; the online store says never"
    materialized(settings, "weather", until, until, "2013-12-15T22:00:00+00:00")
    assert features(settings)["weather"][-1] == "fresh; the online store says 2013-12-15 22:00"


def test_it_does_not_import_feast(settings: Settings) -> None:
    until = "2013-12-16T22:00:00+00:00"
    materialized(settings, "weather", until, until, until)
    program = (
        "import sys\nfrom configs import load_settings\nfrom flows.stack.status import sections\n"
        f"s = load_settings(variables={{'HEADRACE_HOME': {str(settings.home)!r}, 'HEADRACE_PORT_OFFSET': '19870'}})\n"
        "assert [each for each in sections(s) if each.title == 'Features'][0].rows\n"
        "sys.exit('feast' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
