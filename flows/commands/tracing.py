"""Commands that look back: where a version came from, whether it can be made again, how runs differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flows.calling import UsageError, known_model
from flows.console import console, settings_of

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["compare", "lineage", "reproduce"]

Open = Annotated[bool, typer.Option("--open", help="Show it in the browser.")]
Json = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]
Model = Annotated[str, typer.Argument(help="A file under configs/models.")]
Which = Annotated[str | None, typer.Argument(help="A version's number or a run's id; default: the champion.")]


def lineage(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="A file under configs/models.")] = None,
    version: Which = None,
    prediction: Annotated[str | None, typer.Option(help="A prediction_id instead of a version.")] = None,
    open_: Open = False,
    json: Json = False,
) -> None:
    """Show where a version, or one prediction, came from, and what has changed since; writes a page."""
    from flows.printing import lineage_tree, prediction_tree

    settings, out = settings_of(context), console()
    if prediction is not None:
        from ray_cluster.lineage.predictions import trace_prediction

        traced = trace_prediction(settings, prediction, known_model(model) if model else None)
        _print(out, prediction_tree(traced), traced.to_dict() if json else None)
        if traced.recomputed is not None and not traced.exact:
            raise typer.Exit(1)
        return
    if model is None:
        raise UsageError("Say which model: headrace lineage MODEL [VERSION], or --prediction ID.")
    from ray_cluster.lineage.graph import trace
    from ray_cluster.report.lineage_page import render_lineage
    from ray_cluster.report.page import write_page

    found = trace(settings, known_model(model), version)
    path = write_page(
        settings.home / "reports" / "lineage" / f"{found.title.replace(' ', '-')}.html", render_lineage(found)
    )
    _print(out, lineage_tree(found), found.to_dict() if json else None)
    if not json:
        out.print(f"Page: {path}", soft_wrap=True)
    if open_:
        typer.launch(str(path))


def reproduce(context: typer.Context, model: Model, version: Which = None, json: Json = False) -> None:
    """Rebuild a version from its recorded choice; exit code 1 if anything differs."""
    from flows.printing import reproduction_table
    from ray_cluster.training.reproduce import reproduce as rebuild

    found = rebuild(settings_of(context), known_model(model), version)
    _print(console(), reproduction_table(found), found.to_dict() if json else None)
    if not found.identical:
        raise typer.Exit(1)


def compare(
    context: typer.Context,
    model: Model,
    run: Annotated[list[str] | None, typer.Argument(help="Versions' numbers or runs' ids.")] = None,
    open_: Open = False,
    json: Json = False,
) -> None:
    """Show runs side by side (default: the newest four); writes a page."""
    from flows.printing import comparison_table
    from ray_cluster.comparing import compare as compare_runs
    from ray_cluster.report.compare_page import render_comparison
    from ray_cluster.report.page import write_page

    settings, out = settings_of(context), console()
    found = compare_runs(settings, known_model(model), run or [])
    path = write_page(settings.home / "reports" / "compare" / f"{found.model}.html", render_comparison(found))
    _print(out, comparison_table(found), found.to_dict() if json else None)
    if not json:
        out.print(f"Page: {path}", soft_wrap=True)
    if open_:
        typer.launch(str(path))


def _print(out: Console, parts: Iterable[RenderableType], document: dict[str, Any] | None) -> None:
    """Print the parts, or the document as JSON where there is one."""
    if document is not None:
        out.print_json(data=document, default=str)
        return
    for part in parts:
        out.print(part, soft_wrap=isinstance(part, str))
