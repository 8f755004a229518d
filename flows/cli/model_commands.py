"""``headrace models``: the versions of each model, and people's decisions about them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from feature_repo.storage.secondary import secondary
from flows.cli.console import console, settings_of
from flows.cli.parsing import known_model
from flows.parameters import UsageError

if TYPE_CHECKING:
    from rich.console import Group

    from configs import Settings

__all__ = [
    "default_version",
    "version_page",
    "version_rows",
    "models",
]


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
    card = "failed, see the log"
    with secondary("model card"):
        card = str(write_card(settings, model, number))
    evidence = registry.evidence(settings, facts.run_id)
    decision = evidence.decision
    parts: list[Any] = [Text(f"{model} version {number}: {status_of(facts)}", style="bold")]
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    shown = {
        "aliases": ", ".join(facts.aliases) or "none",
        "registered": f"{facts.created:%Y-%m-%d %H:%M} UTC",
        "run": facts.run_id,
        "data": f"{facts.tags.get('headrace.dataset', 'unknown')} as of {facts.tags.get('headrace.as_of', 'unknown')}",
        "metrics": ", ".join(f"{name} {value:.4f}" for name, value in facts.metrics.items() if name != "threshold"),
        **{name: value for name, value in facts.tags.items() if not name.startswith("headrace.")},
        "card": card,
    }
    for name, value in shown.items():
        table.add_row(name, Text(value, overflow="fold"))
    parts.append(table)
    if decision:
        parts.append(Text(f"\nDecision of the gate: {decision['action']}", style="bold"))
        parts += [Text(f"- {reason}") for reason in decision["reasons"]]
        gates = Table("gate", "measured", "bound", "")
        marks = {True: "passed", False: "not passed", None: "not judged"}
        for gate in decision.get("gates", []):
            gates.add_row(gate["gate"], _number(gate["measured"]), _number(gate["bound"]), marks[gate["passed"]])
        parts.append(gates)
    else:
        parts.append(Text("\nThere is no decision about it yet."))
    if evidence.history:
        parts.append(Text("\nWhat happened:", style="bold"))
        parts += [Text(_event(event)) for event in evidence.history]
    return Group(*parts)


def _event(event: dict[str, Any]) -> str:
    why = f": {event['why']}" if event.get("why") else ""
    return f"- {event['at'][:16].replace('T', ' ')} {event['what']} by {event['by']}{why}"


def _number(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


models = typer.Typer(help="Versions: list, show, annotate, approve, roll back, retire.", no_args_is_help=True)

Model = Annotated[str, typer.Argument(help="A file under configs/models.")]
Version = Annotated[int, typer.Argument(help="Number of the version.")]
By = Annotated[str | None, typer.Option(help="Who decides; default: the user of this machine.")]
Approver = Annotated[str, typer.Option(help="Your name, one of approval.approvers if those are set.")]
Comment = Annotated[str, typer.Option(help="Why.")]


@models.command("list")
def list_versions(
    context: typer.Context,
    model: Annotated[str | None, typer.Argument(help="Default: every model.")] = None,
) -> None:
    """Show the versions with their aliases, status and metrics."""
    from rich.table import Table

    from configs import model_names

    names = [known_model(model)] if model else model_names()
    settings, shown = _here(context), False
    for name in names:
        rows = version_rows(settings, name)
        if not rows:
            if model:
                console().print(f"{name} has no version yet: `headrace run train --model {name}` creates one.")
            continue
        table = Table(title=name, title_justify="left", title_style="bold")
        for column in rows[0]:
            table.add_column(column, no_wrap=column != "aliases")
        for row in rows:
            table.add_row(*row.values())
        console().print(table)
        shown = True
    if not shown and not model:
        console().print("No model has a version yet: `headrace run train --model NAME` creates one.")


@models.command()
def show(context: typer.Context, model: Model, version: Version) -> None:
    """Show the facts of a version, its decision and its history."""

    known_model(model)
    console().print(version_page(_here(context), model, version), soft_wrap=True)


@models.command()
def alias(
    context: typer.Context,
    model: Model,
    words: Annotated[list[str], typer.Argument(help="VERSION ALIAS, or with --remove ALIAS.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove the alias.")] = False,
) -> None:
    """Set challenger or shadow to a version: `alias M 3 shadow`; only decisions move champion."""
    from ray_cluster import registry

    name, numbers = words[-1], words[:-1]
    known_model(model)
    if len(numbers) > 1 or (not numbers and not remove) or not all(each.isdigit() for each in numbers):
        raise UsageError(
            f"models alias {model} {' '.join(words)}: expected a version and an alias, such as `{model} 3 shadow`, or "
            "an alias with --remove."
        )
    settings, number = _here(context), int(numbers[0]) if numbers else None
    with registry.exclusive(settings, model):
        if remove:
            done = registry.remove(settings, model, name, number)
            console().print(f"{model}: no version is {name} now." if done else f"{model}: no version was {name}.")
        elif number is not None:
            registry.point(settings, model, number, name)
            console().print(f"{model} version {number} is {name}.")


@models.command()
def annotate(
    context: typer.Context,
    model: Model,
    version: Version,
    pairs: Annotated[list[str] | None, typer.Argument(help="One or more key=value.")] = None,
    description: Annotated[str | None, typer.Option(help="Markdown for the version's page in MLflow.")] = None,
) -> None:
    """Add tags or a description to a version."""
    from ray_cluster import registry

    tags = dict(_pair(each) for each in pairs or [])
    known_model(model)
    if not tags and description is None:
        raise UsageError(f"models annotate {model} {version}: nothing to add; pass key=value or --description.")
    settings = _here(context)
    registry.version(settings, model, version)
    registry.annotate(settings, model, version, tags)
    if description is not None:
        registry.describe(settings, model, version, description)
        registry.annotate(settings, model, version, {"headrace.description": "by hand"})
    console().print(f"{model} version {version}: {', '.join([*tags, *(['description'] if description else [])])} set.")


@models.command()
def approve(
    context: typer.Context,
    model: Model,
    version: Version,
    by: Approver,
    comment: Comment = "",
) -> None:
    """Approve a version that waits, and make it champion."""
    _answer(context, model, version, by, comment, yes=True)


@models.command()
def reject(
    context: typer.Context,
    model: Model,
    version: Version,
    by: Approver,
    comment: Comment = "",
) -> None:
    """Reject a version that waits."""
    _answer(context, model, version, by, comment, yes=False)


@models.command()
def rollback(
    context: typer.Context,
    model: Model,
    version: Annotated[int | None, typer.Argument(help="Default: the champion before this one.")] = None,
    by: By = None,
    reason: Annotated[str, typer.Option(help="Why; stored with both versions.")] = "",
) -> None:
    """Make an earlier champion champion again; `headrace run deploy` then deploys it."""
    from ray_cluster.promotion.transitions import roll_back

    known_model(model)
    before, now = roll_back(_here(context), model, version, by or _user(), reason)
    console().print(
        f"{model}: champion is version {now}{f', it was {before}' if before else ''}. "
        f"`headrace run deploy --model {model}` deploys it.",
        soft_wrap=True,
    )


@models.command()
def retire(
    context: typer.Context,
    model: Model,
    version: Version,
    reason: Annotated[str, typer.Option(help="Why; stored with the version.")],
    by: By = None,
    delete_artifacts: Annotated[
        bool, typer.Option("--delete-artifacts", help="Also remove the model files; the evidence stays.")
    ] = False,
) -> None:
    """Retire a version; refused while a live system depends on it."""
    from ray_cluster.promotion.transitions import retire as retire_version

    known_model(model)
    retire_version(_here(context), model, version, reason, by or _user(), delete_artifacts)
    files = ", its model files are removed" if delete_artifacts else ""
    console().print(f"{model} version {version} is retired{files}; its evidence stays.")


@models.command()
def card(
    context: typer.Context,
    model: Model,
    version: Annotated[int | None, typer.Argument(help="Default: the champion, else the newest.")] = None,
    open_: Annotated[bool, typer.Option("--open", help="Show it in the browser.")] = False,
) -> None:
    """Write the model card of a version and print its path."""
    from ray_cluster.promotion.model_card import write_card

    known_model(model)
    settings = _here(context)
    number = default_version(settings, model) if version is None else version
    path = write_card(settings, model, number)
    typer.echo(path)
    if open_:
        typer.launch(str(path))


def _answer(context: typer.Context, model: str, version: int, by: str, comment: str, yes: bool) -> None:
    from flows.stack import StackError, require
    from ray_cluster.promotion import transitions

    known_model(model)
    settings = _here(context)
    facts = (transitions.approve if yes else transitions.reject)(settings, model, version, by, comment)
    try:
        require(settings, "prefect")
        from flows.approval import answer_waiting_run  # Prefect reads its address at import

        released = answer_waiting_run(facts.tags.get("headrace.approval_run"), by, yes, comment)
    except StackError:  # the answer is valid without it
        released = False
    done = "approved and champion" if yes else "rejected"
    more = "; the waiting flow run continues" if released else ""
    console().print(f"{model} version {version} is {done}, by {by}{more}.", soft_wrap=True)
    if yes and not released:
        console().print(f"`headrace run deploy --model {model}` deploys it.")


def _here(context: typer.Context) -> Settings:
    """The environment's settings, after a check that MLflow answers."""
    from flows.stack import require

    settings = settings_of(context)
    require(settings, "mlflow")
    return settings


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z][\w./ -]*", key):
        raise UsageError(f"models annotate: '{text}' is not key=value, such as reviewed_by=ann.")
    if key.startswith("headrace."):
        raise UsageError(f"models annotate: '{key}' is reserved for Headrace; choose a key without 'headrace.'.")
    return key, value


def _user() -> str:
    from getpass import getuser

    return getuser()
