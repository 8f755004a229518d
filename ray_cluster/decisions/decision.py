"""Decisions as values: what was decided, the reasons in sentences, the measurements, and the policy.

Each rule is a pure function of ``(evidence, policy)``, so that a logged decision can be checked (:func:`replay`
gives the same value) and repeated under another policy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args

from configs.errors import HeadraceError
from configs.model import Monitoring
from configs.promotion import Gate
from configs.training import Sampling
from ray_cluster.decisions.monitoring_rules import (
    abstentions,
    broken_features,
    drift,
    performance_changes,
    unknown_variation,
    unseen_values,
)
from ray_cluster.decisions.promotion_gates import judge_promotion
from ray_cluster.decisions.sampler_rules import judge
from ray_cluster.evaluation.metrics import MIN_CLASS_ROWS

__all__ = [
    "Action",
    "Decision",
    "DecisionError",
    "Rule",
    "decide_monitoring",
    "decide_promotion",
    "decide_sampling",
    "monitoring_verdict",
    "promotion",
    "replay",
    "sampling_verdict",
]

Action = Literal["promote", "refuse", "keep", "wait", "retrain", "fix_data", "resample", "leave"]
Rule = Literal["promotion", "monitoring", "sampling"]


class DecisionError(HeadraceError, ValueError):
    """The evidence is not sufficient for a decision, or a stored decision cannot be read."""


@dataclass(frozen=True)
class Decision:
    """One decision. ``reasons`` are sentences; ``evidence`` and ``policy`` contain JSON values only.

    ``rule`` is the name of the function that made it, which :func:`replay` needs. ``gates`` has the single results of a
    promotion: ``{gate, measured, bound, passed, reason}``.
    """

    rule: Rule
    action: Action
    reasons: tuple[str, ...]
    evidence: dict[str, Any]
    policy: dict[str, Any]
    gates: tuple[dict[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as a JSON object."""
        return {
            "rule": self.rule,
            "action": self.action,
            "reasons": list(self.reasons),
            "evidence": self.evidence,
            "policy": self.policy,
            "gates": list(self.gates),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Decision:
        """Read the output of :meth:`to_dict`; other keys (such as version numbers) are ignored.

        Raises:
            DecisionError: a key is missing, or ``rule`` or ``action`` is unknown.
        """
        missing = [key for key in ("rule", "action", "reasons", "evidence", "policy") if key not in content]
        if missing:
            raise DecisionError(
                f"The stored decision has no {', '.join(missing)}; expected the keys that Decision.to_dict writes."
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
            gates=tuple(content.get("gates", ())),
        )


def replay(decision: Decision, policy: Mapping[str, Any] | None = None) -> Decision:
    """Decide again from the same evidence; ``policy`` overrides keys of the decision's own policy.

    >>> from configs.promotion import Gate
    >>> made = promotion({"average_precision": 0.31}, {"average_precision": 0.30}, Gate(margin=0.002))
    >>> replay(made) == made, replay(made, {"margin": 0.05}).action
    (True, 'refuse')
    """
    return _RULES[decision.rule](decision.evidence, {**decision.policy, **(policy or {})})


def promotion(
    challenger_metrics: Mapping[str, float],
    champion_metrics: Mapping[str, float] | None,
    gate: Gate,
    measured: Mapping[str, Any] | None = None,
) -> Decision:
    """Decide whether a new version becomes champion.

    Args:
        challenger_metrics: metric name -> value of the new version on the held-out rows.
        champion_metrics: values of the current champion on the *same* rows; None if there is no champion.
        gate: the model's promotion rule.
        measured: other measurements of the two (:func:`ray_cluster.promotion.challenge.challenge`).

    Returns ``promote`` or ``refuse``; each gate that was not passed is one reason.
    """
    evidence = {
        **(measured or {}),
        "challenger": _numbers(challenger_metrics),
        "champion": None if champion_metrics is None else _numbers(champion_metrics),
    }
    return decide_promotion(evidence, gate.model_dump(mode="json"))


def decide_promotion(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> Decision:
    """Apply a promotion policy, the fields of :class:`configs.promotion.Gate`: every gate must be passed.

    Raises:
        GateError: the evidence does not fit the policy (:func:`ray_cluster.decisions.promotion_gates.judge_promotion`).
    """
    results = judge_promotion(evidence, policy)
    refusals = tuple(result.reason for result in results if result.passed is False)
    approvals = tuple(result.reason for result in results if result.passed)
    return Decision(
        rule="promotion",
        action="refuse" if refusals else "promote",
        reasons=refusals or approvals,
        evidence=dict(evidence),
        policy=dict(policy),
        gates=tuple(result.to_dict() for result in results),
    )


def monitoring_verdict(measurements: Mapping[str, Any], monitoring: Monitoring) -> Decision:
    """Decide what a period of the prediction log means for the model.

    Args:
        measurements: as from :func:`ray_cluster.monitoring.measurements.measure`. ``rows``, ``features``,
            ``prediction`` and ``performance`` are needed; ``broken`` and each column's ``variation`` may be missing:
            then nothing is broken, and only the policy's bounds are used. Other keys are kept as evidence.
        monitoring: the model's bounds.

    Returns ``fix_data`` (a feature is broken: training would learn from it), ``wait`` (too few rows to judge),
    ``retrain`` or ``keep``.
    """
    return decide_monitoring(measurements, {**monitoring.model_dump(mode="json"), "min_class_rows": MIN_CLASS_ROWS})


def decide_monitoring(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> Decision:
    """Apply a monitoring policy: the keys of :class:`configs.model.Monitoring` and ``min_class_rows``.

    Every alarm needs a change beyond the policy's bound *and* beyond what chance and the days of the reference explain
    (:mod:`ray_cluster.decisions.monitoring_rules`). Drift alone is an alarm only where outcomes are missing for most
    predictions: if they have arrived, they say whether the model still works.

    Raises:
        DecisionError: the decision was stored before calibration and cost were judged.
    """
    seen = evidence.get("performance")
    if "alarm_rate" not in policy or (seen and not {"changes", "ranking"} <= seen.keys()):
        raise DecisionError(
            "The stored decision has no measurement of calibration, cost and ranking, because an earlier version made "
            "it; expected alarm_rate in its policy, and changes and ranking in the performance of its evidence. Run "
            "`headrace run monitor` with the same as_of to decide again."
        )

    def verdict(action: Action, reasons: Sequence[str]) -> Decision:
        return Decision("monitoring", action, (*reasons, *abstentions(evidence)), dict(evidence), dict(policy))

    broken = broken_features(evidence, policy)
    if broken:
        return verdict("fix_data", [*broken, "Fix the data first: a training would learn from them."])
    if evidence["rows"] < policy["min_rows"]:
        count = f"{evidence['rows']:,} predictions are logged"
        return verdict("wait", [f"{count}; drift is judged from {policy['min_rows']:,} onwards."])
    covered, changes = performance_changes(evidence, policy)
    changes = [*changes, *unseen_values(evidence, policy)]
    drifted = drift(evidence, policy)
    alarms = [sentence for alarm, sentence in (*changes, *([] if covered else drifted)) if alarm]
    reasons = alarms or [sentence for _, sentence in (*drifted, *changes)]
    if not alarms and any(alarm for alarm, _ in drifted):
        reasons.append("The outcomes show that the model copes with the drift.")
    return verdict("retrain" if alarms else "keep", [*reasons, *unknown_variation(evidence)])


def sampling_verdict(evidence: Mapping[str, Any], sampling: Sampling) -> Decision:
    """Decide how the final fit treats rare positives, from validation results on real rows (:func:`judge`).

    Returns ``resample``, with the sampler as ``evidence["kept"]``, or ``leave``: the rows do not change.
    """
    return decide_sampling(evidence, sampling.model_dump(mode="json"))


def decide_sampling(evidence: Mapping[str, Any], policy: Mapping[str, Any]) -> Decision:
    """Apply a sampling policy: the keys of :class:`configs.training.Sampling`."""
    kept, reasons = judge(evidence, policy)
    action: Action = "leave" if kept == "none" else "resample"
    return Decision("sampling", action, tuple(reasons), {**evidence, "kept": kept}, dict(policy))


def _numbers(metrics: Mapping[str, float]) -> dict[str, float]:
    """Keep the finite values, as plain floats: a metric that is NaN counts as missing."""
    return {name: float(value) for name, value in metrics.items() if value is not None and isfinite(value)}


_RULES: dict[Rule, Callable[[Mapping[str, Any], Mapping[str, Any]], Decision]] = {
    "promotion": decide_promotion,
    "monitoring": decide_monitoring,
    "sampling": decide_sampling,
}
