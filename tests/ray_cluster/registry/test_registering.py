"""Registration on a real MLflow server: versions, decisions, aliases, approval, rollback, retirement, kills."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta

import pytest
from mlflow import MlflowClient

from configs import load_model
from configs.promotion import Approval, Gate
from ray_cluster import registry
from ray_cluster.decisions.decision import Decision, replay
from ray_cluster.promotion.model_card import status_of
from ray_cluster.promotion.registration import register
from ray_cluster.promotion.transitions import RetirementError, approve, reject, retire, roll_back
from tests.ray_cluster.registry.conftest import in_process


def spec_of(model: str, **gate):
    return load_model("flight_delay").model_copy(
        update={"name": model, "slices": ["carrier"], "gate": Gate(**{"slice_drop": 0.2, **gate})}
    )


def test_a_first_version_is_promoted_with_all_its_evidence_and_once(settings, run):
    spec, run_id = spec_of("first"), run("first", "a")
    done = register(settings, spec, run_id, {"headrace.flow_run": "x"})
    assert (done.version, done.champion, done.decision.action, done.unchanged) == (1, 1, "promote", False)
    again = register(settings, spec, run_id, {})
    assert (again.version, again.champion, again.unchanged) == (1, 1, True)
    facts = registry.champion(settings, "first")
    assert facts.aliases == ("champion",) and status_of(facts) == "champion"
    assert facts.tags["headrace.action"] == "promote" and facts.tags["headrace.promoted_by"] == "the gate"
    assert facts.description.startswith("**first version 1**")
    evidence = registry.evidence(settings, run_id)
    stored = Decision.from_dict(evidence.decision)
    assert replay(stored) == stored == done.decision
    assert [event["what"] for event in evidence.history] == ["decided: promote", "promoted"]
    assert {gate["gate"] for gate in stored.gates} >= {"gain in average precision", "size of the bundle, MB"}


@pytest.mark.parametrize(("fitted_until", "days"), [("2013-01-21T00:00:00+00:00", 20), ("2013-02-04", 6)])
def test_rows_that_the_champion_was_fitted_on_are_not_compared(settings, run, fitted_until, days):
    """A champion of a later as_of, or of a shorter held-out period, has seen the first of the challenger's rows."""
    model = f"overlap{days}"
    spec = spec_of(model)
    register(settings, spec, run(model, "a", rounds=4, held_out_from=fitted_until), {})
    decision = register(settings, spec, run(model, "b", rounds=40), {}).decision
    overlap = decision.evidence["overlap"]
    local = days + 1  # in New York they begin on the evening before
    assert (overlap["rows"], overlap["of"], overlap["days"]) == (days * 30, 1200, local)
    if days >= 10:
        gain = decision.evidence["gain"]
        assert (gain["days"], gain["rows"]) == (local, days * 30) and gain["mean"] > 0
    else:
        assert decision.action == "refuse" and "gain" not in decision.evidence
        assert any(
            reason.startswith("The champion was fitted on rows until 2013-02-04, and only 180 of the 1,200 held-out")
            for reason in decision.reasons
        )


@pytest.mark.long
def test_an_equal_challenger_is_refused_unless_it_was_fitted_on_newer_rows(settings, run):
    """Each comparison on the same rows may be wrong less often than the one before."""
    spec = spec_of("fresh")
    register(settings, spec, run("fresh", "a"), {})
    refused = register(settings, spec, run("fresh", "b", rounds=22), {}).decision
    assert refused.action == "refuse" and refused.evidence["fresher"] == 0
    gain = refused.evidence["gain"]
    assert gain["attempt"] == 1 and gain["alpha"] == pytest.approx(0.025)
    assert gain["at_least"] < gain["low"] < gain["mean"]
    again = register(settings, spec, run("fresh", "c", rounds=21), {}).decision
    assert again.action == "refuse" and again.evidence["gain"]["alpha"] == pytest.approx(0.05 / 6)

    newer = run("fresh", "d", rounds=21, served_until="2013-02-20T00:00:00+00:00")
    assert register(settings, spec.model_copy(update={"gate": Gate(refresh=False)}), newer, {}).champion == 1
    newer = run("fresh", "e", rounds=21, served_until="2013-02-20T00:00:00+00:00")
    refreshed = register(settings, spec_of("fresh", tolerance=0.05), newer, {})
    assert refreshed.champion == refreshed.version == 5
    assert refreshed.decision.evidence["fresher"] == 50
    assert "the challenger is fitted on 50 more days, so that it only has to be worse by at most 0.05." in " ".join(
        refreshed.decision.reasons
    )
    # the new champion has seen the rows from its held-out period on, but its own training has scores of them
    later = register(settings, spec, run("fresh", "f", rounds=40), {}).decision
    assert later.evidence["gain"]["rows"] == 1200 and "overlap" not in later.evidence
    assert later.evidence["fresher"] == -50


def test_a_blind_challenger_is_refused_and_a_better_one_wins_on_the_same_rows(settings, run):
    spec = spec_of("contest").model_copy(update={"timezone": "UTC"})
    register(settings, spec, run("contest", "a", rounds=4, blind=True), {})
    refused = register(settings, spec, run("contest", "b", blind=True), {})
    assert refused.decision.action == "refuse" and refused.champion == 1
    assert registry.aliased(settings, "contest", "challenger").version == 2
    better = register(settings, spec, run("contest", "c", rounds=40), {})
    assert better.champion == 3, better.decision.reasons
    gain = better.decision.evidence["gain"]
    assert gain["low"] <= gain["mean"] <= gain["high"] and gain["days"] == 40
    assert better.decision.evidence["versions"] == {"challenger": 3, "champion": 1}
    assert {part["value"] for part in better.decision.evidence["slices"]} == {"AA", "UA"}
    assert registry.aliased(settings, "contest", "challenger").version == 2  # the newest that was refused

    # back to the first, who and why on record, and a later registration of the same run does not undo it
    assert roll_back(settings, "contest", None, "ann", "complaints") == (3, 1)
    assert register(settings, spec, better.run_id, {}).champion == 1
    assert registry.history(settings, better.run_id)[-1] | {"at": 0} == {
        "at": 0, "what": "rolled back", "by": "ann", "why": "complaints", "to": 1,
    }  # fmt: skip
    with pytest.raises(registry.RegistryError, match=r"'contest' has no earlier champion to roll back to"):
        roll_back(settings, "contest", None, "ann", "")
    with pytest.raises(
        registry.RegistryError, match=r"Version 2 of 'contest' was never champion.*earlier champion: 3, 1\."
    ):
        roll_back(settings, "contest", 2, "ann", "")
    with pytest.raises(registry.RegistryError, match=r"Version 1 of 'contest' is champion already"):
        roll_back(settings, "contest", 1, "ann", "")

    # retiring: not what is champion or shadow or what Serve will load; then never again
    kept = {"name": "contest", "args": {"feature_service": "flight_risk"}}
    kept["deployments"] = [{"name": "Endpoint", "user_config": {"version": 3}}]
    path = settings.home / "serve" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"applications": [kept]}), encoding="utf-8")
    with pytest.raises(RetirementError, match=r"Version 3 of 'contest' answers requests, or will when"):
        retire(settings, "contest", 3, "old", "ann")
    path.unlink()
    with pytest.raises(RetirementError, match=r"Version 1 of 'contest' is champion and cannot be retired; first"):
        retire(settings, "contest", 1, "old", "ann")
    registry.point(settings, "contest", 2, "shadow")
    with pytest.raises(RetirementError, match=r"Version 2 of 'contest' is shadow and cannot be retired"):
        retire(settings, "contest", 2, "old", "ann")
    assert registry.remove(settings, "contest", "shadow") and not registry.remove(settings, "contest", "shadow")
    retired = retire(settings, "contest", 2, "blind", "ann", delete_artifacts=True)
    assert status_of(retired) == "retired" and registry.aliased(settings, "contest", "challenger") is None
    for call in (
        lambda: registry.point(settings, "contest", 2, "shadow"),
        lambda: registry.promote(settings, "contest", 2),
        lambda: approve(settings, "contest", 2, "ann", ""),
    ):
        with pytest.raises(registry.RegistryError, match=r"Version 2 of 'contest' was retired on .* \(blind\); choose"):
            call()
    with pytest.raises(registry.RegistryError, match=r"its model files were removed on"):
        registry.load_version(settings, "contest", 2)
    assert registry.evidence(settings, refused.run_id).decision["action"] == "refuse"
    assert len(registry.reference(settings, refused.run_id)) == 1200
    with pytest.raises(registry.AliasError, match=r"There is no alias 'shadw'. Did you mean 'shadow'\?"):
        registry.point(settings, "contest", 1, "shadw")
    with pytest.raises(registry.AliasError, match="The alias champion is moved by a decision, not by hand"):
        registry.point(settings, "contest", 1, "champion")


def test_a_registration_reads_the_files_of_each_run_once(settings, run, monkeypatch):
    spec, first, second = spec_of("once"), run("once", "a", rounds=4), run("once", "b", rounds=30)
    register(settings, spec, first, {})
    read = Counter()

    def counting(name, real):
        def call(settings, run_id):
            read[name, run_id] += 1
            return real(settings, run_id)

        return call

    for name in ("evidence", "reference"):
        monkeypatch.setattr(registry, name, counting(name, getattr(registry, name)))
    register(settings, spec, second, {})
    assert read == {
        ("evidence", first): 1,
        ("evidence", second): 2,  # again for the card, with the decision
        ("reference", first): 1,
        ("reference", second): 1,
    }
    known = registry.versions(settings, "once")
    assert [(each.version, each.metrics) for each in known] == [
        (number, registry.version(settings, "once", number).metrics) for number in (2, 1)
    ]
    assert all("average_precision" in each.metrics for each in known)


def test_an_approval_is_waited_for_and_kept(settings, run):
    asking = settings.model_copy(
        update={"approval": Approval(required=True, approvers=["ann", "bob"], timeout=timedelta(days=1))}
    )
    spec, run_id = spec_of("asked"), run("asked", "a", blind=True)
    done = register(asking, spec, run_id, {}, flow_run="f1")
    assert (done.decision.action, done.approval, done.champion) == ("promote", "waiting", None)
    assert registry.aliased(settings, "asked", "challenger").version == 1
    again = register(asking, spec, run_id, {}, flow_run="f2")
    assert (again.approval, again.unchanged) == ("waiting", True)
    assert registry.version(settings, "asked", 1).tags["headrace.approval_run"] == "f2"
    with pytest.raises(
        registry.ApprovalError,
        match=r"'anne' may not approve in the environment 'embedded'. Did you mean 'ann'\? Approvers .*: ann, bob\.",
    ):
        approve(asking, "asked", 1, "anne", "")
    with pytest.raises(registry.ApprovalError, match="An approval needs a name"):
        approve(asking, "asked", 1, " ", "")
    approved = approve(asking, "asked", 1, "ann", "looks right")
    assert approved.aliases == ("champion",) and approved.tags["headrace.approval_comment"] == "looks right"
    kept = registry.evidence(settings, run_id)
    assert kept.approval["by"] == "ann" and kept.approval["state"] == "approved"
    assert [event["what"] for event in kept.history].count("promoted") == 1
    with pytest.raises(registry.ApprovalError, match=r"not wait for approval: it was approved by ann on .* none\."):
        approve(asking, "asked", 1, "bob", "")
    assert register(asking, spec, run_id, {}).unchanged

    # two wait; one is approved, so the other was measured against a champion that is no longer there
    second, third = run("asked", "b", rounds=40), run("asked", "c", rounds=41)
    assert register(asking, spec, second, {}).approval == "waiting"
    assert register(asking, spec, third, {}).approval == "waiting"
    approve(asking, "asked", 2, "bob", "")
    with pytest.raises(
        registry.ApprovalError, match=r"was measured against version 1, but version 2 is champion now; decide again"
    ):
        approve(asking, "asked", 3, "bob", "")
    anew = register(asking, spec, third, {})
    assert anew.decision.evidence["versions"]["champion"] == 2 and not anew.unchanged

    fourth = run("asked", "d", rounds=200)
    waits = register(asking, spec_of("asked", tolerance=1, ece_rise=1), fourth, {})
    if waits.approval == "waiting":
        reject(asking, "asked", 4, "bob", "not yet")
        assert status_of(registry.version(settings, "asked", 4)) == "rejected"
        assert register(asking, spec, fourth, {}).champion == 2


def test_what_cannot_be_approved_or_found_is_one_sentence(settings, run):
    spec, run_id = spec_of("plain"), run("plain", "a")
    facts = registry.register_run(settings, "plain", run_id, {})
    with pytest.raises(registry.ApprovalError, match="it is not decided yet; run `headrace run register"):
        approve(settings, "plain", facts.version, "ann", "")
    register(settings, spec, run_id, {})
    with pytest.raises(registry.ApprovalError, match=r"does not wait for approval: it was promoted on .* by the gate"):
        approve(settings, "plain", 1, "ann", "")
    with pytest.raises(registry.RegistryError, match=r"Model 'plain' has no version 9; registered: 1\."):
        approve(settings, "plain", 9, "ann", "")
    with pytest.raises(registry.RegistryError, match=r"There is no training run 'nope'"):
        register(settings, spec, "nope", {})


REGISTER = """
import os, sys
from configs import load_settings
settings = load_settings()
os.environ.update(settings.variables())
from ray_cluster.promotion.registration import register
from tests.ray_cluster.registry.test_registering import spec_of
import json
done = register(settings, spec_of(sys.argv[1] if len(sys.argv) > 1 else "{model}"), "{run}", {{}})
print(json.dumps([done.version, done.champion]))
"""


@pytest.mark.long
def test_two_processes_at_once_make_two_versions_and_one_champion(settings, run, mlflow_home):
    runs = [run("twins", "a"), run("twins", "b", rounds=30), run("twins", "b", rounds=30)]
    runs[2] = runs[1]  # one of them twice
    started = [in_process(mlflow_home, REGISTER.format(model="twins", run=each)) for each in runs]
    answers = []
    for process in started:
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err[-2000:]
        answers.append(json.loads(out.splitlines()[-1]))
    assert {version for version, _ in answers} == {1, 2} and answers[1][0] == answers[2][0]
    known = registry.versions(settings, "twins")
    assert len(known) == 2 and sum("champion" in each.aliases for each in known) == 1
    later = next(each for each in known if each.version == 2)
    assert registry.evidence(settings, later.run_id).decision["evidence"]["versions"]["champion"] == 1


class Cut(BaseException):
    """Stands where kill -9 would fall, as far as one process can."""


WRITES = (
    "create_registered_model",
    "create_model_version",
    "log_text",
    "set_model_version_tag",
    "set_registered_model_alias",
    "update_model_version",
)


def _cut_after(monkeypatch, number: int) -> None:
    """Stop after so many writes to MLflow."""
    count = 0
    for name in WRITES:
        real = getattr(MlflowClient, name)

        def writing(*arguments, _real=real, **named):
            nonlocal count
            done = _real(*arguments, **named)
            count += 1
            if count == number:
                raise Cut
            return done

        monkeypatch.setattr(MlflowClient, name, writing)


@pytest.mark.parametrize("numbers", [(2, 5, 9), pytest.param(tuple(range(1, 40)), marks=pytest.mark.long)])
def test_cut_off_after_any_write_and_run_again_it_ends_the_same(settings, run, monkeypatch, numbers):
    whole = None
    for number in numbers:
        model = f"cut{number}of{len(numbers)}"
        spec, run_id = spec_of(model), run(model, "a")
        with monkeypatch.context() as patched:
            _cut_after(patched, number)
            try:
                register(settings, spec, run_id, {})
            except Cut:
                pass
            else:
                break  # more steps than there are writes
        again = register(settings, spec, run_id, {})
        assert (again.version, again.champion) == (1, 1)
        (facts,) = registry.versions(settings, model)
        history = [event["what"] for event in registry.history(settings, run_id)]
        tags = {name for name in facts.tags if name.startswith("headrace.")}
        assert history == ["decided: promote", "promoted"], (number, history)
        whole = whole or tags
        assert tags == whole, number
        assert facts.description and register(settings, spec, run_id, {}).unchanged
    else:
        assert len(numbers) < 10, "there are more writes than were tried"


@pytest.mark.long
@pytest.mark.parametrize("number", [2, 7, 10])
def test_kill_9_after_a_write_and_the_same_command_again(settings, run, mlflow_home, number):
    model = f"killed{number}"
    run_id = run(model, "a")
    code = REGISTER.format(model=model, run=run_id)
    killing = f"""
import os, signal
from mlflow import MlflowClient
from tests.ray_cluster.registry.test_registering import WRITES
count = 0
def killing(real):
    def call(*arguments, **named):
        global count
        done = real(*arguments, **named)
        count += 1
        if count == {number}:
            os.kill(os.getpid(), signal.SIGKILL)
        return done
    return call
for name in WRITES:
    setattr(MlflowClient, name, killing(getattr(MlflowClient, name)))
"""
    killed = in_process(mlflow_home, killing + code)
    assert killed.wait(timeout=240) == -9
    again = in_process(mlflow_home, code)
    out, err = again.communicate(timeout=240)
    assert again.returncode == 0, err[-2000:]
    assert json.loads(out.splitlines()[-1]) == [1, 1]
    (facts,) = registry.versions(settings, model)
    assert facts.aliases == ("champion",) and facts.tags["headrace.card"]
