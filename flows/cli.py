"""The command line: ``headrace --help``. Nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from flows import tracing
from flows.calling import FLOWS, UsageError, call, checked, expected, moment, parameter
from flows.console import console, settings_of
from flows.labels import labels
from flows.models import models

__all__ = ["app", "main"]

app = typer.Typer(
    help="Headrace: tables in, a model that keeps working out.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(labels, name="labels")

app.add_typer(models, name="models")

Model = Annotated[str | None, typer.Option(help="A file under configs/models; needed if there are several.")]


@app.callback()
def environment(
    context: typer.Context,
    env: Annotated[str | None, typer.Option(help="Folder under configs/. Default: HEADRACE_ENV, else local.")] = None,
) -> None:
    """Remember which environment was asked for."""
    context.obj = env


@app.command()
def up(context: typer.Context) -> None:
    """Start the servers; those that run are left alone."""
    from time import monotonic

    from flows import stack

    settings, started = settings_of(context), monotonic()
    stack.up(settings, _announcer(started))
    from ray_cluster.serving.rollout import restore

    for model in restore(settings):
        console().print(f"  {model} is being put live again")
    console().print(f"[green]Up[/green] after {monotonic() - started:.0f} s. `headrace status` shows what is live.")


@app.command()
def down(context: typer.Context) -> None:
    """Stop the servers and everything they started."""
    from flows import stack

    ended = stack.down(settings_of(context))
    console().print(f"[green]Down[/green]: {ended} processes ended." if ended else "Nothing was running.")


@app.command()
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


@app.command()
def doctor(context: typer.Context) -> None:
    """Look for what would stop the stack from working; exit code 1 if there is something."""
    from flows.stack.doctor import examine

    problems = 0
    for check in examine(settings_of(context)):
        problems += not check.ok
        mark = "[green]OK     [/green]" if check.ok else "[red]problem[/red]"
        console().print(f"{mark} {check.name}: {check.found}{'' if check.ok else f'; {check.mend}'}", soft_wrap=True)
    if problems:
        raise typer.Exit(1)


@app.command()
def run(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help=", ".join(FLOWS))],
    model: Model = None,
    as_of: Annotated[str | None, typer.Option(help="As known then, in UTC: 2013-12-17, or with a time.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="Another parameter of the flow, as key=value.")] = None,
) -> None:
    """Run a flow here and now, recorded by Prefect."""
    settings = settings_of(context)
    flow = checked(flow)
    if model is not None:
        from configs import load_model

        load_model(model)
    given: dict[str, Any] = dict(parameter(each) for each in param or [])
    if as_of is not None:
        given["as_of"] = moment(as_of)
    from flows.stack import require

    require(settings, "prefect")
    console().print_json(data=call(flow, model, given), default=str)


@app.command()
def plan(
    context: typer.Context,
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Show what `apply` would change in Feast, and which models notice; exit code 2 if it breaks one."""
    from flows import planning

    found = planning.plan(settings_of(context))
    if json:
        console().print_json(data=planning.as_json(found))
    else:
        console().print(planning.tree(found))
    if found.breaks:
        raise typer.Exit(2)


@app.command()
def apply(
    context: typer.Context,
    force: Annotated[bool, typer.Option("--force", help="Also what breaks a live model.")] = False,
) -> None:
    """Register what feature_repo/features.py defines; refuses what breaks a live model."""
    from flows import planning

    changes = planning.apply(settings_of(context), force, lambda found: console().print(planning.tree(found)))
    console().print(f"[green]Applied[/green]: {changes} changes." if changes else "[green]Applied[/green] before.")


@app.command()
def forget(
    context: typer.Context,
    entity: Annotated[str, typer.Argument(help="Entity or join key and its value: plane=N14228.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would go.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the receipt as JSON.")] = False,
) -> None:
    """Remove an entity everywhere: tables, features, online values, predictions; writes a receipt."""
    from flows import forgetting

    name, equals, value = entity.partition("=")
    if not equals or not name or not value:
        raise UsageError(f"forget {entity}: expected entity=value, such as plane=N14228.")
    receipt, path = forgetting.forget(settings_of(context), name, value, dry_run)
    if json:
        console().print_json(data=forgetting.as_json(receipt))
    else:
        forgetting.show(console(), receipt, path)


@app.command()
def predict(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a model that is live.")],
    file: Annotated[Path | None, typer.Argument(help="JSON file with one request or a list; default: stdin.")] = None,
    json: Annotated[str | None, typer.Option(help="The request itself.")] = None,
    raw: Annotated[bool, typer.Option(help="Print the answer as it came.")] = False,
) -> None:
    """Ask a live endpoint."""
    from json import JSONDecodeError, loads

    from configs import load_model
    from flows.stack import StackError
    from flows.stack.probing import request

    settings = settings_of(context)
    load_model(model)
    try:
        text = json if json is not None else file.read_text(encoding="utf-8") if file else sys.stdin.read()
        content = loads(text)
    except JSONDecodeError as error:
        raise UsageError(f"The request is not JSON: {error}; expected one object or a list.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; name a JSON file.") from None
    if isinstance(content, list):
        content = {"instances": content}
    url = f"{settings.url('serve')}/models/{model}/predict"
    try:
        code, answer = request("POST", url, content, timeout=60)
    except OSError:
        raise StackError(
            f"No endpoint answers at {url}: `headrace up`, then `headrace run deploy --model {model}`."
        ) from None
    if raw:
        console().print_json(data=answer)
    elif code < 400:
        _show(answer.get("predictions", [answer]))
    if code >= 400:
        detail = answer.get("detail", answer) if isinstance(answer, dict) else answer
        lines = [each.get("message", str(each)) for each in detail] if isinstance(detail, list) else [str(detail)]
        raise StackError(f"{model} refused the request ({code}): {' '.join(lines)}")


@app.command("env")
def environment_variables(context: typer.Context) -> None:
    """Print the variables that point other tools at this stack: eval "$(headrace env)"."""
    for name, value in settings_of(context).variables().items():
        quoted = value.replace("'", "'\\''")
        sys.stdout.write(f"export {name}='{quoted}'\n")


@app.command()
def demo(context: typer.Context) -> None:
    """From nothing to a monitored live endpoint on the bundled example."""
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

    # Serve takes as long to start as tables and features take to make, so both go on at once
    Thread(target=open_gateway, daemon=True).start()
    given = {"as_of": settings.demo.as_of, "until": settings.demo.until}
    result = call("lifecycle", settings.demo.model, given)
    done = monotonic()
    parts = [("Prefect server", ready - started), *((step["name"], step["seconds"]) for step in result["steps"])]
    for name, seconds in parts:
        console().print(f"  {seconds:6.1f} s  {name}")
    console().print(f"[green]Done[/green] after {done - started:.0f} s. Report: {result['report']}", soft_wrap=True)
    stack.wait(settings)
    for service in stack.services(settings):
        console().print(f"  {service.title:<36} {service.address}", soft_wrap=True)
    from configs import load_model
    from ray_cluster.lifecycle_report import curl_line

    sys.stdout.write(curl_line(settings, load_model(settings.demo.model), settings.demo.until) + "\n")


@app.command()
def report(
    context: typer.Context, open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False
) -> None:
    """Print the path of the newest report."""
    from flows.stack import StackError

    folder = settings_of(context).home / "reports"
    pages = sorted(folder.rglob("*.html"), key=lambda page: page.stat().st_mtime)
    if not pages:
        raise StackError(f"There is no report in {folder} yet; `headrace run lifecycle` writes one.")
    sys.stdout.write(f"{pages[-1]}\n")
    if open_:
        typer.launch(str(pages[-1]))


@app.command()
def profile(
    context: typer.Context,
    table: Annotated[str | None, typer.Argument(help="A raw table; default: every one that was ingested.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write the profile page of a raw table, or of all, and print its path."""
    from ray_cluster.table_report import write_table_pages

    pages = write_table_pages(settings_of(context), table)
    for page in pages[:1] if table else pages:
        sys.stdout.write(f"{page}\n")
    if open_:
        typer.launch(str(pages[0] if table else pages[-1]))


def main() -> None:
    """Entry point: an expected error is one sentence and exit code 1; of another the traceback is kept in a log."""
    if not sys.warnoptions:
        import warnings

        # those of the libraries underneath are for who pins their versions; some undo a filter when imported
        warnings.showwarning = lambda *_, **__: None
    try:
        app()
    except UsageError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("Interrupted; the same command again goes on from what is complete.", 130)
    except Exception as error:
        sentence = str(error) if expected(error) else f"{type(error).__name__}: {error} (traceback: {_kept(error)})"
        _release(error)
        _fail(sentence, 1)


tracing.add(app, settings_of)


def _announcer(started: float) -> Any:
    from time import monotonic

    def announce(service: Any, state: str) -> None:
        where = f" {service.address}" if state == "ready" else ""
        console().print(f"  {monotonic() - started:5.1f} s  {service.title}: {state}{where}", soft_wrap=True)

    return announce


def _show(rows: list[dict[str, Any]]) -> None:
    """Print predictions as a table that fits 80 columns; `--raw` has everything."""
    from rich.table import Table

    table = Table()
    for column in ("id", "probability", "decision", "version", "status", "prediction_id"):
        table.add_column(column, no_wrap=column != "prediction_id", overflow="fold")
    for row in rows:
        shown = {**row, "id": row.get("id") or "", "probability": _probability(row["probability"])}
        table.add_row(*(str(shown.get(str(column.header), "")) for column in table.columns))
    console().print(table)


def _probability(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _kept(error: Exception) -> Path:
    from traceback import format_exception

    folder = Path(os.environ.get("HEADRACE_HOME") or ".headrace") / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "headrace.log"
    with path.open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv)}\n{''.join(format_exception(error))}\n")
    return path


def _release(error: BaseException | None) -> None:
    """Let go of what the failed calls held: DuckDB prints a page about connections that outlive the interpreter."""
    from traceback import clear_frames

    while error is not None:
        clear_frames(error.__traceback__)
        first = error.__cause__ or error.__context__
        error.__cause__ = error.__context__ = None
        error = first


def _fail(sentence: str, code: int) -> None:
    from rich.console import Console
    from rich.text import Text

    Console(stderr=True).print(Text(sentence, style="red"), soft_wrap=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
