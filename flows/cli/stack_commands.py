"""Commands of the whole stack: start, stop, status, checks, and the demo."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from flows.cli.console import console, settings_of
from flows.cli.parsing import call

__all__ = ["demo", "doctor", "down", "environment_variables", "report", "status", "up"]


def up(context: typer.Context) -> None:
    """Start the servers that are not running."""
    from time import monotonic

    from flows import stack

    settings, started = settings_of(context), monotonic()
    stack.up(settings, _announcer(started))
    from ray_cluster.serving.rollout import restore

    for model in restore(settings):
        console().print(f"  {model} is being deployed again")
    console().print(f"[green]Up[/green] after {monotonic() - started:.0f} s. `headrace status` shows what is live.")


def down(context: typer.Context) -> None:
    """Stop the servers and all their processes."""
    from flows import stack

    ended = stack.down(settings_of(context))
    console().print(f"[green]Down[/green]: {ended} processes ended." if ended else "Nothing was running.")


def status(context: typer.Context) -> None:
    """Show what is live: servers, models, endpoints, features, parity, flow runs."""
    from rich.table import Column, Table

    from flows.stack.status import sections

    for section in sections(settings_of(context)):
        if not section.rows:
            console().print(f"[bold]{section.title}[/bold]: {section.note}\n")
            continue
        first, *others = section.columns
        columns = [Column(first, no_wrap=True), *(Column(name, overflow="fold") for name in others)]
        table = Table(*columns, title=section.title, title_justify="left", title_style="bold")
        for row in section.rows:
            table.add_row(*row)
        console().print(table)


def doctor(context: typer.Context) -> None:
    """Check for problems that would stop the stack from working; exit code 1 if there are any."""
    from flows.stack.doctor import examine

    problems = 0
    for check in examine(settings_of(context)):
        problems += not check.ok
        mark = "[green]OK     [/green]" if check.ok else "[red]problem[/red]"
        console().print(f"{mark} {check.name}: {check.found}{'' if check.ok else f'; {check.fix}'}", soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def environment_variables(context: typer.Context) -> None:
    """Print the variables that connect other tools to this stack: eval "$(headrace env)"."""
    for name, value in settings_of(context).variables().items():
        quoted = value.replace("'", "'\\''")
        sys.stdout.write(f"export {name}='{quoted}'\n")


def demo(context: typer.Context) -> None:
    """Set up a monitored live endpoint on the bundled example, from an empty folder."""
    from threading import Thread
    from time import monotonic

    from flows import stack

    settings, started = settings_of(context), monotonic()
    stack.up(settings, _announcer(started), wait_for=["prefect"])
    ready = monotonic()

    def open_gateway() -> None:
        from ray_cluster.serving.rollout import restore

        stack.wait(settings, ["ray"])
        restore(settings)

    # Serve takes as long to start as tables and features to compute, so both run in parallel
    Thread(target=open_gateway, daemon=True).start()
    given = {"as_of": settings.demo.as_of, "until": settings.demo.until, "hours": settings.demo.moments}
    result = call("lifecycle", settings.demo.model, given)
    done = monotonic()
    parts = [("Prefect server", ready - started), *((step["name"], step["seconds"]) for step in result["steps"])]
    for name, seconds in parts:
        console().print(f"  {seconds:6.1f} s  {name}")
    console().print(
        f"[green]Done[/green] after {done - started:.0f} s. Report: {result['report'] or 'failed'}", soft_wrap=True
    )
    stack.wait(settings)
    for service in stack.services(settings):
        console().print(f"  {service.title:<36} {service.address}", soft_wrap=True)
    from configs import load_model
    from ray_cluster.reports.lifecycle_report import curl_line

    sys.stdout.write(curl_line(settings, load_model(settings.demo.model), settings.demo.until) + "\n")


def report(
    context: typer.Context, open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False
) -> None:
    """Print the path of the newest report of a lifecycle."""
    from flows.stack import StackError

    page = settings_of(context).home / "reports" / "latest.html"
    if not page.exists():
        raise StackError(f"There is no report in {page.parent} yet; `headrace run lifecycle` writes one.")
    sys.stdout.write(f"{page}\n")
    if open_:
        typer.launch(str(page))


def _announcer(started: float) -> Any:
    from time import monotonic

    def announce(service: Any, state: str) -> None:
        where = f" {service.address}" if state == "ready" else ""
        console().print(f"  {monotonic() - started:5.1f} s  {service.title}: {state}{where}", soft_wrap=True)

    return announce
