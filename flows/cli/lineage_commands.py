"""Commands on past runs: lineage of a version or prediction, reproduction, comparison of runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from flows.cli.console import console, settings_of
from flows.cli.parsing import known_model
from flows.parameters import UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from ray_cluster.lineage.graph import Lineage, Node
    from ray_cluster.lineage.prediction_trace import Traced
    from ray_cluster.lineage.run_comparison import Comparison
    from ray_cluster.training.reproduce import Reproduction

__all__ = [
    "comparison_table",
    "lineage_tree",
    "prediction_tree",
    "reproduction_table",
    "compare",
    "lineage",
    "reproduce",
]


def reproduction_table(found: Reproduction) -> Iterator[RenderableType]:
    """The comparisons, the verdict, and the likely causes of a difference."""
    name = f"version {found.version}" if found.version else f"run {found.run_id[:12]}"
    table = Table(title=f"{found.model} {name}", title_justify="left", title_style="bold")
    for column in ("", "then", "now", ""):
        table.add_column(column, overflow="fold")
    for check in found.checks:
        mark = "[green]same[/green]" if check.same else "[red]differs[/red]"
        table.add_row(escape(check.what), escape(check.then), "" if check.same else escape(check.now), mark)
    yield table
    if found.identical:
        yield f"[green]Identical[/green], bit for bit, after {found.seconds:.0f} s."
        return
    yield f"[red]Not identical[/red] (after {found.seconds:.0f} s). Likely cause:"
    for cause in found.causes:
        yield f"  {escape(cause)}"


def lineage_tree(found: Lineage) -> Iterator[RenderableType]:
    """The inputs of a version down to the raw tables, its uses, and the changes since."""
    from ray_cluster.lineage.graph import IN_USE

    sources: dict[str, list[str]] = {}
    for source, target in found.edges:
        sources.setdefault(target, []).append(source)
    root = Tree(f"[bold]{escape(found.title)}[/bold]")

    shown: set[str] = set()

    def grow(branch: Tree, name: str) -> None:
        node = found.node(name)
        if name in shown:
            branch.add(f"{escape(node.name)}  [dim]as above[/dim]")
            return
        shown.add(name)
        under = branch.add(_label(node))
        for source in sources.get(name, []):
            grow(under, source)

    grow(root, "version" if any(node.id == "version" for node in found.nodes) else "run")
    used = [node for node in found.nodes if node.column == IN_USE]
    if used:
        branch = root.add("[bold]in use[/bold]")
        for node in used:
            branch.add(_label(node))
    yield root
    if not found.provenance:
        yield "[yellow]This run has no provenance[/yellow], so the changes since are unknown."
        return
    altering = [each for each in found.changes if each.affects != "nothing"]
    yield "[bold]Changed since[/bold]:" if found.changes else "[green]Nothing has changed since.[/green]"
    for each in found.changes:
        colour = "red" if each in altering else "dim"
        yield f"  [{colour}]{each.kind} {escape(each.name)}[/{colour}]: {escape(each.sentence)}"


def prediction_tree(found: Traced) -> Iterator[RenderableType]:
    """One prediction: the response, its input values, its version, and whether it can be recomputed."""
    line = found.line
    score = "none (abstained)" if line.score is None else f"{line.score!r}"
    root = Tree(f"[bold]prediction {escape(line.prediction_id)}[/bold] of {escape(line.model)}")
    for name, value in (
        ("event", line.id or "no id given"),
        ("as of", line.as_of),
        ("served", line.served_at),
        ("score", score),
        ("decision", f"{line.decision} (threshold {line.threshold!r})"),
    ):
        root.add(f"[dim]{name}[/dim] {escape(str(value))}")
    entities = root.add("[bold]request[/bold]")
    for name, value in {**line.entities, **line.fields}.items():
        entities.add(f"{escape(name)} = {escape(str(value))}")
    views = root.add("[bold]feature views[/bold]")
    for view, age in found.ages.items():
        fact = "no value" if age is None else f"{age:,.0f} s old, of {line.event_times[view]}"
        served = (line.view_versions or {}).get(view)
        views.add(f"{escape(view)} [dim]query {served[:8] if served else 'unknown'}[/dim], {fact}")
    values = root.add(f"[bold]{len(line.features)} served values[/bold]")
    for name, value in line.features.items():
        values.add(f"{escape(name)} = {escape(str(value))}")
    version = root.add(f"[bold]version {line.version}[/bold]")
    git = found.git
    for name, value in (
        ("run", found.run_id),
        ("dataset", found.dataset),
        ("commit", f"{git.get('commit', 'unknown')}{', dirty' if git.get('dirty') else ''}"),
        ("flow run", f"{found.flow.get('flow_run', 'none')} {found.flow.get('flow_run_url', '')}"),
    ):
        version.add(f"[dim]{name}[/dim] {escape(str(value))}")
    yield root
    if found.recomputed is not None and found.exact:
        yield f"[green]Recomputed exactly[/green]: the bundle returns {found.recomputed!r} for the logged values."
    for note in found.notes:
        yield f"[yellow]{escape(note)}[/yellow]"


def comparison_table(found: Comparison) -> Iterator[RenderableType]:
    """Runs as columns: parameters that differ, metrics, and whether data and code are the same as in the first run."""
    table = Table(title=f"{found.model}: {len(found.runs)} runs", title_justify="left", title_style="bold")
    table.add_column("")
    for run in found.runs:
        table.add_column(escape(run.title), justify="right", overflow="fold")
    table.add_row("kind", *(run.kind for run in found.runs))
    table.add_row("started", *(run.started for run in found.runs))
    for name, values in found.params.items():
        table.add_row(escape(name), *("" if value is None else escape(_figure(value)) for value in values))
    table.add_section()
    table.add_row("measured on", *(run.period.replace("_", "-") for run in found.runs))
    for name, numbers in found.metrics.items():
        best = found.best(name)
        cells = []
        for place, number in enumerate(numbers):
            interval = found.runs[place].intervals.get(name)
            cell = "" if number is None else f"{number:.4f}"
            cell = f"[bold]{cell}[/bold]" if place == best else cell
            cells.append(cell + (f"\n[dim]{interval[0]:.4f}…{interval[1]:.4f}[/dim]" if interval else ""))
        table.add_row(escape(name), *cells)
    table.add_section()
    first = found.runs[0]
    for what, name in (("training frame", "dataset"), ("code", "code")):
        held = [str(getattr(run, name)) for run in found.runs]
        table.add_row(what, held[0], *("same" if each == held[0] else f"[yellow]{each}[/yellow]" for each in held[1:]))
    table.add_row("commit", *(escape(run.commit) for run in found.runs))
    yield table
    if any(run.period != first.period for run in found.runs):
        yield "[yellow]The runs were measured on different periods: their metrics are not comparable.[/yellow]"
    if any(run.dataset != first.dataset for run in found.runs):
        yield "[yellow]The runs were trained and measured on different rows: their metrics are not comparable.[/yellow]"


def _figure(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _label(node: Node) -> str:
    facts = "  ".join(f"[dim]{escape(name)}[/dim] {escape(value)}" for name, value in node.facts.items())
    mark = "[red]changed[/red] " if node.changed else ""
    return f"{mark}{escape(node.name)}  {facts}"


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
    """Show the lineage of a version or a prediction, and the changes since; writes a page."""

    settings, out = settings_of(context), console()
    if prediction is not None:
        from ray_cluster.lineage.prediction_trace import trace_prediction

        traced = trace_prediction(settings, prediction, known_model(model) if model else None)
        _print(out, prediction_tree(traced), traced.to_dict() if json else None)
        if traced.recomputed is not None and not traced.exact:
            raise typer.Exit(1)
        return
    if model is None:
        raise UsageError("Give a model: headrace lineage MODEL [VERSION], or --prediction ID.")
    from ray_cluster.lineage.graph import trace
    from ray_cluster.reports.lineage_page import render_lineage
    from ray_cluster.reports.page import write_page

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
    """Rebuild a version from its recorded point; exit code 1 if anything differs."""
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
    """Compare runs (default: the newest four); writes a page."""
    from ray_cluster.lineage.run_comparison import compare as compare_runs
    from ray_cluster.reports.comparison_page import render_comparison
    from ray_cluster.reports.page import write_page

    settings, out = settings_of(context), console()
    found = compare_runs(settings, known_model(model), run or [])
    path = write_page(settings.home / "reports" / "compare" / f"{found.model}.html", render_comparison(found))
    _print(out, comparison_table(found), found.to_dict() if json else None)
    if not json:
        out.print(f"Page: {path}", soft_wrap=True)
    if open_:
        typer.launch(str(path))


def _print(out: Console, parts: Iterable[RenderableType], document: dict[str, Any] | None) -> None:
    """Print the parts, or the document as JSON if there is one."""
    if document is not None:
        out.print_json(data=document, default=str)
        return
    for part in parts:
        out.print(part, soft_wrap=isinstance(part, str))
