"""The command `headrace erase` and its output.

It is a command, not a flow: Prefect would store the value in the run's parameters.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.settings import Settings

if TYPE_CHECKING:
    from rich.console import Console

    from ray_cluster.erasure.erasure import Receipt

__all__ = ["as_json", "erase", "show"]


def erase(settings: Settings, name: str, value: str, dry_run: bool) -> tuple[Receipt, Path | None]:
    """Erase the entity with ``name`` (an entity or a join key) and ``value``; returns the receipt and its path.

    Raises:
        ErasureError: there is no such entity, join key or value.
    """
    from ray_cluster.erasure import erasure

    return erasure.erase(settings, erasure.resolve(settings, name), value, dry_run)


def as_json(receipt: Receipt) -> dict[str, Any]:
    """The receipt as plain values."""
    return {**asdict(receipt), "total": receipt.total}


def show(console: Console, receipt: Receipt, path: Path | None) -> None:
    """Print the findings per place, what was kept, and the path of the receipt."""
    from rich.markup import escape
    from rich.table import Table

    table = Table("what", "where", "removed" if path else "would go", box=None)
    for kind, place, number in receipt.counts():
        if number:
            table.add_row(kind, place, f"{number:,}")
    if receipt.total:
        console.print(table)
    for each in receipt.kept:
        console.print(f"[dim]kept {escape(each['place'])}: {escape(each['why'])}[/dim]", soft_wrap=True)
    if path:
        console.print(f"[green]Erased[/green]: {receipt.total:,} removed. Receipt: {path}", soft_wrap=True)
    else:
        console.print(f"{receipt.total:,} would be removed; nothing was changed.")
