"""The model card of one version, as Markdown and as HTML, from the same parts.

The parts follow M. Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ray_cluster.registry.evidence import Evidence
from ray_cluster.reports.formats import amount, metric, moment, percent, words

__all__ = [
    "CardFacts",
    "Part",
    "Rows",
    "card_parts",
    "card_html",
    "card_markdown",
    "short_form",
]

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class CardFacts:
    """The facts for a card; ``evidence`` is that of the version's run."""

    model: str
    version: int
    status: str
    created: str
    run_id: str
    evidence: Evidence = field(default_factory=Evidence)
    words: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Rows:
    """A table; columns from ``text`` on are numbers, aligned right."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    text: int = 1


@dataclass(frozen=True)
class Part:
    """One part of a card: paragraphs, lists (tuples) and tables, in order. ``quiet``: there is nothing to report."""

    id: str
    title: str
    blocks: tuple[str | tuple[str, ...] | Rows, ...]
    quiet: bool = False


def card_parts(facts: CardFacts) -> list[Part]:
    """The nine parts of the card; all are always present."""
    made = (_details, _use, _factors, _metrics, _evaluation_data, _training_data, _ethics, _caveats, _provenance)
    return [part(facts) for part in made]


def _details(facts: CardFacts) -> Part:
    spec, evaluation, said = facts.evidence.model, facts.evidence.evaluation, facts.words
    found = [
        f"Model {facts.model}, version {facts.version}, registered {moment(facts.created)}: {facts.status}.",
        f"Owner: {said['owner']}." if said.get("owner") else "Owner: not given in the model's file (card.owner).",
        f"Type: {evaluation.family}" + (f" with {_settings(evaluation.params)}." if evaluation.params else ".")
        if evaluation
        else "Type: not recorded.",
    ]
    if evaluation and (calibration := evaluation.calibration):
        kind = calibration.get("method")
        found.append(f"Calibration: {kind}." if kind else "Calibration: see the evidence.")
    if evaluation:
        found.append(f"Threshold of the decision: {metric(evaluation.served_threshold, 4)}.")
    blocks: list[str | tuple[str, ...]] = [spec["description"]] if spec.get("description") else []
    return Part("details", "Model details", (*blocks, tuple(found)))


def _use(facts: CardFacts) -> Part:
    requests, said = facts.evidence.model.get("requests") or {}, facts.words
    found = [
        said.get("intended_use") or "The intended use is not given in the model's file (card.intended_use).",
        f"Out of scope: {said['out_of_scope']}"
        if said.get("out_of_scope")
        else "Out-of-scope uses are not given in the model's file (card.out_of_scope).",
    ]
    if requests:
        fields = [*(requests.get("entities") or {}), *(requests.get("fields") or {})]
        found.append(f"A request has {', '.join(fields)}; the response has a probability and a decision.")
    quiet = not (said.get("intended_use") or said.get("out_of_scope"))
    return Part("use", "Intended use", tuple(found), quiet)


def _factors(facts: CardFacts) -> Part:
    evaluation = facts.evidence.evaluation
    if evaluation is None or not evaluation.slices:
        return _nothing("factors", "Factors", "This model declares no slices, so none were measured.")
    worst = evaluation.worst_slice
    rows = tuple(
        (
            f"{part['slice']} = {part['value']}",
            amount(part["rows"]),
            percent(part["positives"] / part["rows"]),
            _with_interval(part, "roc_auc"),
            _with_interval(part, "average_precision"),
        )
        for part in evaluation.slices
    )
    named = (
        (f"The worst slice is {worst['slice']} = {worst['value']}, with ROC AUC {metric(worst['roc_auc'])}.",)
        if worst
        else ()
    )
    header = ("Slice", "Rows", "Positive", "ROC AUC", "Average precision")
    return Part("factors", "Factors", (*named, Rows(header, rows)))


def _metrics(facts: CardFacts) -> Part:
    evaluation, decision = facts.evidence.evaluation, facts.evidence.decision
    if evaluation is None or not evaluation.metrics:
        return _nothing("metrics", "Metrics", "This version was not evaluated.")
    sure = evaluation.intervals or {}
    rows = tuple(
        (words(name), metric(value, 4), _interval(sure.get(name))) for name, value in evaluation.metrics.items()
    )
    blocks: list[str | Rows] = [Rows(("On the held-out rows", "Value", "95 % interval"), rows)]
    if not sure:
        blocks.append("No intervals were measured.")
    if evaluation.baselines:
        compared = tuple(
            (name, metric(each.get("average_precision"), 4), metric(each.get("roc_auc"), 4))
            for name, each in evaluation.baselines.items()
        )
        blocks.append(Rows(("Baseline", "Average precision", "ROC AUC"), compared))
    if evaluation.behaviour:
        tested = tuple(
            (test["name"], test["says"], {True: "passed", False: "failed", None: "too few rows"}[test["passed"]])
            for test in evaluation.behaviour
        )
        blocks.append(Rows(("Behavioural test", "Expected", "Result"), tested, text=3))
    if decision.get("gates"):
        judged = tuple(
            (str(gate["gate"]), _value(gate["measured"]), _value(gate["bound"]), _passed(gate["passed"]))
            for gate in decision["gates"]
        )
        blocks += [f"Promotion gate: {decision['action']}.", Rows(("Gate", "Measured", "Bound", ""), judged)]
    return Part("metrics", "Metrics", tuple(blocks))


def _evaluation_data(facts: CardFacts) -> Part:
    held_out = _periods(facts).get("held_out")
    if not held_out:
        return _nothing("evaluation-data", "Evaluation data", "The run has no record of the held-out rows.")
    return Part(
        "evaluation-data",
        "Evaluation data",
        (f"The latest period, not used for tuning or selection: {_period(held_out)}.", _measured_fit(facts)),
    )


def _measured_fit(facts: CardFacts) -> str:
    """Which fit the metrics are of, and which one is served."""
    evaluation = facts.evidence.evaluation
    if evaluation is None or not evaluation.served:
        return "The metrics are those of this version, which was fitted on earlier rows."
    return (
        "The metrics are those of fits on earlier rows, at a threshold of "
        f"{metric(evaluation.threshold, 4)}. This version is the same recipe, fitted on all "
        f"{amount(evaluation.served['rows'])} rows known at {moment(evaluation.served['until'])}."
    )


def _training_data(facts: CardFacts) -> Part:
    dataset, periods = facts.evidence.dataset, _periods(facts)
    if dataset is None:
        return _nothing("training-data", "Training data", "The run has no record of the training rows.")
    found = [
        f"{amount(dataset.rows)} rows of feature service {dataset.feature_service}, as known at "
        f"{moment(dataset.as_of)}; fingerprint {dataset.fingerprint}.",
        *(f"{name.capitalize()}: {_period(periods[name])}." for name in ("train", "validation") if name in periods),
    ]
    if dataset.unlabelled:
        found.append(f"{amount(dataset.unlabelled)} more rows were left out, because their label is null.")
    label = facts.evidence.model.get("label") or {}
    if label:
        found.append(f"A row is positive if {label.get('positive')} (table {label.get('table')}).")
    tables = tuple(dataset.tables.items())
    blocks: list[tuple[str, ...] | Rows] = [tuple(found)]
    if tables:
        blocks.append(Rows(("Table", "Fingerprint"), tables, text=2))
    return Part("training-data", "Training data", tuple(blocks))


def _ethics(facts: CardFacts) -> Part:
    evaluation = facts.evidence.evaluation
    gaps = (evaluation.fairness if evaluation else None) or []
    said = tuple(facts.words.get("ethical_considerations") or ())
    if not gaps:
        none = "This model declares no groups, so no gap between groups was measured."
        return Part("ethics", "Ethical considerations", (none, *([said] if said else [])), quiet=not said)
    rows = tuple(
        (
            part["column"],
            name.replace("_", " "),
            f"{metric(gap['gap'])} ({metric(gap['low'])} to {metric(gap['high'])})",
            metric(part["bound"]),
        )
        for part in gaps
        for name, gap in (part.get("gaps") or {}).items()
    )
    header = ("Groups by", "Largest gap in", "Gap (95 % interval)", "Bound")
    small = [
        f"Too small to judge by {part['column']}: {', '.join(part['too_small'])}." for part in gaps if part["too_small"]
    ]
    return Part("ethics", "Ethical considerations", (Rows(header, rows, text=2), *small, *([said] if said else [])))


def _caveats(facts: CardFacts) -> Part:
    said = [str(each) for each in facts.words.get("caveats") or ()]
    evaluation, dataset, decision = facts.evidence.evaluation, facts.evidence.dataset, facts.evidence.decision
    if dataset and dataset.git.get("dirty"):
        said.append("It was trained from a working tree with uncommitted changes.")
    said += [f"The {each['what']} failed and is left out: {each['why']}." for each in facts.evidence.failures]
    tests = (evaluation.behaviour if evaluation else None) or []
    failed = [test["name"] for test in tests if test["passed"] is False]
    if failed:
        said.append(f"Behavioural tests that fail: {', '.join(failed)}.")
    if decision.get("action") == "refuse":
        said += [str(reason) for reason in decision["reasons"]]
    if not said:
        return _nothing("caveats", "Caveats and recommendations", "None are given in the model's file (card.caveats).")
    return Part("caveats", "Caveats and recommendations", (tuple(said),))


def _provenance(facts: CardFacts) -> Part:
    dataset = facts.evidence.dataset
    found = [f"MLflow run {facts.run_id}."]
    if dataset and (git := dataset.git):
        found.append(f"git commit {git.get('commit')}{', with uncommitted changes' if git.get('dirty') else ''}.")
    if dataset and dataset.libraries:
        found.append(f"Libraries: {', '.join(f'{name} {version}' for name, version in dataset.libraries.items())}.")
    blocks: list[tuple[str, ...] | Rows] = [tuple(found)]
    if facts.evidence.history:
        rows = tuple(
            (moment(event["at"]), str(event["what"]), str(event["by"]), str(event.get("why") or ""))
            for event in facts.evidence.history
        )
        blocks.append(Rows(("When", "What", "By", "Why"), rows, text=4))
    return Part("provenance", "Provenance and history", tuple(blocks))


def _nothing(id_: str, title: str, sentence: str) -> Part:
    return Part(id_, title, (sentence,), quiet=True)


def _settings(params: Facts) -> str:
    return ", ".join(f"{name} = {amount(value)}" for name, value in params.items())


def _periods(facts: CardFacts) -> dict[str, dict[str, Any]]:
    evaluation = facts.evidence.evaluation
    return evaluation.periods if evaluation else {}


def _period(facts: Facts) -> str:
    span = f"{moment(facts.get('start'))} to {moment(facts.get('end'))}"
    rows, positives = facts.get("rows"), facts.get("positives")
    share = f", {percent(positives / rows)} positive" if rows and positives is not None else ""
    return f"{span}, {amount(rows)} rows{share}"


def _interval(ends: Sequence[float] | None) -> str:
    return f"{metric(ends[0], 4)} to {metric(ends[1], 4)}" if ends else "-"


def _with_interval(part: Facts, name: str) -> str:
    ends = (part.get("intervals") or {}).get(name)
    return metric(part.get(name)) + (f" ({metric(ends[0])} to {metric(ends[1])})" if ends else "")


def _value(value: Any) -> str:
    return metric(value, 4) if isinstance(value, float) else amount(value)


def _passed(passed: bool | None) -> str:
    return {True: "passed", False: "not passed", None: "not judged"}[passed]


def short_form(facts: CardFacts) -> str:
    """A few lines of Markdown for the version's page in MLflow."""
    evaluation, decision = facts.evidence.evaluation, facts.evidence.decision
    found = evaluation.metrics if evaluation else {}
    figures = ", ".join(
        f"{words(name)} {metric(found[name])}"
        for name in ("average_precision", "roc_auc", "ece")
        if found.get(name) is not None
    )
    lines = [
        f"**{facts.model} version {facts.version}**: {facts.status}.",
        facts.evidence.model.get("description") or "",
    ]
    lines.append(f"Held out: {figures}." if figures else "It was not evaluated.")
    if decision:
        lines.append(f"Decision of the gate: *{decision['action']}*. {' '.join(decision['reasons'])}")
    lines.append("The complete card is in the run's artifacts: `card/card.md`.")
    return "\n\n".join(line for line in lines if line)


def card_markdown(facts: CardFacts) -> str:
    """The card as one Markdown document."""
    lines = [f"# Model card: {facts.model}, version {facts.version}", ""]
    for part in card_parts(facts):
        lines += [f"## {part.title}", ""]
        for block in part.blocks:
            if isinstance(block, Rows):
                rule = ["---" if place < block.text else "---:" for place in range(len(block.header))]
                rows = [block.header, tuple(rule), *block.rows]
                lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
            elif isinstance(block, tuple):
                lines += [f"- {item}" for item in block]
            else:
                lines += [block]
            lines += [""]
    return "\n".join(lines)


def card_html(facts: CardFacts) -> str:
    """The card as one self-contained page."""
    from ray_cluster.reports.page import environment

    return environment().get_template("card.html.j2").render(facts=facts, parts=card_parts(facts))
