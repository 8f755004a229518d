"""The model card: every part is there, says what is known, and says so where nothing is."""

from __future__ import annotations

import re
from dataclasses import replace

from ray_cluster.registry.evidence import Evidence
from ray_cluster.reports.model_card_page import CardFacts, card_html, card_markdown, card_parts, short_form
from tests.ray_cluster.reports.example_evidence import content

TITLES = [
    "Model details",
    "Intended use",
    "Factors",
    "Metrics",
    "Evaluation data",
    "Training data",
    "Ethical considerations",
    "Caveats and recommendations",
    "Provenance and history",
]


def full() -> CardFacts:
    page = content()
    evaluation = replace(
        page.evaluation,
        intervals={"average_precision": [0.40, 0.43]},
        worst_slice=page.evaluation.slices[0],
        behaviour=[{"name": "later", "says": "later is worse", "passed": True}],
        fairness=[
            {"column": "origin", "gaps": {"equal_opportunity": {"gap": 0.05, "low": 0.01, "high": 0.09}}, "bound": 0.1,
             "too_small": ["JFK"]}
        ],
    )  # fmt: skip
    history = [{"at": "2013-12-17T00:00:00+00:00", "what": "promoted", "by": "ann", "why": "looks right"}]
    return CardFacts(
        model="flight_delay",
        version=3,
        status="champion",
        created="2013-12-17T00:00:00+00:00",
        run_id=page.run_id,
        evidence=Evidence(
            evaluation=evaluation, dataset=page.dataset, decision=page.decision, history=history,
            model={"description": page.description, "label": {"positive": "arr_delay >= 30", "table": "outcomes"}},
        ),
        words={"owner": "the operations desk", "intended_use": "To warn <planners> | crews.", "caveats": ["One year."]},
    )  # fmt: skip


def test_a_whole_card_says_what_is_known_in_both_forms():
    facts = full()
    text, page = card_markdown(facts), card_html(facts)
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == TITLES
    assert re.findall(r"<h2>(.+?)</h2>", page) == TITLES
    for said in (
        "the operations desk",
        "0.4000 to 0.4300",
        "equal opportunity",
        "JFK",
        "looks right",
        "later is worse",
    ):
        assert said in text and said in page
    assert "<planners>" not in page and "&lt;planners&gt;" in page
    assert 'src="http' not in page
    for table in re.findall(r"(?:^\|.+\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.strip().splitlines()}
        assert len(widths) == 1
    short = short_form(facts)
    assert short.startswith("**flight_delay version 3**: champion.") and "Decision of the gate: *promote*" in short


def test_a_card_without_evidence_says_so_in_every_part():
    facts = CardFacts("m", 1, "not decided yet", "2013-12-17T00:00:00+00:00", "r1")
    parts = card_parts(facts)
    assert [part.title for part in parts] == TITLES and all(part.blocks for part in parts)
    assert [part.id for part in parts if part.quiet] == [
        "use", "factors", "metrics", "evaluation-data", "training-data", "ethics", "caveats",
    ]  # fmt: skip
    text = card_markdown(facts)
    for said in (
        "was not evaluated",
        "not given in the model's file (card.owner)",
        "no gap between groups was measured",
    ):
        assert said in text
    assert "None" not in text.replace("None are given", "")
