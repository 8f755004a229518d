"""Decisions as values: what was decided, why in sentences, from which measurements, under which policy.

Each rule is a pure function of ``(evidence, policy)``, so that a logged decision can be checked (:func:`replay`
gives the same value) and put again under another policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args

from configs.model import Gate, Monitoring

__all__ = [
    "Action",
    "Decision",
    "DecisionError",
    "Rule",
    "decide_monitoring",
    "decide_promotion",
    "monitoring_verdict",
    "promotion",
    "replay",
]

Action = Literal["promote", "refuse", "keep", "wait", "retrain"]
Rule = Literal["promotion", "monitoring"]

#: Below this many outcomes of the rarer class a ranking metric is not judged: its interval is too wide to mean much.
MIN_CLASS_ROWS = 30

_TOLERANCE = 1e-12  # a margin of 0.002 must count 0.302 - 0.300 as reached
_METRIC_NAMES = {"average_precision": "average precision", "roc_auc": "ROC AUC"}


class DecisionError(ValueError):
    """Evidence that no decision can be made from, or a stored decision that cannot be read."""


@dataclass(frozen=True)
class Decision:
    """One decision. ``reasons`` are sentences; ``evidence`` and ``policy`` hold JSON values only.

    ``rule`` names the function that made it, which is what makes it possible to :func:`replay` it.
    """

    rule: Rule
    action: Action
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    policy: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as a JSON object."""
        return {
            "rule": self.rule,
            "action": self.action,
            "reasons": list(self.reasons),
            "evidence": self.evidence,
            "policy": self.policy,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Decision:
        """Read what :meth:`to_dict` wrote; further keys (such as version numbers) are left out.

        Raises:
            DecisionError: a key is missing, or ``rule`` or ``action`` is unknown.
        """
        missing = [key for key in ("rule", "action", "reasons", "evidence", "policy") if key not in content]
        if missing:
            raise DecisionError(
                f"The stored decision lacks {', '.join(missing)}; expected what Decision.to_dict writes."
            )
        for key, known in (("rule", get_args(Rule)), ("action", get_args(Action))):
            if content[key] not in known:
                raise DecisionError(f"The stored decision has {key} = {content[key]!r}; expected {', '.join(known)}.")
        return cls(
            rule=content["rule"],
            action=content["action"],
            reasons=tuple(content["reasons"]),
            evidence=dict(content["evidence"]),
            policy=dict(content["policy"]),
        )


def replay(decision: Decision, policy: Mapping[str, Any] | None = None) -> Decision:
    """Decide again from the same evidence, under ``policy`` laid over the one it was made with.

    >>> from configs.model import Gate
    >>> made = promotion({"average_precision": 0.31}, {"average_precision": 0.30}, Gate(margin=0.002))
    >>> replay(made) == made, replay(made, {"margin": 0.05}).action
    (True, 'refuse')
    """
    return _RULES[decision.rule](decision.evidence, {**decision.policy, **(policy or {})})


def promotion(
    challenger_metrics: Mapping[str, float], champion_metrics: Mapping[str, float] | None, gate: Gate
) -> Decision:
    """Decide whether a new version becomes champion.

    Args:
        challenger_metrics: metric name -> value of the new version on the held-out rows.
        champion_metrics: the present champion's on the *same* rows; None when there is no champion.
        gate: the model's promotion rule.

    Returns ``promote`` or ``refuse``; every bound that was not reached is one reason.
    """
    evidence = {
        "challenger": _numbers(challenger_metrics),
        "champion": None if champion_metrics is None else _numbers(champion_metrics),
    }
    return decide_promotion(evidence, gate.model_dump(mode="json"))


def decide_promotion(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> Decision:
    """Apply a promotion policy: ``metric``, ``margin`` and ``minimum`` as in :class:`configs.model.Gate`.

    The challenger must have a strictly better ``metric`` than the champion, by ``margin`` or more, and reach each
    minimum. Without a champion the minimum alone decides.
    """
    refusals, approvals = [], []
    challenger, champion = evidence["challenger"], evidence["champion"]
    for metric, minimum in policy["minimum"].items():
        value = challenger.get(metric)
        if value is None:
            refusals.append(f"The challenger has no {_name(metric)}; the gate asks for {minimum:g} or more.")
        elif value < minimum:
            refusals.append(f"The challenger's {_name(metric)} {value:.4f} is below the minimum {minimum:g}.")
        else:
            approvals.append(f"The challenger's {_name(metric)} {value:.4f} reaches the minimum {minimum:g}.")
    metric, margin = policy["metric"], policy["margin"]
    new, old = challenger.get(metric), (champion or {}).get(metric)
    if new is None:
        refusals.append(f"The challenger has no {_name(metric)}, which is the metric of the gate.")
    elif champion is None:
        approvals.append(f"There is no champion yet; the first version has {_name(metric)} {new:.4f}.")
    elif old is None:
        refusals.append(f"The champion has no {_name(metric)} on these rows, so the challenger cannot be compared.")
    else:
        gain = new - old
        compared = f"the champion's {old:.4f} by {abs(gain):.4f} on the same held-out rows"
        if gain > 0 and gain >= margin - _TOLERANCE:
            approvals.append(
                f"The challenger's {_name(metric)} {new:.4f} exceeds {compared}; the gate asks for {margin:g}."
            )
        elif gain > 0:
            refusals.append(
                f"The challenger's {_name(metric)} {new:.4f} exceeds {compared}, less than the margin {margin:g}."
            )
        else:
            refusals.append(
                f"The challenger's {_name(metric)} {new:.4f} does not exceed the champion's {old:.4f} on the same "
                f"held-out rows; the gate asks for a gain, with a margin of {margin:g}."
            )
    return Decision(
        rule="promotion",
        action="refuse" if refusals else "promote",
        reasons=tuple(refusals or approvals),
        evidence=dict(evidence),
        policy=dict(policy),
    )


def monitoring_verdict(measurements: Mapping[str, Any], monitoring: Monitoring) -> Decision:
    """Decide what a stretch of the prediction log means for the model.

    Args:
        measurements: ``{"rows": int, "features": [{"feature", "psi"}], "prediction": {"psi"}, "performance":
            {"outcomes", "positives", "metric", "live", "held_out", "drop", "drop_low", "drop_high"} | None}``;
            further keys are kept as evidence.
        monitoring: the model's bounds.

    Returns ``wait`` (too few rows to judge), ``retrain`` or ``keep``.
    """
    return decide_monitoring(measurements, {**monitoring.model_dump(mode="json"), "min_class_rows": MIN_CLASS_ROWS})


def decide_monitoring(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> Decision:
    """Apply a monitoring policy: the keys of :class:`configs.model.Monitoring` and ``min_class_rows``.

    A drop of the metric counts when it exceeds ``metric_drop`` *and* its 95 % interval excludes zero: where nothing
    has changed, that happens in at most one of forty runs, however few the outcomes.
    """
    if evidence["rows"] < policy["min_rows"]:
        reason = f"{evidence['rows']:,} predictions are logged; drift is judged from {policy['min_rows']:,} on."
        return Decision("monitoring", "wait", (reason,), dict(evidence), dict(policy))
    findings = [_drifted_share(evidence, policy), _prediction(evidence, policy), _performance(evidence, policy)]
    alarms = [sentence for alarm, sentence in findings if alarm]
    reasons = tuple(alarms or [sentence for _, sentence in findings])
    return Decision("monitoring", "retrain" if alarms else "keep", reasons, dict(evidence), dict(policy))


def _drifted_share(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> tuple[bool, str]:
    watched = [row for row in evidence["features"] if row["feature"] not in policy["ignore"]]
    drifted = sorted((row for row in watched if row["psi"] > policy["feature_psi"]), key=lambda row: -row["psi"])
    if not watched:
        return False, "No feature is watched for drift: all are ignored by the policy."
    share = len(drifted) / len(watched)
    alarm = share >= policy["drifted_share"]
    most = f", most of all {drifted[0]['feature']} ({drifted[0]['psi']:.2f})" if drifted else ""
    return alarm, (
        f"{len(drifted)} of {len(watched)} watched features ({share:.0%}) have a PSI above {policy['feature_psi']:g}"
        f"{most}; {'that reaches' if alarm else 'that is less than'} the bound of {policy['drifted_share']:.0%}."
    )


def _prediction(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> tuple[bool, str]:
    psi, bound = evidence["prediction"]["psi"], policy["prediction_psi"]
    place = "above" if psi > bound else "within"
    return psi > bound, f"The predicted scores have a PSI of {psi:.2f}, {place} the bound of {bound:g}."


def _performance(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> tuple[bool, str]:
    seen = evidence.get("performance")
    if not seen or not seen["outcomes"]:
        return False, "No outcome has arrived for these predictions, so performance is not judged."
    rarer = min(seen["positives"], seen["outcomes"] - seen["positives"])
    if seen["outcomes"] < policy["min_rows"] or rarer < policy["min_class_rows"]:
        return False, (
            f"{seen['outcomes']:,} outcomes have arrived, {rarer:,} of the rarer class; performance is judged from "
            f"{policy['min_rows']:,} outcomes and {policy['min_class_rows']:,} of the rarer class on."
        )
    alarm = seen["drop"] > policy["metric_drop"] and seen["drop_low"] > 0
    change = "dropped" if seen["drop"] > 0 else "risen"
    beyond = "more than" if seen["drop"] > policy["metric_drop"] else "within"
    doubt = "" if alarm or beyond == "within" else ", but the interval includes no drop at all"
    return alarm, (
        f"On {seen['outcomes']:,} outcomes the {_name(seen['metric'])} has {change} by {abs(seen['drop']):.3f} from "
        f"{seen['held_out']:.3f} to {seen['live']:.3f} (95 % interval of the drop {seen['drop_low']:.3f} to "
        f"{seen['drop_high']:.3f}), {beyond} the bound of {policy['metric_drop']:g}{doubt}."
    )


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """Keep the finite values, as plain floats: a metric that is not a number counts as missing."""
    return {name: float(value) for name, value in metrics.items() if value is not None and isfinite(value)}


def _name(metric: str) -> str:
    return _METRIC_NAMES.get(metric, metric)


_RULES: dict[Rule, Callable[[Mapping[str, Any], Mapping[str, Any]], Decision]] = {
    "promotion": decide_promotion,
    "monitoring": decide_monitoring,
}
