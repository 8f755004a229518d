"""Commands that run a flow, or send a request to a live endpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.cli.console import console, settings_of
from flows.cli.parsing import call, known_model, moment, parameter
from flows.parameters import FLOWS, UsageError, checked

__all__ = ["predict", "run"]

Model = Annotated[str | None, typer.Option(help="A file under configs/models; needed if there are several.")]


def run(
    context: typer.Context,
    flow: Annotated[str, typer.Argument(help=", ".join(FLOWS))],
    model: Model = None,
    as_of: Annotated[str | None, typer.Option(help="As-of time, in UTC: 2013-12-17, or with a time.")] = None,
    param: Annotated[list[str] | None, typer.Option(help="Parameter of the flow, as key=value.")] = None,
) -> None:
    """Run a flow in this process, recorded by Prefect."""
    settings = settings_of(context)
    flow = checked(flow)
    if model is not None:
        known_model(model)
    given: dict[str, Any] = dict(parameter(each) for each in param or [])
    if as_of is not None:
        given["as_of"] = moment(as_of)
    from flows.stack import require

    require(settings, "prefect")
    console().print_json(data=call(flow, model, given), default=str)


def predict(
    context: typer.Context,
    model: Annotated[str, typer.Argument(help="Name of a live model.")],
    file: Annotated[Path | None, typer.Argument(help="JSON file with one request or a list; default: stdin.")] = None,
    json: Annotated[str | None, typer.Option(help="The request as JSON.")] = None,
    raw: Annotated[bool, typer.Option(help="Print the unformatted response.")] = False,
) -> None:
    """Send a request to a live endpoint."""
    from json import JSONDecodeError, loads

    from flows.stack import StackError
    from flows.stack.probing import request

    settings = settings_of(context)
    known_model(model)
    try:
        text = json if json is not None else file.read_text(encoding="utf-8") if file else sys.stdin.read()
        content = loads(text)
    except JSONDecodeError as error:
        raise UsageError(f"The request is not JSON: {error}; expected one object or a list.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; pass a JSON file.") from None
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
        problem = answer if isinstance(answer, dict) else {"detail": answer}
        lines = [each["message"] for each in problem.get("errors", [])] or [str(problem.get("detail", problem))]
        raise StackError(f"{model} refused the request ({code}): {' '.join(lines)}")


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
