"""Judge monitoring's measurements under a policy: each finding has an alarm flag and a sentence.

All judgments compare a difference with one boundary: the standard error that it has if nothing has changed, times a
quantile whose level is the judgment's share of ``alarm_rate``. So about ``alarm_rate`` of the weeks or fewer have a
false alarm although each day is looked at; ``benchmarks/monitoring_rules.py`` measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray_cluster.decisions.daily_looks import LOOKS, weekly_quantile

__all__ = [
    "abstentions",
    "beyond",
    "boundary",
    "broken_features",
    "drift",
    "metric_name",
    "natural_bound",
    "performance_changes",
    "unseen_values",
    "unknown_variation",
]

Finding = tuple[bool, str]
Facts = Mapping[str, Any]

#: Share of the alarm rate that each judgment spends if outcomes of most predictions have arrived. Calibration varies
#: most from day to day and has most, a loss of the ranking is found with less, and cost seldom alarms alone. The rest
#: is left for new values of a feature, whose bound has no level, and for days that vary more than a t distribution.
SHARES = {"calibration_gap": 0.65, "ranking": 0.15, "cost": 0.05}
#: Part of its share that calibration spends in the direction in which the cost has risen.
COSTLY = 0.8
#: If they have not, performance spends this share of that.
PARTLY = 0.5
#: Share that drift spends for the scores, and again for the features.
DRIFT_SHARE = 0.25

_METRIC_NAMES = {"average_precision": "average precision", "roc_auc": "ROC AUC"}
_BROKEN = {
    "null": "has no value",
    "constant": "has one value",
    "unit": "has values of another size, as in another unit,",
    "unseen": "has only values that the reference never had",
}


def boundary(policy: Facts, freedom: float, days: int, share: float = 1.0) -> float:
    """Number of standard errors that a difference must exceed.

    Args:
        freedom: degrees of freedom of the standard error.
        days: days of the window.
        share: of the alarm rate, that the judgment spends.

    >>> round(boundary({"alarm_rate": 0.05}, 11, 30, 0.2), 1)
    3.2
    """
    return weekly_quantile(policy["alarm_rate"] * share, round(freedom, 1), days)


def natural_bound(measured: Facts, policy: Facts, share: float = 1.0) -> float | None:
    """The PSI that a column exceeds by itself only at a ``share`` of the level of a judgment; None if its variation is
    unknown.

    The index is a sum of squares with a known mean (:func:`ray_cluster.monitoring.day_variation.index_variation`), as
    the square of a difference is, so that the boundary is the quantile of an F distribution. Its level is shared by the
    looks of a week (Bonferroni).
    """
    from scipy.special import fdtri

    known = measured.get("variation")
    if not known:
        return None
    level = policy["alarm_rate"] * DRIFT_SHARE / LOOKS * share
    limit = fdtri(known["dimensions"], known["dimensions"] * known["freedom"], 1 - level)
    return float(limit * known["variance"] - known["chance"])


def beyond(measured: Facts, bound: float, natural: float | None) -> bool:
    """Whether a PSI exceeds the policy's bound *and* the natural variation of the column, if that is known.

    >>> beyond({"psi": 0.9}, 0.2, 0.4), beyond({"psi": 0.9}, 0.2, 1.1), beyond({"psi": 0.9}, 0.2, None)
    (True, False, True)
    """
    return bool(measured["psi"] > max(bound, natural or 0.0))


def broken_features(evidence: Facts, policy: Facts) -> list[str]:
    """A sentence for each broken feature that the policy does not ignore."""
    return [
        f"{row['feature']} {_BROKEN[row['kind']]} in the newest {row['rows']:,} predictions, which the reference never "
        "had for half as long."
        for row in evidence.get("broken") or []
        if row["feature"] not in policy["ignore"]
    ]


def performance_changes(evidence: Facts, policy: Facts) -> tuple[bool, list[Finding]]:
    """Judge calibration, cost and ranking: whether outcomes speak for most of the predictions, and the findings."""
    seen = evidence.get("performance")
    if not seen or not seen["outcomes"]:
        return False, [(False, "No outcome has arrived for these predictions, so performance is not judged.")]
    if not seen["changes"]:
        return False, [(False, seen["unknown"])]
    rarer = min(seen["positives"], seen["outcomes"] - seen["positives"])
    predicted = min(seen["predicted_positives"], seen["outcomes"] - seen["predicted_positives"])
    if seen["outcomes"] < policy["min_rows"] or max(rarer, predicted) < policy["min_class_rows"]:
        return False, [
            (
                False,
                f"{seen['outcomes']:,} outcomes have arrived, {rarer:,} of the rarer class; performance is judged from "
                f"{policy['min_rows']:,} outcomes and {policy['min_class_rows']:,} of the rarer class onwards.",
            )
        ]
    covered = seen["outcomes"] >= evidence["rows"] / 2
    spent = 1.0 if covered else PARTLY
    ranked = "ranking" in seen["changes"] and rarer >= policy["min_class_rows"]
    ranking = _ranking(seen, policy, spent) if ranked else None
    findings = [_calibration(seen, policy, spent, None if ranking is None else not ranking[0])]
    findings.append(_cost(seen, policy, spent))
    if ranking is not None:
        findings.append(ranking)
    elif seen["unknown"]:
        findings.append((False, seen["unknown"]))
    return covered, findings


def unseen_values(evidence: Facts, policy: Facts) -> list[Finding]:
    """A finding for each watched feature with more new values than expected, by ``unseen_share``."""
    return [
        (
            True,
            f"{row['unseen_share']:.0%} of the predictions have values of {row['feature']} that the reference never "
            f"had ({row['expected_unseen_share']:.0%} are expected by its own days), more than "
            f"{policy['unseen_share']:.0%}.",
        )
        for row in evidence["features"]
        if row["feature"] not in policy["ignore"]
        and row.get("unseen_share", 0.0) - row.get("expected_unseen_share", 1.0) > policy["unseen_share"]
    ]


def drift(evidence: Facts, policy: Facts) -> list[Finding]:
    """Alarm if the scores have drifted, or ``drifted_share`` of the watched features.

    If each feature is beyond its natural variation at ``drifted_share`` of the level, then that share of the features
    is at once at no more than the level (Markov's inequality), however the features depend on each other.
    """
    return [_drifted_scores(evidence, policy), _drifted_features(evidence, policy)]


def unknown_variation(evidence: Facts) -> list[str]:
    """The sentence that says why natural variation is unknown; empty if it is known or no reason is recorded."""
    reason = (evidence.get("variation") or {}).get("unknown")
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


def _limit(seen: Facts, policy: Facts, spent: float, name: str) -> float:
    """What chance and the days explain of a change, if the judgments spend ``spent`` of the alarm rate."""
    row = seen["changes"][name]
    return boundary(policy, row["freedom"], seen["days"], spent * SHARES[name]) * float(row["error"])


def _calibration(seen: Facts, policy: Facts, spent: float, ranking_kept: bool | None) -> Finding:
    row = seen["changes"]["calibration_gap"]
    side = COSTLY if seen["changes"]["cost"]["change"] > 0 else 1 - COSTLY
    limit = _limit(seen, policy, spent * side, "calibration_gap")
    bound = policy["calibration_gap"] * seen["held_out_rate"]
    alarm = abs(row["change"]) > max(limit, bound)
    predicted = seen["predicted_positives"] / seen["outcomes"]
    kept = "; the ranking is kept: the share of positives has shifted" if alarm and ranking_kept else ""
    return alarm, (
        f"On {seen['outcomes']:,} outcomes the share of positives is {seen['rate']:.3f}, and the scores predict "
        f"{predicted:.3f}; compared with the held-out rows the gap has changed by {row['change']:+.3f}, "
        f"{_compared(abs(row['change']), bound, limit)}{kept}."
    )


def _cost(seen: Facts, policy: Facts, spent: float) -> Finding:
    row, cost = seen["changes"]["cost"], seen["cost"]
    limit = _limit(seen, policy, spent, "cost")
    bound = policy["cost_rise"] * abs(cost["held_out"])
    name = "log loss" if cost["kind"] == "log_loss" else "cost per row"
    return row["change"] > max(limit, bound), (
        f"The {name} is {cost['live']:.3f}, and the scores predict {cost['predicted']:.3f} (held-out rows: "
        f"{cost['held_out']:.3f}); the excess has changed by {row['change']:+.3f}, "
        f"{_compared(row['change'], bound, limit)}."
    )


def _ranking(seen: Facts, policy: Facts, spent: float) -> Finding:
    row, ranking = seen["changes"]["ranking"], seen["ranking"]
    limit = _limit(seen, policy, spent, "ranking")
    return -row["change"] > max(limit, policy["metric_drop"]), (
        f"The {metric_name(seen['metric'])} is {ranking['live']:.3f}, and the scores predict "
        f"{ranking['predicted']:.3f} (held-out rows: {ranking['held_out']:.3f}); the difference has changed by "
        f"{row['change']:+.3f}, {_compared(-row['change'], policy['metric_drop'], limit)}."
    )


def _compared(change: float, bound: float, limit: float) -> str:
    """A change beside the policy's bound and the natural limit."""
    if change > max(bound, limit):
        return f"more than the bound of {bound:.3f} and than {limit:.3f}, what chance and the days explain"
    if change <= bound:
        return f"within the bound of {bound:.3f}"
    return f"more than the bound of {bound:.3f}, but within {limit:.3f}, what chance and the days explain"


def _drifted_features(evidence: Facts, policy: Facts) -> Finding:
    watched = [row for row in evidence["features"] if row["feature"] not in policy["ignore"]]
    if not watched:
        return False, "No feature is watched for drift: all are ignored by the policy."
    bound, share = policy["feature_psi"], policy["drifted_share"]
    natural = [natural_bound(row, policy, share) for row in watched]
    drifted = sorted(
        ((row, limit) for row, limit in zip(watched, natural, strict=True) if beyond(row, bound, limit)),
        key=lambda pair: -pair[0]["psi"],
    )
    within = sum(row["psi"] > bound for row in watched) - len(drifted)
    found = len(drifted) / len(watched)
    alarm = found >= share
    most = f", the most in {drifted[0][0]['feature']} ({_above(*drifted[0], bound)})" if drifted else ""
    sentence = (
        f"{len(drifted)} of {len(watched)} watched features ({found:.0%}) {_have(len(drifted))} drifted{most}; "
        f"{'that reaches' if alarm else 'that is less than'} the bound of {share:.0%}."
    )
    if within:
        more = f"{within}{' more' if drifted else ''} {_have(within)}"
        sentence += f" {more} a PSI above {bound:g}, but within what the days of the reference explain."
    return alarm, sentence


def _drifted_scores(evidence: Facts, policy: Facts) -> Finding:
    measured, bound = evidence["prediction"], policy["prediction_psi"]
    natural = natural_bound(measured, policy)
    if beyond(measured, bound, natural):
        return True, f"The predicted scores have drifted: {_above(measured, natural, bound)}."
    if measured["psi"] <= bound:
        return False, f"The predicted scores have a PSI of {measured['psi']:.2f}, within the bound of {bound:g}."
    return False, (
        f"The predicted scores have a PSI of {measured['psi']:.2f}, above {bound:g} but within {natural:.2f}, what the "
        "days of the reference explain."
    )


def _above(measured: Facts, natural: float | None, bound: float) -> str:
    more = "" if natural is None else f" and above {natural:.2f}, what the days of the reference explain"
    return f"PSI {measured['psi']:.2f}, above {bound:g}{more}"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"
