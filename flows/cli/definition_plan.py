"""Output of `headrace plan` and `headrace apply`: a tree, or JSON."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from configs.settings import Settings

if TYPE_CHECKING:
    from rich.tree import Tree

    from ray_cluster.lineage.impact import Impact, ImpactReport

__all__ = ["apply", "as_json", "plan", "tree", "verdict"]

_COLOURS = {"breaks": "red", "values": "yellow", "safe": "green"}
_WORDS = {"breaks": "breaks", "values": "other values for", "safe": "safe"}


def plan(settings: Settings) -> ImpactReport:
    """The changes of an apply and the affected models; nothing is registered."""
    from feature_repo.definitions.apply import pending
    from feature_repo.definitions.feature_store import open_store
    from ray_cluster.lineage.impact import impact_of

    return impact_of(settings, pending(settings, open_store(settings)))


def apply(settings: Settings, force: bool, show: Callable[[ImpactReport], Any]) -> int:
    """Register the definitions, even if exactly these were applied last: another tool may have changed the registry.

    Returns the number of changes; ``show`` is called with the plan before any change.

    Raises:
        LiveModelError: a change breaks a live model, and ``force`` is not set.
    """
    from feature_repo.definitions.apply import register
    from feature_repo.definitions.feature_store import open_store
    from ray_cluster.lineage.impact import guard

    return len(register(settings, open_store(settings), guard(settings, force, show)).changes)


def verdict(found: ImpactReport) -> str:
    """The plan in one sentence."""
    if not found.impacts:
        return "Nothing would change: all definitions of features.py are registered and their queries are unchanged."
    if found.refusals:
        return (
            "`headrace apply` refuses this, because it breaks a live model; `headrace apply --force` applies it anyway."
        )
    if found.breaks:
        return "`headrace apply` applies this: it breaks registered versions, none of them live."
    return "`headrace apply` applies this; it breaks no registered version."


def tree(found: ImpactReport) -> Tree:
    """Changes by view, and below each the affected versions."""
    from rich.markup import escape
    from rich.tree import Tree

    root = Tree(verdict(found), guide_style="dim")
    branches: dict[str, Tree] = {}
    for impact in found.impacts:
        change = impact.change
        if change.subject not in branches:
            branches[change.subject] = root.add(f"[bold]{escape(change.subject)}[/bold]")
        effect = _effect(impact)
        text = str(change).removeprefix(f"{change.subject}: ")
        leaf = branches[change.subject].add(f"{escape(text)}: [{_COLOURS[change.effect]}]{effect}[/]")
        for taker in impact.dependents:
            leaf.add(escape(f"{taker}{'; ' + taker.note if taker.note else ''}"))
    for name in found.removed:
        branches[name].add("its files and online values are removed")
    for note in found.notes:
        root.add(f"[dim]{escape(note)}[/dim]")
    return root


def _effect(impact: Impact) -> str:
    """The effect of a change on the versions that use its features."""
    if impact.change.effect == "safe":
        return "safe"
    return _WORDS[impact.change.effect] if impact.dependents else f"{_WORDS[impact.change.effect]} no model"


def as_json(found: ImpactReport) -> dict[str, Any]:
    """The plan as plain values."""
    return {
        "verdict": verdict(found),
        "breaks": found.breaks,
        "refused": found.refusal(),
        "changes": [
            {
                "subject": impact.change.subject,
                "kind": impact.change.kind,
                "before": impact.change.before,
                "after": impact.change.after,
                "effect": impact.change.effect,
                "breaks": impact.breaks,
                "features": [f"{view}:{feature}" for view, feature in impact.change.features],
                "versions": [
                    {
                        "model": taker.model,
                        "version": taker.version,
                        "aliases": list(taker.aliases),
                        "live": taker.live,
                        "note": taker.note,
                    }
                    for taker in impact.dependents
                ],
            }
            for impact in found.impacts
        ],
        "removed": list(found.removed),
        "notes": list(found.notes),
    }
