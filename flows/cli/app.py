"""The command line: ``headrace --help``. Heavy libraries are imported only when a command needs them."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from configs.errors import HeadraceError
from flows.cli import data_commands, lineage_commands, run_commands, stack_commands
from flows.cli.label_commands import labels
from flows.cli.model_commands import models
from flows.parameters import UsageError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Headrace: from raw tables to a monitored model in production.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def environment(
    context: typer.Context,
    env: Annotated[str | None, typer.Option(help="Folder under configs/. Default: HEADRACE_ENV, else local.")] = None,
) -> None:
    """Set the environment."""
    context.obj = env


for command in (
    *(
        stack_commands.up,
        stack_commands.down,
        stack_commands.status,
        stack_commands.doctor,
        stack_commands.demo,
        stack_commands.report,
    ),
    *(run_commands.run, run_commands.predict),
    *(data_commands.plan, data_commands.apply, data_commands.erase, data_commands.profile),
    *(lineage_commands.lineage, lineage_commands.reproduce, lineage_commands.compare),
):
    app.command()(command)
app.command("env")(stack_commands.environment_variables)
app.add_typer(models, name="models")
app.add_typer(labels, name="labels")


def main() -> None:
    """Entry point: an expected error is one sentence and exit code 1; other errors write a traceback to a log."""
    if not sys.warnoptions:
        import warnings

        # warnings of libraries concern their maintainers; some libraries reset filters when imported
        warnings.showwarning = lambda *_, **__: None
    try:
        app()
    except UsageError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("Interrupted; run the same command again to continue after the completed steps.", 130)
    except Exception as error:
        sentence = (
            str(error)
            if isinstance(error, HeadraceError)
            else f"{type(error).__name__}: {error} (traceback: {_kept(error)})"
        )
        _release(error)
        _fail(sentence, 1)


def _kept(error: Exception) -> Path:
    from traceback import format_exception

    folder = Path(os.environ.get("HEADRACE_HOME") or ".headrace") / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "headrace.log"
    with path.open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).isoformat()} {' '.join(sys.argv)}\n{''.join(format_exception(error))}\n")
    return path


def _release(error: BaseException | None) -> None:
    """Release objects of the failed calls: DuckDB prints a page about connections that outlive the interpreter."""
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
