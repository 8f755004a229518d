"""Decisions: the rules, their reasons, and that every one of them can be made again from its own evidence."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from configs.model import Monitoring
from configs.promotion import Gate
from ray_cluster.decisions.daily_looks import weekly_quantile
from ray_cluster.decisions.decision import Decision, DecisionError, monitoring_verdict, promotion, replay
from ray_cluster.decisions.monitoring_rules import SHARES, boundary, natural_bound

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


def change(held_out: float, by: float, error: float) -> dict[str, float]:
    return {"live": held_out + by, "held_out": held_out, "change": by, "error": error, "freedom": 11.0}


def performed(gap: float = 0.0, cost: float = 0.0, ranking: float = 0.0, error: float = 0.002, **facts: Any) -> Any:
    """Performance that changed by these amounts, each with the same standard error."""
    changes = {
        "calibration_gap": change(0.0, gap, error),
        "cost": change(0.0, cost, error),
        "ranking": change(0.0, ranking, error),
    }
    return {
        "outcomes": 4000,
        "positives": 800,
        "predicted_positives": 4000 * (0.2 + gap),
        "days": 30,
        "rate": 0.2,
        "held_out_rate": 0.2,
        "metric": "roc_auc",
        "cost": {"kind": "log_loss", "live": 0.4 + cost, "predicted": 0.4, "held_out": 0.4},
        "ranking": {"live": 0.8 + ranking, "predicted": 0.8, "held_out": 0.8},
        "changes": changes,
        "unknown": None,
    } | facts


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
    assert "2 of 9 watched features (22%) have drifted, the most in b (PSI 0.90, above 0.25)" in decision.reasons[1]
    assert monitoring_verdict(measured(features=features[:3]), Monitoring(ignore=["a", "b", "c"])).action == "keep"


def known(variance: float, chance: float = 0.001) -> dict[str, Any]:
    return {"variation": {"variance": variance, "chance": chance, "freedom": 11, "dimensions": 1.0}}


def test_the_boundary_is_shared_by_days_and_judgments() -> None:
    """A larger share of the alarm rate and a longer window make it lower."""
    policy = {"alarm_rate": 0.05}
    assert boundary(policy, 11, 7, 0.2) == weekly_quantile(0.05 * 0.2, 11, 7)
    assert boundary(policy, 11, 30, 0.2) < boundary(policy, 11, 7, 0.2) < boundary(policy, 11, 7, 0.1)
    assert sum(SHARES.values()) < 1
    level = 0.05 / 4 / 7  # a quarter for the scores, and seven days
    one = natural_bound(known(1.0, 0.0), policy)  # one dimension: the square of a difference
    assert one == pytest.approx(stats.t.ppf(1 - level / 2, 11) ** 2)


def test_the_direction_that_raises_the_cost_has_the_lower_boundary() -> None:
    facts = [performed(gap=-0.03, error=0.01, cost=cost) for cost in (0.001, -0.001)]
    found = [monitoring_verdict(measured(performance=each), Monitoring()).action for each in facts]
    assert found == ["retrain", "keep"]


def test_judgments_spend_half_of_the_rate_beside_drift() -> None:
    """If outcomes of most predictions are missing, drift is judged as well."""
    facts = performed(gap=-0.0072, held_out_rate=0.01)  # beyond the boundary of the whole rate, and not of half of it
    assert monitoring_verdict(measured(rows=5000, performance=facts), Monitoring()).action == "retrain"
    assert monitoring_verdict(measured(rows=9000, performance=facts), Monitoring()).action == "keep"


def test_what_the_reference_does_by_itself_is_no_drift() -> None:
    features = [{"feature": name, "psi": 0.9, **known(0.1)} for name in "abc"]
    facts = measured(
        features=[
            {"feature": "x", "psi": 0.9, **known(0.01)},
            *features,
            {"feature": "y", "psi": 0.005, **known(0)},
        ],
        prediction={"psi": 0.5, **known(0.05)},
        variation={"days": 77},
    )
    decision = monitoring_verdict(facts, Monitoring(feature_psi=0.2))
    assert decision.action == "keep"
    assert decision.reasons[:2] == (
        "The predicted scores have a PSI of 0.50, above 0.25 but within 0.84, what the days of the reference explain.",
        "1 of 5 watched features (20%) has drifted, the most in x (PSI 0.90, above 0.2 and above 0.23, what the days "
        "of the reference explain); that is less than the bound of 30%. 3 more have a PSI above 0.2, but within what "
        "the days of the reference explain.",
    )
    assert replay(decision) == decision
    assert replay(decision, {"drifted_share": 0.2}).action == "retrain"
    assert replay(decision, {"feature_psi": 0.01, "prediction_psi": 0.01}).action == "keep"  # the evidence holds it
    assert replay(decision, {"alarm_rate": 0.5}).action == "retrain"
    louder = monitoring_verdict({**facts, "prediction": {"psi": 1.0, **known(0.05)}}, Monitoring())
    assert louder.action == "retrain" and "PSI 1.00, above 0.25 and above 0.84, what the" in louder.reasons[0]


def test_an_unknown_natural_variation_is_said() -> None:
    facts = measured(prediction={"psi": 0.3}, variation={"unknown": "The reference spans a day."})
    decision = monitoring_verdict(facts, Monitoring())
    assert decision.action == "retrain"
    assert decision.reasons[-1] == "The reference spans a day. Drift is judged by the policy's bounds alone."


def test_drifted_predictions_mean_retrain_unless_the_outcomes_are_good() -> None:
    drifted = {"psi": 0.31}
    decision = monitoring_verdict(measured(prediction=drifted), Monitoring())
    assert decision.action == "retrain"
    assert decision.reasons == ("The predicted scores have drifted: PSI 0.31, above 0.25.",)
    decision = monitoring_verdict(measured(prediction=drifted, performance=performed()), Monitoring())
    assert decision.action == "keep"
    assert decision.reasons[0] == "The predicted scores have drifted: PSI 0.31, above 0.25."
    assert decision.reasons[-1] == "The outcomes show that the model copes with the drift."
    for few in (performed(outcomes=2000), performed(positives=12, predicted_positives=15)):
        assert monitoring_verdict(measured(prediction=drifted, performance=few), Monitoring()).action == "retrain"


@pytest.mark.parametrize(
    ("facts", "action", "words"),
    [
        ({}, "keep", "within the bound of 0.020"),
        ({"gap": -0.05}, "retrain", "the ranking is kept: the share of positives has shifted"),
        ({"gap": 0.05}, "retrain", "the gap has changed by +0.050, more than the bound of 0.020 and than 0.00"),
        ({"gap": -0.05, "ranking": -0.1}, "retrain", "what chance and the days explain."),
        ({"gap": 0.05, "error": 0.02}, "keep", "more than the bound of 0.020, but within 0.06"),
        ({"gap": 0.015}, "keep", "within the bound of 0.020"),
        ({"cost": 0.05}, "retrain", "The log loss is 0.450, and the scores predict 0.400 (held-out rows: 0.400)"),
        ({"cost": -0.05}, "keep", "the excess has changed by -0.050, within the bound of 0.008"),
        ({"ranking": -0.1}, "retrain", "The ROC AUC is 0.700, and the scores predict 0.800 (held-out rows: 0.800)"),
        ({"ranking": 0.1}, "keep", "the difference has changed by +0.100"),
        ({"ranking": -0.1, "positives": 12}, "keep", "4,000 outcomes"),
        ({"ranking": -0.1, "outcomes": 200}, "keep", "performance is judged from 1,000 outcomes"),
        ({"ranking": -0.1, "positives": 12, "predicted_positives": 9.0}, "keep", "12 of the rarer class"),
        ({"outcomes": 0}, "keep", "No outcome has arrived"),
        ({"changes": {}, "unknown": "The reference has outcomes of 3 days."}, "keep", "has outcomes of 3 days."),
    ],
)
def test_performance(facts: dict[str, Any], action: str, words: str) -> None:
    decision = monitoring_verdict(measured(performance=performed(**facts)), Monitoring(min_rows=1000))
    assert decision.action == action
    assert any(words in reason for reason in decision.reasons), decision.reasons
    assert replay(decision) == decision


@pytest.mark.parametrize("rows", [60, 5000])
def test_a_broken_feature_is_fixed_and_not_learned(rows: int) -> None:
    broken = [{"feature": "f1", "kind": "null", "rows": 50}, {"feature": "f2", "kind": "unit", "rows": 200}]
    facts = measured(rows=rows, broken=broken, prediction={"psi": 9.0}, performance=performed(gap=0.1))
    decision = monitoring_verdict(facts, Monitoring())
    assert decision.action == "fix_data"
    assert decision.reasons == (
        "f1 has no value in the newest 50 predictions, which the reference never had for half as long.",
        "f2 has values of another size, as in another unit, in the newest 200 predictions, which the reference never "
        "had for half as long.",
        "Fix the data first: a training would learn from them.",
    )
    assert replay(decision) == decision
    assert replay(decision, {"ignore": ["f1", "f2"]}).action == ("wait" if rows == 60 else "retrain")


def test_values_that_the_model_never_saw_mean_retrain() -> None:
    row = {"feature": "carrier", "psi": 0.2, "unseen_share": 0.25, "expected_unseen_share": 0.02}
    decision = monitoring_verdict(measured(features=[row], performance=performed()), Monitoring())
    assert decision.action == "retrain"
    assert decision.reasons == (
        "25% of the predictions have values of carrier that the reference never had (2% are expected by its own days), "
        "more than 10%.",
    )
    for usual in ({"expected_unseen_share": 0.2}, {"unseen_share": 0.1}):
        assert (
            monitoring_verdict(measured(features=[row | usual], performance=performed()), Monitoring()).action == "keep"
        )
    assert replay(decision, {"ignore": ["carrier"]}).action == "keep"


def test_a_decision_of_an_earlier_version_cannot_be_made_again() -> None:
    made = monitoring_verdict(measured(), Monitoring())
    earlier = dict(made.policy)
    del earlier["alarm_rate"]
    for old in (
        replace(made, policy=earlier),
        replace(made, evidence={**made.evidence, "performance": {"outcomes": 4000, "drop": 0.01, "drop_low": -0.02}}),
    ):
        with pytest.raises(DecisionError, match="no measurement of calibration, cost and ranking, because an earlier"):
            replay(Decision.from_dict(old.to_dict()))


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
