"""Who notices a change: by the services and lists of features, and by what can be asked of Serve and MLflow."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from functools import cache

import pytest
import yaml

from configs import load_settings, model_names
from feature_repo.definitions.apply import Pending
from feature_repo.definitions.plan import Definitions, ServiceDefinition, ViewDefinition
from ray_cluster.lineage.impact import Dependent, Impact, ImpactReport, LiveModelError, dependents, guard, impact_of
from tests.ports import free_offset

WEATHER = ViewDefinition(
    "weather", (("origin", "String"),), (("temp", "Float64"), ("rain", "Float64")), 21600, "weather"
)
SERVICES = {
    "flight_risk": ServiceDefinition("flight_risk", (("weather", "temp"), ("weather", "rain"))),
    "other": ServiceDefinition("other", (("planes", "temp"),)),
}
BEFORE = Definitions({"weather": WEATHER}, {}, SERVICES)
SHORTER = Pending(BEFORE, Definitions({"weather": ViewDefinition(**{**vars(WEATHER), "ttl": 3600})}, {}, SERVICES))
NO_RAIN = Pending(
    BEFORE,
    Definitions({"weather": ViewDefinition(**{**vars(WEATHER), "features": (("temp", "Float64"),)})}, {}, SERVICES),
)
QUERY = Pending(
    Definitions({"weather": ViewDefinition(**{**vars(WEATHER), "query": "1"})}, {}, SERVICES),
    Definitions({"weather": ViewDefinition(**{**vars(WEATHER), "query": "2"})}, {}, SERVICES),
)


#: One offset for the file, as its tests run one after the other.
OFFSET = cache(free_offset)


@pytest.fixture
def settings(tmp_path):
    """An environment of which nothing is up."""
    return load_settings(variables={"HEADRACE_HOME": str(tmp_path), "HEADRACE_PORT_OFFSET": str(OFFSET())})


@contextmanager
def answering(port, answers):
    """A server on ``port`` that gives each path's JSON."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            content = answers.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


def declared(model, version, service="flight_risk"):
    return {
        "name": model,
        "args": {"feature_service": service},
        "deployments": [{"name": "Endpoint", "user_config": {"version": version}}],
    }


def taken(*features, service="flight_risk", live=True):
    return Dependent("flight_delay", service, 3, live, ("champion",), frozenset(features) if features else None)


@pytest.mark.parametrize(
    ("taker", "waiting", "takes"),
    [
        (taken("temp", "rain"), SHORTER, True),
        (taken("temp"), SHORTER, True),
        (taken("hour_of_day"), SHORTER, False),
        (taken("temp"), NO_RAIN, False),
        (taken("rain"), NO_RAIN, True),
        (taken(), NO_RAIN, True),  # its features are not known
        (taken("rain", service="other"), NO_RAIN, False),  # of the same name, from another view
        (taken("rain", service="gone"), NO_RAIN, False),
    ],
)
def test_a_version_takes_what_its_service_and_its_own_list_have(taker, waiting, takes):
    (change,) = waiting.changes
    assert taker.takes(change, waiting.before) is takes


def test_only_what_breaks_a_live_model_is_refused():
    (change,) = SHORTER.changes
    live, idle = taken("temp"), taken("temp", live=False)
    assert ImpactReport((Impact(change, (idle,)),), ()).breaks
    assert ImpactReport((Impact(change, (idle,)),), ()).refusal() is None
    assert ImpactReport((Impact(QUERY.changes[0], (live,)),), ()).refusal() is None
    assert ImpactReport((Impact(change, (idle, live)),), ()).refusal() == (
        "Nothing was applied: weather: TTL shortened, 6h → 1h, which the live model flight_delay version 3 (champion, "
        "live) uses; revert the change, deploy a version that does not need it, or apply anyway with "
        "`headrace apply --force`."
    )


def test_where_nothing_was_ever_registered_nobody_is_in_the_way(settings):
    known, notes = dependents(settings)
    assert known == [] and len(notes) == 2
    found = impact_of(settings, SHORTER)
    assert not found.breaks and found.refusal() is None


def test_with_both_servers_down_every_model_may_be_live(settings):
    (settings.home / "databases").mkdir()
    (settings.home / "databases" / "mlflow.db").touch()
    known, _ = dependents(settings)
    assert {each.model for each in known} == set(model_names())
    assert all(each.live and each.features is None and "MLflow is not running" in each.note for each in known)
    reason = impact_of(settings, NO_RAIN).refusal()
    assert reason and "may use" in reason and "MLflow is not running" in reason


def test_what_serve_was_last_told_to_run_is_live_while_it_is_down(settings):
    (settings.home / "serve").mkdir()
    kept = {"applications": [declared("flight_delay", 7), {"name": "gateway", "import_path": "x"}]}
    (settings.home / "serve" / "config.yaml").write_text(yaml.safe_dump(kept))
    (settings.home / "databases").mkdir()
    (settings.home / "databases" / "mlflow.db").touch()
    known, notes = dependents(settings)
    (found,) = [each for each in known if each.live]
    assert (found.model, found.version, found.features) == ("flight_delay", 7, None)
    assert "its last configuration counts as live" in notes[0] and {each.model for each in known} == set(model_names())


def test_the_endpoint_says_itself_which_features_it_takes(settings):
    running = {
        "flight_delay": {"status": "RUNNING", "deployed_app_config": declared("flight_delay", 7)},
        "old": {"status": "DELETING", "deployed_app_config": declared("old", 1)},
    }
    facts = {"/models/flight_delay/": {"name": "flight_delay", "version": 6, "features": ["temp"]}}
    with (
        answering(settings.ports["ray_dashboard"], {"/api/serve/applications/": {"applications": running}}),
        answering(settings.ports["serve"], facts),
    ):
        known, _ = dependents(settings)
        (found,) = [each for each in known if each.live]
        assert (found.model, found.version, found.features) == ("flight_delay", 6, frozenset({"temp"}))
        assert impact_of(settings, NO_RAIN).refusal() is None
        assert "flight_delay version 6" in str(impact_of(settings, SHORTER).refusal())
        shown = []
        with pytest.raises(LiveModelError, match="TTL shortened"):
            guard(settings, False, shown.append)(SHORTER)
        guard(settings, True, shown.append)(SHORTER)
        guard(settings, False, shown.append)(QUERY)
        assert [each.warnings for each in shown[1:]] == [
            ["weather: TTL shortened, 6h → 1h: breaks flight_delay version 6 (live)"],
            ["weather: query changed: changes feature values of flight_delay version 6 (live)"],
        ]


def test_safe_changes_ask_nobody(settings, monkeypatch):
    monkeypatch.setattr("ray_cluster.lineage.impact.dependents", None)
    found = impact_of(settings, Pending(Definitions(), BEFORE))
    assert [impact.change.effect for impact in found.impacts] == ["safe"] * 3 and not found.notes
