"""Write the model card of a version from the registry, and store it with the version."""

from __future__ import annotations

from pathlib import Path

from configs import load_model, model_names
from configs.settings import Settings
from feature_repo.storage.secondary import Failure, secondary
from ray_cluster import registry
from ray_cluster.reports.model_card_page import CardFacts, card_html, card_markdown, short_form
from ray_cluster.reports.page import write_page

__all__ = ["card_facts", "publish_card", "status_of", "write_card"]

_CARD = "model card"


def status_of(facts: registry.VersionFacts) -> str:
    """The status of a version in a word or two; *passed* means not promoted yet."""
    if facts.retired_at:
        return "retired"
    state = registry.approval_state(facts)
    if "champion" in facts.aliases:
        return "champion"
    if facts.promoted_at:
        return "was champion"
    if state in ("waiting", "approved"):
        return "waits" if state == "waiting" else "approved"
    if state == "rejected":
        return "rejected"
    decided = facts.tags.get("headrace.action")
    return {"refuse": "refused", "promote": "passed"}.get(decided or "", "undecided")


def card_facts(settings: Settings, model: str, number: int) -> CardFacts:
    """Gather the facts for a card.

    Raises:
        RegistryError: there is no such version.
    """
    facts = registry.version(settings, model, number)
    return _card_facts(facts, registry.evidence(settings, facts.run_id))


def _card_facts(facts: registry.VersionFacts, evidence: registry.Evidence) -> CardFacts:
    return CardFacts(
        model=facts.model,
        version=facts.version,
        status=status_of(facts),
        created=facts.created.isoformat(),
        run_id=facts.run_id,
        evidence=evidence,
        words=load_model(facts.model).card.model_dump() if facts.model in model_names() else {},
    )


def publish_card(settings: Settings, model: str, number: int) -> None:
    """Store the card with the version: ``card/card.md`` and ``card/card.html`` of its run, and a short form as its
    description in MLflow. The tag ``headrace.card`` marks that it exists.

    A failure is recorded in the evidence ``failures`` of the run until a later call succeeds.
    """
    facts = registry.version(settings, model, number)
    evidence = registry.evidence(settings, facts.run_id)
    failures: list[Failure] = []
    with secondary(_CARD, failures):
        known = _card_facts(facts, evidence)
        registry.add_texts(
            settings, known.run_id, {"card/card.md": card_markdown(known), "card/card.html": card_html(known)}
        )
        if not facts.tags.get("headrace.description"):  # keep a person's text
            registry.describe(settings, model, number, short_form(known))
        registry.annotate(settings, model, number, {"headrace.card": "card/card.md"})
    after = [*(each for each in evidence.failures if each["what"] != _CARD), *failures]
    if after != evidence.failures:
        registry.add_evidence(settings, facts.run_id, {"failures": after})


def write_card(settings: Settings, model: str, number: int) -> Path:
    """Write the card under ``home/cards/`` from the current facts; returns the path of the page."""
    known = card_facts(settings, model, number)
    path = settings.home / "cards" / f"{model}-v{number}.html"
    write_page(path.with_suffix(".md"), card_markdown(known))
    return write_page(path, card_html(known))
