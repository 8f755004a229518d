# ruff: noqa: E501
"""The page: every section is there, nothing comes through unescaped, a missing part is a sentence."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import example_evidence
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feature_repo.tables.table_profile import profile_table
from ray_cluster.registry.evidence import Dataset, Evaluation
from ray_cluster.reports import search_charts
from ray_cluster.reports.formats import amount, duration, percent
from ray_cluster.reports.lifecycle_content import ReportContent, confusion, drift_bars
from ray_cluster.reports.page import render, write_report

SECTIONS = [
    "summary",
    "data",
    "tuning",
    "sampling",
    "evaluation",
    "decision",
    "endpoint",
    "monitoring",
    "next",
    "provenance",
]
VOID = {"meta", "link", "br", "img", "input", "hr", "col"}


class Page(HTMLParser):
    """Checks that every element is closed in its place; collects ids, tags and addresses."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        facts = dict(attrs)
        self.ids += [facts["id"] or ""] if "id" in facts else []
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def full() -> ReportContent:
    return example_evidence.content()


@pytest.fixture(scope="module")
def text(full: ReportContent) -> str:
    return render(full)


def test_the_page_is_whole_and_self_contained(text: str) -> None:
    page = Page(text)
    assert [part for part in page.ids if part in SECTIONS] == SECTIONS
    assert len(page.ids) == len(set(page.ids))
    assert page.tags.count("svg") > 12 and "img" not in page.tags and "link" not in page.tags
    assert {a for a in page.addresses if not a.startswith("#")} == {
        "http://127.0.0.1:4200", "http://127.0.0.1:5000", "http://127.0.0.1:8085", "http://127.0.0.1:8265",
        "http://127.0.0.1:8000/flight_delay/docs", "http://127.0.0.1:8000/flight_delay",
    }  # fmt: skip
    assert len(text.encode()) < 1_000_000
    assert "#0a0b" not in text  # every marker colour has become a variable of the style sheet


def test_the_page_says_what_was_found(full: ReportContent, text: str) -> None:
    words = " ".join(" ".join(Page(text).words).split())
    for phrase in (
        "Will the flight be late?", "37 quarantined", "trial 00 (xgboost) was chosen", "The worst slice is", "the gate requires 0.002",
        "best baseline", "The verdict compares it with what the scores predict.", "994be8e", "with uncommitted changes",
    ):  # fmt: skip
        assert phrase in words
    assert full.decision is not None and all(reason in words for reason in full.decision["reasons"])
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", words.lower()) and "Undefined" not in words


def test_a_page_without_evidence_says_so() -> None:
    words = " ".join(Page(render(ReportContent("Run", "flight_delay"))).words)
    for sentence in (
        "No step of this run was timed.", "No table was ingested", "This run has no tuning trials",
        "This run has no held-out evaluation",
        "No decision about promotion", "No endpoint was deployed", "No predictions were monitored",
        "No address of a running service", "The origin of this version is not recorded",
    ):  # fmt: skip
        assert sentence in words


#: Part of the content -> what the page shows of it, and what it says where the part is missing.
PARTS = {
    "description": ("cancelled or diverted, said two hours", None),
    "version": ('<span class="badge">version <b>3</b>', None),
    "run_id": ('<span class="badge">run <code>5f1d0a9c7b3e</code>', None),
    "as_of": ('<span class="badge">as of <b>2013-12-17 00:00 UTC</b>', None),
    "steps": ("Time per step, in total 2 min 27 s", "No step of this run was timed."),
    "ingest": ("37 quarantined", "No table was ingested in this run."),
    "evaluation": ("The worst slice is", "This run has no held-out evaluation"),
    "trials": ("trial 00 (xgboost) was chosen", "This run has no tuning trials."),
    "sampling": ("<b>smote</b> is kept", "requests no sampling"),
    "dataset": ("994be8e", None),
    "decision": ("gate: <span", "No decision about promotion was made in this run."),
    "monitoring": ("monitoring: <span", "No predictions were monitored in this run."),
    "endpoint": ("curl -s http://127.0.0.1:8000/flight_delay/predict", "No endpoint was deployed in this run."),
    "links": ('href="http://127.0.0.1:4200"', "No address of a running service was given"),
    "metric": ("<h2>Tuning</h2>", None),  # has a default, which is the metric of the example
    "versions": ("0.67.0", None),
    "failures": ("The costs: OSError: no space left", None),
}


@pytest.mark.parametrize("part", [f.name for f in dataclasses.fields(ReportContent)][2:])
def test_any_one_part_may_be_missing(full: ReportContent, part: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(
        search_charts, "histories", lambda *_: None
    )  # charts are not needed to see that the page is whole
    monkeypatch.setattr(search_charts, "parallel_coordinates", lambda *_: None)
    field = next(f for f in dataclasses.fields(ReportContent) if f.name == part)
    empty = field.default if field.default is not dataclasses.MISSING else {}
    failure = {"what": "costs", "why": "OSError: no space left"}
    thin = dataclasses.replace(full, evaluation=dataclasses.replace(full.evaluation, curves={}), failures=[failure])
    shown, said = PARTS[part]
    whole, without = render(thin), render(dataclasses.replace(thin, **{part: empty}))
    assert shown in whole and (said is None or said not in whole)
    assert (shown in without) == (part == "metric") and (said is None or said in without)
    page = Page(without)
    assert [name for name in page.ids if name in SECTIONS] == SECTIONS
    for other, (kept, _) in PARTS.items():
        assert other == part or kept in without, f"{other} is lost with {part}"


def test_sparse_evidence_is_enough() -> None:
    content = ReportContent(
        "Run", "m",
        steps=[{"name": "ingest", "seconds": 0.0, "note": None}],
        ingest=[{"table": "t", "rows_in": 0, "rows_out": 0, "quarantined": 0, "later": 0, "fingerprint": None, "columns": []}],
        evaluation=Evaluation(family="", threshold=0.5, metrics={"roc_auc": None}),
        trials=[{"trial": 1, "family": "xgboost", "params": None, "status": "failed", "iterations": 0, "metric": None, "seconds": None, "history": []}],
        dataset=Dataset(fingerprint="f", rows=0, as_of="", feature_service=""),
        decision={"action": "refuse", "reasons": ["It is worse."]},
        monitoring={"measurements": {"rows": 0, "features": [], "as_of": "2013-12-31"}, "decision": {"action": "wait", "reasons": []}},
        endpoint={"url": None},
    )  # fmt: skip
    page = Page(render(content))
    assert [part for part in page.ids if part in SECTIONS] == SECTIONS
    words = " ".join(" ".join(page.words).split())
    for phrase in (
        "Time per step, in total 0 ms", "No column of this table was profiled.", "1 xgboost failed 0 - -", "ROC AUC -",
        "gate: refuse", "It is worse.", "monitoring: wait", "0 predictions, as of 2013-12-31 00:00", "No feature was logged.",
        "Too few outcomes have arrived to measure performance.", "No endpoint was deployed in this run.",
    ):  # fmt: skip
        assert phrase in words, phrase


@settings(max_examples=15, deadline=None)
@given(st.text(max_size=12))
def test_nothing_comes_through_unescaped(noise: str) -> None:
    evil = f"<script>alert('x')</script>\"'&{noise}"
    column = {
        "name": evil,
        "dtype": evil,
        "nulls": 1,
        "minimum": evil,
        "maximum": evil,
        "distinct": 1,
        "top": [[evil, 3]],
    }
    content = ReportContent(
        evil, evil, description=evil, run_id=evil, as_of=evil,
        steps=[{"name": evil, "seconds": 1, "note": evil}],
        ingest=[{"table": evil, "rows_in": 4, "rows_out": 4, "quarantined": 0, "later": 0, "fingerprint": evil, "columns": [column]}],
        evaluation=Evaluation(family=evil, threshold=0.5, baselines={evil: {"roc_auc": 0.5}}, metrics={"roc_auc": 0.6, evil: 1.0}, importance=[{"feature": evil, "importance": 1.0}],
                    slices=[{"slice": evil, "value": evil, "rows": 99, "positives": 40, "roc_auc": 0.6, "average_precision": 0.5}],
                    worst_slice={"slice": evil, "value": evil, "rows": 99, "roc_auc": 0.6}, shap=[{"feature": evil, "contribution": 0.1}],
                    behaviour=[{"name": evil, "test": evil, "required": True, "passed": False, "says": evil, "where": evil, "rows": 3, "failing": 0.5,
                                   "example": {"id": evil, "change": evil, "before": 0.1, "after": 0.2}}],
                    fairness=[{"column": evil, "groups": [{"group": evil, "rows": 1, "positives": 1}], "too_small": [evil], "gaps": {evil: None}, "worst": evil, "bound": 0.1, "within": None}],
                    folds={"windows": [{"start": evil, "end": evil}] * 2, "finalists": [{"trial": evil, "family": evil, "metrics": [0.1, 0.2], "mean": 0.1, "chosen": True}]}),
        trials=[{"trial": evil, "family": evil, "params": {evil: evil}, "status": evil, "iterations": 1, "metric": 0.5, "seconds": 1, "history": []}],
        decision={"action": evil, "reasons": [evil], "evidence": {"challenger": {evil: 0.1}}},
        dataset=Dataset(fingerprint=evil, rows=1, as_of=evil, feature_service=evil, tables={evil: evil}, git={"commit": evil, "dirty": False}),
        endpoint={"url": evil, "curl": evil}, links={evil: "javascript:alert(1)"}, versions={evil: evil},
    )  # fmt: skip
    text = render(content)
    assert "<script>alert" not in text
    page = Page(text)
    assert page.tags.count("script") == 1 and not [a for a in page.addresses if a.startswith("javascript")]


def test_labels_of_charts_are_escaped(full: ReportContent) -> None:
    trials = [{**trial, "family": "<b>$x$</b>&"} for trial in full.trials]
    text = render(dataclasses.replace(full, trials=trials, evaluation=None, monitoring=None, ingest=()))
    assert "<b>$x$</b>" not in text and "b" not in set(Page(text).ids)


def test_a_chart_that_fails_and_what_failed_before_are_named_and_the_rest_is_shown(full: ReportContent) -> None:
    assert full.evaluation is not None and full.evaluation.curves is not None
    curves = {**full.evaluation.curves, "roc": {"x": ["?"], "y": [1]}}
    evaluation = dataclasses.replace(full.evaluation, curves=curves)
    earlier = {"what": "baseline <b>", "why": "ValueError: no"}
    page = render(dataclasses.replace(full, evaluation=evaluation, failures=[earlier]))
    assert "Failed and left out" in page and "<li>The chart roc: ValueError: " in page
    assert "<li>The baseline &lt;b&gt;: ValueError: no</li>" in page
    assert "ROC curve</h3>" not in page and "Precision and recall</h3>" in page
    assert "Failed and left out" not in render(full)


def test_writing_replaces_the_page_at_once(tmp_path: Path) -> None:
    path = write_report(tmp_path / "reports" / "run.html", ReportContent("One", "m"))
    assert write_report(path, ReportContent("Two", "m")) == path and "<title>Two</title>" in path.read_text()
    assert [file.name for file in path.parent.iterdir()] == ["run.html"]


def test_the_confusion_matrix() -> None:
    facts = Evaluation(
        family="xgboost",
        threshold=0.5,
        metrics={"precision": 0.5, "recall": 0.4},
        periods={"held_out": {"rows": 1000, "positives": 100}},
    )
    assert confusion(facts) == {
        "true_positives": 40, "false_positives": 40, "false_negatives": 60, "true_negatives": 860,
    }  # fmt: skip


def test_the_evaluation_is_shown_with_what_it_is_sure_of(full: ReportContent, text: str) -> None:
    words = " ".join(" ".join(Page(text).words).split())
    assert full.evaluation is not None and full.evaluation.intervals is not None
    low, high = full.evaluation.intervals["average_precision"]
    assert f"{low:.3f} to {high:.3f}" in words
    for phrase in (
        "Calibrated by a sigmoid function, chosen on 41,002 validation rows", "before calibration, ECE 0.0610",
        "Costs of decisions", "Flag none", "theoretical 0.200", "SHAP", "Permutation",
        "worse sight is no less risk", "passed", "failed, required", "not judged", "visib: 10 → 7", "score 0.327 → 0.304",
        "Equal opportunity (true positive rate)", "fewer than two groups have enough rows", "a gap is above 0.1",
        "Validation over 3 windows", "trial 02 (xgboost), chosen",
    ):  # fmt: skip
        assert phrase in words, phrase


def test_bars_of_drift_keep_their_order_and_their_place() -> None:
    rows = [
        {"feature": "a", "psi": 0.2, "natural": None},
        {"feature": "b", "psi": 5.0, "natural": 9.0},
        {"feature": "c", "psi": 9.5, "natural": 0.0, "ignored": True},
    ]
    bars = drift_bars({"features": rows}, 0.2)
    assert [row["feature"] for row in bars["rows"]] == ["b", "a", "c"] and bars["natural"]
    assert bars["rows"][1]["width"] == bars["bound"] and bars["rows"][1]["natural_at"] is None
    assert bars["rows"][0]["width"] < bars["rows"][0]["natural_at"] < bars["rows"][2]["width"] == 100
    assert bars["rows"][2]["natural_at"] == 0
    assert drift_bars({}, 0.2) == {"bound": pytest.approx(85.47, abs=0.01), "natural": False, "rows": []}


def test_the_natural_variation_is_drawn_and_colours_follow_the_rule(full: ReportContent, text: str) -> None:
    assert full.monitoring is not None
    features = full.monitoring["measurements"]["features"]
    section = text[text.index('id="monitoring"') : text.index('id="next"')]
    assert section.count('class="tick"') == len(features)
    assert section.count("fill over") == sum(row["drifted"] for row in features) > 0
    assert "the tick and the second figure what the days of the held-out rows explain" in section


def test_the_header_and_the_section_show_the_verdict_of_monitoring(full: ReportContent, text: str) -> None:
    assert full.monitoring is not None and full.monitoring["decision"]["action"] == "retrain"
    header = text[text.index("<header>") : text.index("</header>")]
    assert '<span>monitoring: <span class="badge bad">retrain</span></span>' in header
    section = text[text.index('id="monitoring"') : text.index('id="next"')]
    assert '<div class="card verdict bad">' in section and '<p><span class="badge bad">retrain</span> 4,200' in section
    words = " ".join(Page(section.partition(">")[2].rpartition("</section>")[0]).words)
    assert all(reason in words for reason in full.monitoring["decision"]["reasons"])
    assert "monitoring:" not in render(dataclasses.replace(full, monitoring=None))


def test_no_macro_hides_a_value_of_the_page(text: str) -> None:
    """An imported macro takes the place of a value that has its name, in every template that the page includes."""
    from ray_cluster.reports import page

    macros = set(page.environment().get_template("macros.html.j2").module.__dict__)
    found: dict[str, Any] = {}
    template = page.environment().get_template("report.html.j2")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(template), "render", lambda self, **values: found.update(values) or "")
        render(ReportContent("Run", "m"))
    assert "verdict" in found and "badge" in macros and not macros & set(found)


def test_a_line_of_the_tuning_chart_ends_where_the_row_of_its_trial_says(
    full: ReportContent, text: str, monkeypatch: Any
) -> None:
    drawings: list[Any] = []
    monkeypatch.setattr(search_charts, "svg", lambda drawing, *_: drawings.append(drawing) or "")
    search_charts.histories(full.trials, "Average precision")
    ends = {tuple(line.get_xydata()[-1]) for line in drawings[0].axes[0].lines}
    drawn = [trial for trial in full.trials if trial["history"]]
    assert ends == {(trial["iterations"], trial["metric"]) for trial in drawn}
    assert any(trial["history"][-1][0] > trial["iterations"] for trial in drawn)  # that went on past their best
    rows = re.findall(r"<tr[^>]*>\s*<td class=\"line\">(\d\d)[^<]*</td>(.*?)</tr>", text, re.DOTALL)
    cells = {trial: re.findall(r'<td class="n">([^<]*)</td>', row)[:2] for trial, row in rows if "finished" in row}
    assert cells["02"] == [f"{full.trials[2]['iterations']}", f"{full.trials[2]['metric']:.4f}"]


def test_the_thick_line_of_the_parameters_is_the_chosen_trial(full: ReportContent, monkeypatch: Any) -> None:
    drawings: list[Any] = []
    monkeypatch.setattr(search_charts, "svg", lambda drawing, *_: drawings.append(drawing) or "")
    search_charts.parallel_coordinates(full.trials, "Average precision")
    [thick] = [line for line in drawings[0].axes[0].lines if line.get_linewidth() > 2]
    metrics = np.array([trial["metric"] for trial in full.trials if trial["metric"] is not None])
    assert metrics[0] < metrics.max()  # another trial is ahead in the search
    assert thick.get_ydata()[-1] == pytest.approx((metrics[0] - metrics.min()) / np.ptp(metrics))


def test_figures() -> None:
    assert [amount(v) for v in (12_345, 12_345.6, 0.00012346, float("nan"), True)] == [
        "12,345",
        "12,346",
        "0.0001235",
        "-",
        "true",
    ]
    assert [percent(v) for v in (1.0, 0.5, 0.004, None)] == ["100%", "50%", "0.4%", "-"]
    assert [duration(v) for v in (0.01, 59.0, 3661.0)] == ["10 ms", "59.0 s", "61 min 01 s"]


def test_profiles_of_a_table(full: ReportContent) -> None:
    columns = {column["name"]: column for column in full.ingest[0]["columns"]}
    assert sum(columns["wind_gust"]["histogram"]) + columns["wind_gust"]["nulls"] == full.ingest[0]["rows_out"]
    assert columns["carrier"]["distinct"] == 9 and len(columns["carrier"]["top"]) == 8
    assert columns["observed_at"]["minimum"].startswith("2013-10-01T00")
    assert profile_table(example_evidence.frame(0, "2013-10-01", 1, 0.0, 0))["columns"][0]["histogram"] == []


def test_the_court_is_shown_with_intervals_on_one_axis(full: ReportContent, text: str) -> None:
    from ray_cluster.reports.lifecycle_content import contender_bars

    bars = {row["contender"]: row for row in contender_bars(full.sampling)}
    assert "low_at" not in bars["none"] and "low_at" not in bars["adasyn"]
    for name in ("class_weight", "undersample", "smote"):
        assert 0 <= bars[name]["low_at"] < bars[name]["gain_at"] < bars[name]["high_at"] <= 100
        assert (bars[name]["low_at"] > bars[name]["zero_at"]) == (name == "smote")
    part = text[text.index('id="sampling"') : text.index('id="evaluation"')]
    assert "<b>smote</b> is kept" in part and "no negative among the neighbours" in part
    assert part.count('class="range"') == 3 and "Of the duplicates there is this to say." in part
    assert "requests no sampling" in render(dataclasses.replace(full, sampling=None))
