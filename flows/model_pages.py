"""What ``headrace models`` prints about versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs import Settings

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["default_version", "version_page", "version_rows"]


def version_rows(settings: Settings, model: str) -> list[dict[str, str]]:
    """One row per version, newest first."""
    from ray_cluster import registry
    from ray_cluster.promotion.model_card import status_of

    return [
        {
            "version": str(facts.version),
            "aliases": ", ".join(facts.aliases),
            "status": status_of(facts),
            "PR AUC": _number(facts.metrics.get("average_precision")),
            "ROC AUC": _number(facts.metrics.get("roc_auc")),
            "ECE": _number(facts.metrics.get("ece")),
            "registered": f"{facts.created:%Y-%m-%d}",
        }
        for facts in registry.versions(settings, model)
    ]


def default_version(settings: Settings, model: str) -> int:
    """The champion's number, else the newest.

    Raises:
        RegistryError: there is no version.
    """
    from ray_cluster import registry

    if found := registry.champion(settings, model):
        return found.version
    known = registry.versions(settings, model)
    if not known:
        raise registry.RegistryError(f"Model '{model}' has no version yet; `headrace run train --model {model}`.")
    return known[0].version


def version_page(settings: Settings, model: str, number: int) -> Group:
    """Facts, decision and history of a version.

    Raises:
        RegistryError: there is no such version.
    """
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from ray_cluster import registry
    from ray_cluster.promotion.model_card import status_of, write_card

    facts = registry.version(settings, model, number)
    documents = registry.evidence(settings, facts.run_id)
    decision = documents.get("decision") or {}
    parts: list[Any] = [Text(f"{model} version {number}: {status_of(facts)}", style="bold")]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    told = {
        "aliases": ", ".join(facts.aliases) or "none",
        "registered": f"{facts.created:%Y-%m-%d %H:%M} UTC",
        "run": facts.run_id,
        "data": f"{facts.tags.get('headrace.dataset', 'unknown')} as of {facts.tags.get('headrace.as_of', 'unknown')}",
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in facts.metrics.items() if name != "threshold"),
        **{name: value for name, value in facts.tags.items() if not name.startswith("headrace.")},
        "card": str(write_card(settings, model, number)),
    }
    for name, value in told.items():
        table.add_row(name, Text(value, overflow="fold"))
    parts.append(table)
    if decision:
        parts.append(Text(f"\nThe gate said {decision['action']}:", style="bold"))
        parts += [Text(f"- {reason}") for reason in decision["reasons"]]
        gates = Table("gate", "measured", "bound", "")
        marks = {True: "passed", False: "not passed", None: "not judged"}
        for gate in decision.get("gates", []):
            gates.add_row(gate["gate"], _number(gate["measured"]), _number(gate["bound"]), marks[gate["passed"]])
        parts.append(gates)
    else:
        parts.append(Text("\nNothing was decided about it yet."))
    if events := documents.get("history"):
        parts.append(Text("\nWhat happened:", style="bold"))
        parts += [Text(_event(event)) for event in events]
    return Group(*parts)


def _event(event: dict[str, Any]) -> str:
    why = f": {event['why']}" if event.get("why") else ""
    return f"- {event['at'][:16].replace('T', ' ')} {event['what']} by {event['by']}{why}"


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
