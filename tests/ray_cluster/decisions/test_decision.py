"""Decisions: the rules, their reasons, and that every one of them can be made again from its own evidence."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.model import Monitoring
from configs.promotion import Gate
from ray_cluster.decisions.decision import Decision, DecisionError, monitoring_verdict, promotion, replay

scores = st.floats(0, 1)
gates = st.builds(
    Gate,
    metric=st.sampled_from(["average_precision", "roc_auc"]),
    margin=st.floats(0, 0.2),
    minimum=st.dictionaries(st.sampled_from(["average_precision", "roc_auc"]), scores),
)
metrics = st.fixed_dictionaries({"average_precision": scores, "roc_auc": scores})


def measured(**changes: Any) -> dict[str, Any]:
    features = [{"feature": f"f{i}", "psi": 0.01} for i in range(10)]
    return {"rows": 5000, "features": features, "prediction": {"psi": 0.02}, "performance": None} | changes


def performed(**changes: Any) -> dict[str, Any]:
    facts = {"outcomes": 4000, "positives": 800, "metric": "average_precision", "live": 0.40, "held_out": 0.41}
    return facts | {"drop": 0.01, "drop_low": -0.02, "drop_high": 0.04} | changes


def test_a_better_challenger_is_promoted() -> None:
    decision = promotion({"average_precision": 0.302}, {"average_precision": 0.300}, Gate(margin=0.002))
    assert decision.action == "promote"
    assert decision.reasons == (
        "The challenger's average precision 0.3020 exceeds the champion's 0.3000 by 0.0020 on the same held-out rows; "
        "the gate requires 0.002.",
    )


def test_a_refusal_names_the_metric_both_values_and_the_margin() -> None:
    decision = promotion(
        {"average_precision": 0.301, "roc_auc": 0.55},
        {"average_precision": 0.300, "roc_auc": 0.7},
        Gate(margin=0.002, minimum={"roc_auc": 0.6}),
    )
    assert decision.action == "refuse"
    assert decision.reasons == (
        "The challenger's ROC AUC 0.5500 is below the minimum 0.6.",
        "The challenger's average precision 0.3010 exceeds the champion's 0.3000 by 0.0010 on the same held-out rows, "
        "less than the margin 0.002.",
    )


@pytest.mark.parametrize("new", [0.29, 0.30])
def test_no_gain_is_refused_even_without_a_margin(new: float) -> None:
    decision = promotion({"average_precision": new}, {"average_precision": 0.30}, Gate(margin=0))
    assert decision.action == "refuse" and f"{new:.4f}" in decision.reasons[0] and "0.3000" in decision.reasons[0]


@pytest.mark.parametrize(("value", "action"), [(0.61, "promote"), (0.59, "refuse")])
def test_the_first_version_needs_the_minimum_only(value: float, action: str) -> None:
    gate = Gate(metric="roc_auc", minimum={"roc_auc": 0.6})
    assert promotion({"roc_auc": value}, None, gate).action == action


def test_a_metric_that_is_no_number_counts_as_missing() -> None:
    decision = promotion({"average_precision": float("nan")}, None, Gate(minimum={"average_precision": 0.1}))
    assert decision.action == "refuse" and "has no average precision" in decision.reasons[0]


@given(metrics, metrics | st.none(), gates, scores)
def test_promotion_replays_and_is_monotone(new: Any, old: Any, gate: Gate, more: float) -> None:
    decision = promotion(new, old, gate)
    assert replay(decision) == decision
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    assert all(reason.endswith(".") for reason in decision.reasons) and decision.reasons
    if decision.action == "promote":
        better = {name: max(value, more) for name, value in new.items()}
        assert promotion(better, old, gate).action == "promote"
    else:
        assert replay(decision, {"margin": gate.margin + more}).action == "refuse"


def gained(**changes: Any) -> Decision:
    facts = {"metric": "average_precision", "confidence": 0.9, "mean": 0.02, "low": 0.01, "high": 0.03, "days": 77}
    gain = {name: value for name, value in (facts | changes).items() if value != "left out"}
    return promotion({"average_precision": 0.32}, {"average_precision": 0.3}, Gate(), {"gain": gain})


def test_a_missing_interval_of_the_gain_is_refused_with_the_reason_that_was_measured() -> None:
    why = "All rows of one class are of one day, so the metric is not defined without that day."
    decision = gained(low=None, high=None, why=why)
    assert decision.action == "refuse"
    assert decision.reasons == (
        "The held-out rows give no interval of the gain, so the challenger's gain is not reliable. "
        f"{why} Use a longer split.held_out.",
    )


def test_decisions_whose_evidence_has_a_bootstrap_of_blocks_are_made_again_with_the_same_sentence() -> None:
    decision = gained(days="left out", block="day", blocks=1077)
    assert decision.action == "promote" and replay(decision) == decision
    assert decision.gates[1]["reason"] == (
        "With 90% confidence the gain in average precision is between +0.0100 and +0.0300 (paired bootstrap of 1,077 "
        "days); its lower end is above -0.01."
    )
    assert "(in pairs, over 77 days)" in gained().gates[1]["reason"]
    missing = gained(days="left out", block="row", blocks=300, low=None, high=None)
    assert missing.reasons == (
        "The held-out rows give no interval of the gain, so the challenger's gain is not reliable.",
    )


def test_a_champion_that_saw_the_held_out_rows_is_not_compared() -> None:
    overlap = {"until": "2013-12-10T00:00:00+00:00", "rows": 900, "of": 7000, "days": 6}
    decision = promotion({"average_precision": 0.32}, {}, Gate(), {"overlap": overlap})
    assert decision.action == "refuse" and "only 900 of the 7,000 held-out rows, of 6 days" in decision.reasons[0]
    assert "has no average precision" in promotion({"average_precision": 0.32}, {}, Gate()).reasons[0]


def test_wait_below_the_fewest_rows() -> None:
    decision = monitoring_verdict(measured(rows=999, prediction={"psi": 9.0}), Monitoring(min_rows=1000))
    assert decision.action == "wait"
    assert decision.reasons == ("999 predictions are logged; drift is judged from 1,000 onwards.",)


def test_ignored_features_do_not_count() -> None:
    features = [{"feature": name, "psi": 0.9} for name in "abc"] + [{"feature": f"f{i}", "psi": 0.0} for i in range(7)]
    assert monitoring_verdict(measured(features=features), Monitoring(drifted_share=0.3)).action == "retrain"
    decision = monitoring_verdict(measured(features=features), Monitoring(drifted_share=0.3, ignore=["a"]))
    assert decision.action == "keep"
    assert "2 of 9 watched features (22%) have drifted, the most in b (PSI 0.90, above 0.25)" in decision.reasons[0]
    assert monitoring_verdict(measured(features=features[:3]), Monitoring(ignore=["a", "b", "c"])).action == "keep"


def test_what_the_reference_does_by_itself_is_no_drift() -> None:
    features = [{"feature": name, "psi": 0.9, "natural": 1.3} for name in "abc"]
    facts = measured(
        features=[
            {"feature": "x", "psi": 0.9, "natural": 0.4},
            *features,
            {"feature": "y", "psi": 0.005, "natural": 0.0},
        ],
        prediction={"psi": 0.5, "natural": 0.6},
        stretches={"days": 14, "count": 64},
    )
    decision = monitoring_verdict(facts, Monitoring(feature_psi=0.2))
    assert decision.action == "keep"
    assert decision.reasons[:2] == (
        "1 of 5 watched features (20%) has drifted, the most in x (PSI 0.90, above 0.2 and above 0.40, the most that "
        "any 2 weeks of the reference differ from the rest); that is less than the bound of 30%. 3 more have a PSI "
        "above 0.2, but within the most that any 2 weeks of the reference differ from the rest.",
        "The predicted scores have a PSI of 0.50, above 0.25 but within 0.60, the most that any 2 weeks of the "
        "reference differ from the rest.",
    )
    assert replay(decision) == decision
    assert replay(decision, {"drifted_share": 0.2}).action == "retrain"
    assert replay(decision, {"feature_psi": 0.01, "prediction_psi": 0.01}).action == "keep"  # the evidence holds it
    louder = monitoring_verdict({**facts, "prediction": {"psi": 0.7, "natural": 0.6}}, Monitoring())
    assert louder.action == "retrain" and "PSI 0.70, above 0.25 and above 0.60, the most that" in louder.reasons[0]


def test_an_unknown_natural_variation_is_said() -> None:
    facts = measured(prediction={"psi": 0.3, "natural": None}, stretches={"unknown": "The reference spans a day."})
    decision = monitoring_verdict(facts, Monitoring())
    assert decision.action == "retrain"
    assert decision.reasons[-1] == "The reference spans a day. Drift is judged by the policy's bounds alone."


def test_drifted_predictions_mean_retrain() -> None:
    decision = monitoring_verdict(measured(prediction={"psi": 0.31}), Monitoring())
    assert decision.action == "retrain"
    assert decision.reasons == ("The predicted scores have drifted: PSI 0.31, above 0.25.",)


@pytest.mark.parametrize(
    ("facts", "action", "words"),
    [
        ({}, "keep", "within the bound of 0.05"),
        ({"drop": 0.08, "drop_low": 0.03, "drop_high": 0.13, "live": 0.33}, "retrain", "more than the bound of 0.05"),
        ({"drop": 0.08, "drop_low": -0.01, "drop_high": 0.17}, "keep", "the interval includes a drop of zero"),
        ({"drop": 0.03, "drop_low": 0.01, "drop_high": 0.05}, "keep", "within the bound"),
        ({"drop": -0.03, "drop_low": -0.05, "drop_high": -0.01}, "keep", "has risen by 0.030"),
        ({"drop": 0.3, "drop_low": None, "drop_high": None, "days": 4}, "keep", "4 days have arrived; performance is"),
        ({"drop": 0.3, "drop_low": 0.2, "outcomes": 200}, "keep", "performance is judged from 1,000 outcomes"),
        ({"drop": 0.3, "drop_low": 0.2, "positives": 12}, "keep", "12 of the rarer class"),
        ({"outcomes": 0}, "keep", "No outcome has arrived"),
    ],
)
def test_performance(facts: dict[str, Any], action: str, words: str) -> None:
    decision = monitoring_verdict(measured(performance=performed(**facts)), Monitoring(min_rows=1000))
    assert decision.action == action
    assert any(words in reason for reason in decision.reasons)


@given(st.lists(st.floats(0, 2), max_size=8), st.floats(0, 2), st.integers(0, 3000), st.floats(0.01, 1))
def test_monitoring_replays_and_retrains_the_more_the_lower_the_bounds(
    psi: list[float], score: float, rows: int, bound: float
) -> None:
    facts = measured(
        rows=rows, features=[{"feature": str(i), "psi": p} for i, p in enumerate(psi)], prediction={"psi": score}
    )
    decision = monitoring_verdict(facts, Monitoring(feature_psi=bound, prediction_psi=bound))
    assert replay(decision) == decision
    assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision
    if decision.action == "retrain":
        assert replay(decision, {"feature_psi": bound / 2, "prediction_psi": bound / 2}).action == "retrain"


def test_a_stored_decision_that_cannot_be_read_says_why() -> None:
    with pytest.raises(DecisionError, match="has no policy"):
        Decision.from_dict({"rule": "promotion", "action": "keep", "reasons": [], "evidence": {}})
    with pytest.raises(DecisionError, match="action = 'maybe'"):
        Decision.from_dict({"rule": "promotion", "action": "maybe", "reasons": [], "evidence": {}, "policy": {}})
