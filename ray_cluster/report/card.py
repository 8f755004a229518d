"""A model card of one version, written twice from the same parts: as Markdown, and as a page of the report's kind."""

from __future__ import annotations

from ray_cluster.report.card_parts import CardFacts, Rows, card_parts
from ray_cluster.report.formats import metric, words

__all__ = ["CardFacts", "card_html", "card_markdown", "short_form"]


def short_form(facts: CardFacts) -> str:
    """A few lines of Markdown for the version's page in MLflow."""
    spec, decision = facts.documents.get("model") or {}, facts.documents.get("decision") or {}
    found = facts.documents.get("evaluation", {}).get("metrics") or {}
    figures = ", ".join(
        f"{words(name)} {metric(found[name])}"
        for name in ("average_precision", "roc_auc", "ece")
        if found.get(name) is not None
    )
    lines = [f"**{facts.model} version {facts.version}**: {facts.status}.", spec.get("description") or ""]
    lines.append(f"Held out: {figures}." if figures else "It was not evaluated.")
    if decision:
        lines.append(f"The gate said *{decision['action']}*: {' '.join(decision['reasons'])}")
    lines.append("The whole card: `card/card.md` among the artifacts of the run.")
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
    from ray_cluster.report.page import environment

    return environment().get_template("card.html.j2").render(facts=facts, parts=card_parts(facts))
