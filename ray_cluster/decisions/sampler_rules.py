"""The rule of the sampler selection: which sampler is kept, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_cluster.decisions.monitoring_rules import metric_name

__all__ = ["judge"]


def judge(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> tuple[str, list[str]]:
    """The contender that is kept ("none" if none helps), and the reasons in sentences.

    Args:
        evidence: ``metric``, ``rows``, ``positives`` and ``days`` of the validation period, ``level`` of the intervals,
            and ``contenders``: ``{contender, value, gain, low, high, why, error}`` with the gain over ``none`` on the
            same real rows, and ``why`` it has no interval; the first is "none".
        policy: as :class:`configs.training.Sampling`. Among contenders with a lower bound above zero, the one with the
            highest bound is kept; a method that the model's file requests is kept even if it gains nothing.
    """
    metric = metric_name(evidence["metric"])
    plain = evidence["contenders"][0]
    rest = [each for each in evidence["contenders"][1:] if each["contender"] in _asked(policy)]
    judged = [each for each in rest if not each.get("error") and each["contender"] != "threshold"]
    reasons = [
        f"Without sampling the {metric} is {plain['value']:.4f} on {evidence['rows']:,} real validation rows, "
        f"{evidence['positives']:,} of them positive; the intervals are of {evidence['level']:.1%} each."
    ]
    if policy["method"] != "select":
        mine = judged[0] if judged else None
        request = f"The model's file requests {policy['method']}"
        if mine is None:
            return "none", [*reasons, f"{request}, which failed: {rest[0]['error'] if rest else 'it did not run.'}"]
        return policy["method"], [*reasons, f"{request}, so it is kept; {_gain(mine)}."]
    helping = sorted((each for each in judged if (each["low"] or 0) > 0), key=lambda each: -each["low"])
    if helping:
        best = helping[0]
        reasons.append(f"{best['contender']} is kept: {_gain(best)}, the whole interval is above zero.")
        others = helping[1:]
    else:
        reasons.append("Nothing is kept: no contender has an interval of the gain that is entirely above zero.")
        others = []
    for each in rest:
        if each.get("error"):
            reasons.append(f"{each['contender']} could not be compared: {each['error']}")
        elif each["contender"] == "threshold":
            reasons.append("threshold is the same fit, so its ranking is the same; only its threshold moves.")
        elif each in others:
            reasons.append(f"{each['contender']} would help too: {_gain(each)}.")
        elif not helping or each is not helping[0]:
            reasons.append(f"{each['contender']} is not kept: {_gain(each)}.")
    return (helping[0]["contender"] if helping else "none"), reasons


def _asked(policy: Mapping[str, Any]) -> list[str]:
    return list(policy["contenders"]) if policy["method"] == "select" else ["threshold", policy["method"]]


def _gain(each: Mapping[str, Any]) -> str:
    if each["low"] is None:
        if not each.get("why"):  # an older decision does not have the reason
            return f"it gains {each['gain']:+.4f}, on too few days for an interval"
        return (
            f"it gains {each['gain']:+.4f}, without an interval: {each['why'][0].lower()}{each['why'][1:].rstrip('.')}"
        )
    return f"it gains {each['gain']:+.4f} (interval {each['low']:+.4f} to {each['high']:+.4f})"
