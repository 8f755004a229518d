"""The gates between a new version and the alias champion: each has the measured value, the bound, and a sentence.

All are monotone: better evidence never turns a passed gate into a failed one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from configs.errors import HeadraceError
from ray_cluster.decisions.monitoring_rules import metric_name
from ray_cluster.evaluation.intervals import MIN_DAYS
from ray_cluster.evaluation.metrics import MIN_CLASS_ROWS
from ray_cluster.evaluation.slices import judged_slices

__all__ = ["GateError", "GateResult", "judge_promotion"]

Facts = Mapping[str, Any]

_TOLERANCE = 1e-12  # a margin of 0.002 must count 0.302 - 0.300 as reached


class GateError(HeadraceError, ValueError):
    """The policy cannot be applied to the evidence; the message is one sentence."""


@dataclass(frozen=True)
class GateResult:
    """The result of one gate. ``passed`` is None if the gate was not judged; ``reason`` then says why."""

    gate: str
    measured: float | str | None
    bound: float | str | None
    passed: bool | None
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return asdict(self)


def judge_promotion(evidence: Facts, policy: Facts) -> list[GateResult]:
    """Every gate of :class:`configs.promotion.Gate`, in the order of the report.

    Args:
        evidence: ``challenger`` and ``champion`` (metric -> value on the same rows; None without a champion), and what
            :func:`ray_cluster.promotion.challenge.challenge` measured too: ``gain``, ``slices``, ``latency_ms``,
            ``size_mb``, ``behaviour``, ``fairness``, ``failures``, ``overlap``. A part may be missing: then a
            comparison with the champion is left out, and an absolute bound is not reached.
        policy: the fields of the gate.

    Raises:
        GateError: the interval was measured at another confidence than the policy requires.
    """
    return [result for gate in _GATES for result in gate(evidence, policy)]


def _minimum(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    for metric, minimum in policy["minimum"].items():
        value, name = evidence["challenger"].get(metric), metric_name(metric)
        if value is None:
            reason = f"The challenger has no {name}; the gate requires at least {minimum:g}."
        elif value < minimum:
            reason = f"The challenger's {name} {value:.4f} is below the minimum {minimum:g}."
        else:
            reason = f"The challenger's {name} {value:.4f} reaches the minimum {minimum:g}."
        yield GateResult(f"minimum {name}", value, minimum, value is not None and value >= minimum, reason)


@dataclass(frozen=True)
class _Demand:
    """What the gate demands of a challenger against the champion.

    Attributes:
        least: the smallest measured gain.
        end: the lower end of the gain that counts, ``low`` or ``at_least`` of the evidence.
        floor: what that end must exceed.
        fresher: the days that a refresh knows more; 0 if the challenger must gain.
    """

    least: float
    end: str
    floor: float
    fresher: float = 0.0


def _demand(evidence: Facts, policy: Facts) -> _Demand:
    """A challenger must certainly gain; a refresh, whose served fit knows at least a day more than the champion's, must
    certainly lose less than the tolerance."""
    days, loss = evidence.get("fresher") or 0.0, -(policy.get("tolerance") or 0.0)
    if policy.get("refresh") and days >= 1:
        return _Demand(loss, "low", loss, float(days))
    if "at_least" in (evidence.get("gain") or {}):
        return _Demand(policy["margin"], "at_least", 0.0)
    return _Demand(policy["margin"], "low", loss)  # older decisions had one interval for all challengers


def _gain(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    demand = _demand(evidence, policy)
    yield _measured_gain(evidence, policy, demand)
    yield from _sure_gain(evidence, policy, demand)


def _measured_gain(evidence: Facts, policy: Facts, demand: _Demand) -> GateResult:
    metric, champion = policy["metric"], evidence["champion"]
    name = metric_name(metric)
    new, old = evidence["challenger"].get(metric), (champion or {}).get(metric)
    passed, gain, bound = False, None, None if champion is None else policy["margin"]
    if new is None:
        reason = f"The challenger has no {name}, which is the metric of the gate."
    elif champion is None:
        passed, reason = True, f"There is no champion yet; the first version has {name} {new:.4f}."
    elif old is None:
        reason = _not_compared(evidence, name)
    else:
        gain, bound = new - old, demand.least
        passed = gain >= bound - _TOLERANCE and (gain > 0 or demand.fresher > 0)
        reason = _compared(name, new, old, passed, demand)
    return GateResult(f"gain in {name}", gain, bound, passed, reason)


def _compared(name: str, new: float, old: float, passed: bool, demand: _Demand) -> str:
    mine, bound, rows = f"The challenger's {name}", demand.least, "on the same held-out rows"
    if demand.fresher:
        return (
            f"{mine} is {new:.4f} and the champion's {old:.4f} {rows}; the challenger is fitted on "
            f"{demand.fresher:.0f} more days, so that it only has to be worse by at most {-bound:g}."
        )
    exceeds = f"{mine} {new:.4f} exceeds the champion's {old:.4f} by {new - old:.4f} {rows}"
    if passed:
        return f"{exceeds}; the gate requires {bound:g}."
    if new > old:
        return f"{exceeds}, less than the margin {bound:g}."
    return (
        f"{mine} {new:.4f} does not exceed the champion's {old:.4f} {rows}; the gate requires a gain with a margin of "
        f"{bound:g}."
    )


def _sure_gain(evidence: Facts, policy: Facts, demand: _Demand) -> Iterable[GateResult]:
    found, confidence, tolerance = evidence.get("gain"), policy.get("confidence"), policy.get("tolerance")
    if evidence["champion"] is None or confidence is None or tolerance is None:
        return
    gate = f"gain, {confidence:.0%} sure"
    if not found:
        yield GateResult(gate, None, -tolerance, None, "No interval of the gain was measured.")
        return
    if found["confidence"] != confidence:
        raise GateError(
            f"The interval of the gain was measured at confidence {found['confidence']:g}, not {confidence:g}; "
            "register a new run under the new policy to measure it."
        )
    if found["low"] is None:
        reason = "The held-out rows give no interval of the gain, so the challenger's gain is not reliable."
        if why := found.get("why"):
            reason += f" {why} Use a longer split.held_out."
        yield GateResult(gate, None, -tolerance, False, reason)
        return
    end, name = found[demand.end], metric_name(found["metric"])
    passed = end > demand.floor
    if demand.end == "low":
        reason = (
            f"With {confidence:.0%} confidence the gain in {name} is between {end:+.4f} and {found['high']:+.4f} "
            f"({_method(found)}); its lower end {'is above' if passed else 'is not above'} {demand.floor:g}."
        )
    else:
        reason = (
            f"The gain in {name} is at least {end:+.4f}, which is wrong in {found['alpha']:.2%} of cases (in pairs, "
            f"over {found['days']:,} days and the seeds; comparison {found['attempt']} on these rows); "
            f"{'it is' if passed else 'it must be'} above zero."
        )
    yield GateResult(gate, end, demand.floor, passed, reason)


def _not_compared(evidence: Facts, name: str) -> str:
    overlap = evidence.get("overlap")
    if overlap is None:
        return f"The champion has no {name} on these rows, so the challenger cannot be compared."
    return (
        f"The champion was fitted on rows until {overlap['until'][:10]}, and only {overlap['rows']:,} of the "
        f"{overlap['of']:,} held-out rows, of {overlap['days']} days, are later or were held out by it too; a "
        f"comparison needs {MIN_DAYS} days with both outcomes: train with a later as_of or a shorter split.held_out."
    )


def _method(gain: Facts) -> str:
    """How the interval was measured; the evidence of older decisions has blocks of a bootstrap."""
    if "days" in gain:
        return f"in pairs, over {gain['days']:,} days"
    return f"paired bootstrap of {gain['blocks']:,} {gain['block']}s"


def _slices(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    bound, parts = policy.get("slice_drop"), evidence.get("slices") or []
    if bound is None or evidence["champion"] is None or not parts:
        return
    enough = judged_slices(parts)
    if not enough:
        reason = f"No slice has {MIN_CLASS_ROWS} rows of each class, so none is judged."
        yield GateResult("worst slice", None, bound, None, reason)
        return
    worst = max(enough, key=lambda part: float(part["champion"] - part["challenger"]))
    drop = worst["champion"] - worst["challenger"]
    lost = [part for part in enough if part["champion"] - part["challenger"] > bound + _TOLERANCE]
    change = (
        f"The slice {worst['slice']} = {worst['value']} ({worst['rows']:,} rows) goes from ROC AUC "
        f"{worst['champion']:.4f} to {worst['challenger']:.4f}"
    )
    if lost:
        more = f", and {len(lost) - 1} more lose as much" if len(lost) > 1 else ""
        reason = f"{change}, a loss of {drop:.4f}, more than {bound:g}{more}."
    else:
        reason = f"{change}, the worst change of {len(enough)} slices; none loses more than {bound:g}."
    yield GateResult("worst slice", drop, bound, not lost, reason)


def _calibration(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    new, old = evidence["challenger"].get("ece"), (evidence["champion"] or {}).get("ece")
    bound, rise = policy.get("ece"), policy.get("ece_rise")
    if bound is not None:
        yield _at_most("calibration error", "expected calibration error", new, bound, "", ".4f")
    if rise is not None and new is not None and old is not None:
        passed = new - old <= rise + _TOLERANCE
        reason = (
            f"The expected calibration error goes from the champion's {old:.4f} to {new:.4f}; "
            f"{'within' if passed else 'more than'} the rise of {rise:g} that the gate allows."
        )
        yield GateResult("rise of calibration error", new - old, rise, passed, reason)


def _cost(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    for key, gate, unit, form in (
        ("latency_ms", "latency of one row", " ms", ".1f"),
        ("size_mb", "size of the bundle", " MB", ".2f"),
    ):
        found = evidence.get(key) or {}
        value, bound = found.get("challenger"), policy.get(key)
        if bound is not None:
            yield _at_most(gate, gate, value, bound, unit, form)
        elif value is not None:
            champion = f"; the champion's is {found['champion']:{form}}{unit}" if found.get("champion") else ""
            reason = f"The {gate} is {value:{form}}{unit}{champion}; the gate has no bound for it."
            yield GateResult(f"{gate},{unit}", value, None, None, reason)


def _behaviour(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    required = [test for test in evidence.get("behaviour") or [] if test.get("required")]
    if not policy.get("behaviour") or not required:
        return
    failed = [test for test in required if test.get("passed") is False]
    unjudged = sum(test.get("passed") is None for test in required)
    if failed:
        names = "; ".join(f"{test['name']} ({test['says']})" for test in failed)
        reason = f"{len(failed)} of {len(required)} required behavioural tests {_fail(len(failed))}: {names}."
    else:
        few = f"; {unjudged} had too few rows to judge" if unjudged else ""
        reason = f"None of {len(required)} required behavioural tests fails{few}."
    yield GateResult("behavioural tests", f"{len(failed)} failed", "0 failed", not failed, reason)


def _fairness(evidence: Facts, policy: Facts) -> Iterable[GateResult]:
    failed = next((each for each in evidence.get("failures") or [] if each["what"] == "fairness"), None)
    if failed and policy.get("fairness"):
        reason = f"The gaps between groups were not measured ({failed['why']}), and the gate requires them."
        yield GateResult("fairness", None, None, False, reason)
    for part in evidence.get("fairness") or []:
        gate = f"fairness by {part['column']}"
        if not part.get("gaps"):
            reason = f"Fewer than two groups of {part['column']} have enough rows, so no gap between them is judged."
            yield GateResult(gate, None, part["bound"], None, reason)
            continue
        kind, gap = max(((name, each["gap"]) for name, each in part["gaps"].items()), key=lambda pair: float(pair[1]))
        within, judged = gap <= part["bound"], bool(policy.get("fairness"))
        reason = (
            f"The largest gap between groups of {part['column']} is {gap:.3f} ({kind.replace('_', ' ')}), "
            f"{'within' if within else 'above'} the bound {part['bound']:g}"
            f"{'.' if judged else '; the gate does not use it (gate.fairness).'}"
        )
        yield GateResult(gate, gap, part["bound"], within if judged else None, reason)


def _at_most(gate: str, name: str, value: float | None, bound: float, unit: str, form: str) -> GateResult:
    if value is None:
        reason = f"The {name} was not measured; the gate requires at most {bound:g}{unit}."
    else:
        passed = "within" if value <= bound else "above"
        reason = f"The {name} is {value:{form}}{unit}, {passed} the bound {bound:g}{unit}."
    return GateResult(f"{gate},{unit}" if unit else gate, value, bound, value is not None and value <= bound, reason)


def _fail(count: int) -> str:
    return "fails" if count == 1 else "fail"


_GATES: tuple[Callable[[Facts, Facts], Iterable[GateResult]], ...] = (
    _minimum,
    _gain,
    _slices,
    _calibration,
    _cost,
    _behaviour,
    _fairness,
)
