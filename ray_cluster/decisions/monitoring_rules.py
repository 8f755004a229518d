"""Judge monitoring's measurements under a policy: each finding has an alarm flag and a sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_cluster.evaluation.intervals import MIN_DAYS

__all__ = [
    "abstentions",
    "beyond",
    "drifted_features",
    "drifted_scores",
    "dropped_performance",
    "metric_name",
    "unknown_variation",
]

Finding = tuple[bool, str]
Facts = Mapping[str, Any]

_METRIC_NAMES = {"average_precision": "average precision", "roc_auc": "ROC AUC"}


def beyond(measured: Facts, bound: float) -> bool:
    """Whether a PSI exceeds the policy's bound *and* the natural variation of the column, if that is known.

    >>> beyond({"psi": 0.9, "natural": 0.4}, 0.2), beyond({"psi": 0.9, "natural": 1.1}, 0.2)
    (True, False)
    """
    return bool(measured["psi"] > max(bound, measured.get("natural") or 0.0))


def drifted_features(evidence: Facts, policy: Facts) -> Finding:
    """Alarm if the drifted features reach ``drifted_share`` of the watched features."""
    watched = [row for row in evidence["features"] if row["feature"] not in policy["ignore"]]
    if not watched:
        return False, "No feature is watched for drift: all are ignored by the policy."
    bound = policy["feature_psi"]
    drifted = sorted((row for row in watched if beyond(row, bound)), key=lambda row: -row["psi"])
    natural = sum(row["psi"] > bound for row in watched) - len(drifted)
    share = len(drifted) / len(watched)
    alarm = share >= policy["drifted_share"]
    most = f", the most in {drifted[0]['feature']} ({_above(drifted[0], bound, evidence)})" if drifted else ""
    sentence = (
        f"{len(drifted)} of {len(watched)} watched features ({share:.0%}) {_have(len(drifted))} drifted{most}; "
        f"{'that reaches' if alarm else 'that is less than'} the bound of {policy['drifted_share']:.0%}."
    )
    if natural:
        more = f"{natural}{' more' if drifted else ''} {_have(natural)}"
        sentence += f" {more} a PSI above {bound:g}, but within {_natural(evidence)}."
    return alarm, sentence


def drifted_scores(evidence: Facts, policy: Facts) -> Finding:
    """Alarm if the predicted scores have drifted."""
    measured, bound = evidence["prediction"], policy["prediction_psi"]
    alarm = beyond(measured, bound)
    if alarm:
        return True, f"The predicted scores have drifted: {_above(measured, bound, evidence)}."
    if measured["psi"] <= bound:
        return False, f"The predicted scores have a PSI of {measured['psi']:.2f}, within the bound of {bound:g}."
    return False, (
        f"The predicted scores have a PSI of {measured['psi']:.2f}, above {bound:g} but within "
        f"{measured['natural']:.2f}, {_natural(evidence)}."
    )


def dropped_performance(evidence: Facts, policy: Facts) -> Finding:
    """Alarm if the metric dropped by more than ``metric_drop`` and the interval of the drop excludes zero."""
    seen = evidence.get("performance")
    if not seen or not seen["outcomes"]:
        return False, "No outcome has arrived for these predictions, so performance is not judged."
    rarer = min(seen["positives"], seen["outcomes"] - seen["positives"])
    if seen["outcomes"] < policy["min_rows"] or rarer < policy["min_class_rows"]:
        return False, (
            f"{seen['outcomes']:,} outcomes have arrived, {rarer:,} of the rarer class; performance is judged from "
            f"{policy['min_rows']:,} outcomes and {policy['min_class_rows']:,} of the rarer class onwards."
        )
    if seen["drop_low"] is None:
        return False, (
            f"{seen['outcomes']:,} outcomes of {seen['days']} days have arrived; performance is judged from "
            f"{MIN_DAYS} days onwards."
        )
    alarm = seen["drop"] > policy["metric_drop"] and seen["drop_low"] > 0
    change = "dropped" if seen["drop"] > 0 else "risen"
    place = "more than" if seen["drop"] > policy["metric_drop"] else "within"
    doubt = "" if alarm or place == "within" else ", but the interval includes a drop of zero"
    return alarm, (
        f"On {seen['outcomes']:,} outcomes the {metric_name(seen['metric'])} has {change} by {abs(seen['drop']):.3f} "
        f"from {seen['held_out']:.3f} to {seen['live']:.3f} (95 % interval of the drop {seen['drop_low']:.3f} to "
        f"{seen['drop_high']:.3f}), {place} the bound of {policy['metric_drop']:g}{doubt}."
    )


def unknown_variation(evidence: Facts) -> list[str]:
    """The sentence that says why natural variation is unknown; empty if it is known or no reason is recorded."""
    reason = (evidence.get("stretches") or {}).get("unknown")
    return [f"{reason} Drift is judged by the policy's bounds alone."] if reason else []


def abstentions(evidence: Facts) -> list[str]:
    """The sentence with the number of rows that have no score because of an expired value; empty if there are none."""
    count = evidence.get("abstained") or 0
    if not count:
        return []
    share = count / (count + evidence["rows"])
    return [
        f"{count:,} of {count + evidence['rows']:,} requests ({share:.0%}) got no probability, because a value had "
        "expired; materialize features more often with `headrace run materialize`."
    ]


def metric_name(metric: str) -> str:
    """The name of a metric in words."""
    return _METRIC_NAMES.get(metric, metric)


def _above(measured: Facts, bound: float, evidence: Facts) -> str:
    natural = measured.get("natural")
    more = "" if natural is None else f" and above {natural:.2f}, {_natural(evidence)}"
    return f"PSI {measured['psi']:.2f}, above {bound:g}{more}"


def _natural(evidence: Facts) -> str:
    """The natural bound in words, with the length of the stretches that it was computed over."""
    days = int((evidence.get("stretches") or {}).get("days") or 0)
    length = {0: "like stretch", 1: "day", 7: "week"}.get(days, f"{days} days")
    if days > 7 and days % 7 == 0:
        length = f"{days // 7} weeks"
    plural = length.endswith("s")
    return f"the most that any {length} of the reference {'differ' if plural else 'differs'} from the rest"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
