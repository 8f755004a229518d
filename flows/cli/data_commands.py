"""Commands on feature definitions and raw tables: plan, apply, erase an entity, profile a table."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from flows.cli.console import console, settings_of
from flows.parameters import UsageError

__all__ = ["apply", "erase", "plan", "profile"]


def plan(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what `apply` would change in Feast, and which models it affects; exit code 2 if it breaks one."""
    from flows.cli import definition_plan

    found = definition_plan.plan(settings_of(context))
    if json:
        console().print_json(data=definition_plan.as_json(found))
    else:
        console().print(definition_plan.tree(found))
    if found.breaks:
        raise typer.Exit(2)


def apply(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Apply even if it breaks a live model.")] = False,
) -> None:
    """Register the definitions of feature_repo/features.py; refuses changes that break a live model."""
    from flows.cli import definition_plan

    changes = definition_plan.apply(
        settings_of(context), force, lambda found: console().print(definition_plan.tree(found))
    )
    console().print(f"[green]Applied[/green]: {changes} changes." if changes else "[green]Applied[/green] before.")


def erase(
    context: typer.Context,
    entity: Annotated[str, typer.Argument(help="Entity or join key and its value: plane=N14228.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be removed.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Remove an entity everywhere: tables, features, online values, predictions; writes a receipt."""
    from flows.cli import erasure_receipt

    name, equals, value = entity.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"erase {entity}: expected entity=value, such as plane=N14228.")
    receipt, path = erasure_receipt.erase(settings_of(context), name, value, dry_run)
    if json:
        console().print_json(data=erasure_receipt.as_json(receipt))
    else:
        erasure_receipt.show(console(), receipt, path)


def profile(
    context: typer.Context,
    table: Annotated[str | None, typer.Argument(help="A raw table; default: every ingested one.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write the profile page of a raw table, or of all, and print its path."""
    from ray_cluster.reports.table_report import write_table_pages

    pages = write_table_pages(settings_of(context), table)
    for page in pages[:1] if table else pages:
        sys.stdout.write(f"{page}\n")
    if open_:
        typer.launch(str(pages[0] if table else pages[-1]))
