"""The promotion gates: each says what was measured against which bound, and none punishes better evidence."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.promotion import Gate
from ray_cluster.decisions.decision import Decision, promotion, replay
from ray_cluster.decisions.promotion_gates import GateError, judge_promotion


def evidence(**changes: Any) -> dict[str, Any]:
    """A challenger that passes every gate of ``STRICT``."""
    return {
        "gain": {
            "metric": "average_precision", "confidence": 0.9, "mean": 0.01, "low": 0.001, "high": 0.02, "share": 0.97,
            "days": 77, "rows": 9000,
        },
        "slices": [
            {"slice": "origin", "value": "EWR", "rows": 900, "positives": 200, "challenger": 0.70, "champion": 0.71},
            {"slice": "origin", "value": "LGA", "rows": 40, "positives": 10, "challenger": 0.10, "champion": 0.90},
        ],
        "latency_ms": {"challenger": 5.0, "champion": 4.0},
        "size_mb": {"challenger": 0.5, "champion": 0.4},
        "behaviour": [
            {"name": "later", "required": True, "passed": True, "says": "later is worse"},
            {"name": "optional", "required": False, "passed": False, "says": "nice to have"},
        ],
        "fairness": [{"column": "origin", "gaps": {"equal_opportunity": {"gap": 0.05}}, "bound": 0.1}],
    } | changes  # fmt: skip


STRICT = Gate(minimum={"roc_auc": 0.6}, ece=0.05, latency_ms=10, size_mb=1, fairness=True)
NEW = {"average_precision": 0.31, "roc_auc": 0.7, "ece": 0.02}
OLD = {"average_precision": 0.30, "roc_auc": 0.69, "ece": 0.03}


def test_every_gate_tells_what_it_measured():
    decision = promotion(NEW, OLD, STRICT, evidence())
    assert decision.action == "promote" and all(gate["passed"] for gate in decision.gates)
    assert [(gate["gate"], gate["bound"]) for gate in decision.gates] == [
        ("minimum ROC AUC", 0.6),
        ("gain in average precision", 0.0),
        ("gain, 90% sure", -0.01),
        ("worst slice", 0.05),
        ("calibration error", 0.05),
        ("rise of calibration error", 0.02),
        ("latency of one row, ms", 10.0),
        ("size of the bundle, MB", 1.0),
        ("behavioural tests", "0 failed"),
        ("fairness by origin", 0.1),
    ]
    assert replay(decision) == decision
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"gain": {**evidence()["gain"], "low": -0.02}},
            "With 90% confidence the gain in average precision is between -0.0200 and +0.0200 (in pairs, over 77 "
            "days); its lower end is not above -0.01.",
        ),
        (
            {"slices": [{**evidence()["slices"][0], "challenger": 0.6}]},
            "The slice origin = EWR (900 rows) goes from ROC AUC 0.7100 to 0.6000, a loss of 0.1100, more than 0.05.",
        ),
        ({"latency_ms": {"challenger": 12.0}}, "The latency of one row is 12.0 ms, above the bound 10 ms."),
        ({"size_mb": None}, "The size of the bundle was not measured; the gate requires at most 1 MB."),
        (
            {"behaviour": [{"name": "later", "required": True, "passed": False, "says": "later is worse"}]},
            "1 of 1 required behavioural tests fails: later (later is worse).",
        ),
        (
            {"fairness": [{"column": "origin", "gaps": {"equalised_odds": {"gap": 0.3}}, "bound": 0.1}]},
            "The largest gap between groups of origin is 0.300 (equalised odds), above the bound 0.1.",
        ),
    ],
)
def test_a_gate_that_is_not_passed_refuses_with_its_sentence(changes, reason):
    decision = promotion(NEW, OLD, STRICT, evidence(**changes))
    assert decision.action == "refuse" and decision.reasons == (reason,)


def test_calibration_is_bounded_and_may_rise_only_so_much():
    decision = promotion({**NEW, "ece": 0.06}, OLD, STRICT, evidence())
    assert decision.reasons == (
        "The expected calibration error is 0.0600, above the bound 0.05.",
        "The expected calibration error goes from the champion's 0.0300 to 0.0600; more than the rise of 0.02 that the "
        "gate allows.",
    )


def test_gaps_between_groups_are_shown_and_judged_only_where_the_gate_says_so():
    wide = [{"column": "origin", "gaps": {"equalised_odds": {"gap": 0.3}}, "bound": 0.1}]
    decision = promotion(NEW, OLD, Gate(), evidence(fairness=wide))
    assert decision.action == "promote" and decision.gates[-1]["passed"] is None
    assert decision.gates[-1]["reason"].endswith("above the bound 0.1; the gate does not use it (gate.fairness).")
    assert replay(decision, {"fairness": True}).action == "refuse"


def test_without_a_champion_nothing_is_compared():
    decision = promotion(NEW, None, STRICT, evidence(gain=None, slices=None))
    assert decision.action == "promote"
    assert {gate["gate"] for gate in decision.gates}.isdisjoint({"worst slice", "gain, 90% sure"})


@pytest.mark.parametrize(
    ("fresher", "refresh", "bounds", "action"),
    [
        (7.0, True, [-0.01, -0.01], "promote"),
        (7.0, False, [0.0, 0.0], "refuse"),
        (0.5, True, [0.0, 0.0], "refuse"),
        (-7.0, True, [0.0, 0.0], "refuse"),
    ],
)
def test_a_refresh_has_the_same_bound_in_both_gates_of_the_gain(fresher, refresh, bounds, action):
    """A version that is a little worse: it may be, if it knows more."""
    gain = {**evidence()["gain"], "low": -0.008, "high": 0.002, "at_least": -0.012, "alpha": 0.025, "attempt": 1}
    worse = {**NEW, "average_precision": 0.297}
    decision = promotion(worse, OLD, Gate(refresh=refresh), evidence(gain=gain, fresher=fresher))
    measured, sure = (gate for gate in decision.gates if gate["gate"].startswith("gain"))
    assert [measured["bound"], sure["bound"]] == bounds and decision.action == action
    assert sure["measured"] == (-0.008 if action == "promote" else -0.012)
    assert ("is fitted on 7 more days" in measured["reason"]) == (action == "promote")
    assert replay(decision) == decision


def test_an_interval_of_another_confidence_is_not_taken():
    decision = promotion(NEW, OLD, STRICT, evidence())
    with pytest.raises(GateError, match=r"measured at confidence 0.9, not 0.95; register a new run"):
        replay(decision, {"confidence": 0.95})
    assert replay(decision, {"tolerance": 0.0}).action == "promote"  # the lower end lies above zero


shares = st.floats(0, 1)
steps = st.floats(0, 0.5)


@given(
    st.fixed_dictionaries({"average_precision": shares, "roc_auc": shares, "ece": shares}),
    st.none() | st.fixed_dictionaries({"average_precision": shares, "roc_auc": shares, "ece": shares}),
    st.floats(-0.1, 0.1), shares, st.floats(0, 20), st.floats(0, 2), st.booleans(), shares,
    st.lists(steps, min_size=8, max_size=8),
)  # fmt: skip
def test_better_evidence_never_turns_promote_into_refuse(new, old, low, auc, slow, big, passes, gap, better):
    facts = evidence()
    facts["gain"]["low"], facts["slices"][0]["challenger"] = low, auc
    facts["latency_ms"]["challenger"], facts["size_mb"]["challenger"] = slow, big
    facts["behaviour"][0]["passed"], facts["fairness"][0]["gaps"]["equal_opportunity"]["gap"] = passes, gap
    decision = promotion(new, old, STRICT, facts)
    assert replay(decision) == decision and decision.reasons
    improved = copy.deepcopy(facts)
    improved["gain"]["low"] += better[0]
    improved["slices"][0]["challenger"] += better[1]
    improved["latency_ms"]["challenger"] -= better[2]
    improved["size_mb"]["challenger"] -= better[3]
    improved["behaviour"][0]["passed"] = True
    improved["fairness"][0]["gaps"]["equal_opportunity"]["gap"] -= better[4]
    higher = {
        "average_precision": new["average_precision"] + better[5],
        "roc_auc": new["roc_auc"] + better[6],
        "ece": new["ece"] - better[7],
    }
    before = {result.gate: result.passed for result in judge_promotion(decision.evidence, decision.policy)}
    again = promotion(higher, old, STRICT, improved)
    after = {result.gate: result.passed for result in judge_promotion(again.evidence, again.policy)}
    assert all(after[gate] or not passed for gate, passed in before.items())
    if decision.action == "promote":
        assert again.action == "promote"
