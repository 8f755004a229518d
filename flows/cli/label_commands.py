"""``headrace labels``: review suspect labels, accept corrections, list them, revoke one.

These are commands, not flows: Prefect would store ids, authors and reasons in the run's parameters.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.console import console, settings_of
from flows.cli.parsing import moment, which_model

if TYPE_CHECKING:
    from configs import ModelSpec, Settings

__all__ = ["labels"]

labels = typer.Typer(help="Suspect labels: review, accept, list, revoke.", no_args_is_help=True)

Model = Annotated[str | None, typer.Option(help="A file under configs/models; needed if there are several.")]
Author = Annotated[str, typer.Option(help="Author of the decision.")]
Reason = Annotated[str, typer.Option(help="Why.")]


@labels.command()
def review(
    context: typer.Context,
    model: Model = None,
    as_of: Annotated[str | None, typer.Option(help="As-of time, in UTC: 2013-12-17. Default: now.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Maximum of labels to write, the most suspect first.")] = 200,
) -> None:
    """Find suspect labels by confident learning; writes labels/<model>/review.csv and a page."""
    from ray_cluster.labels.label_review import review_labels

    settings, spec = _here(context, model)
    done = review_labels(settings, spec, moment(as_of) if as_of else settings.now(), limit)
    console().print(
        f"{done.suspects:,} of {done.rows:,} labels are suspect; the {done.shown:,} least plausible are in "
        f"{done.queue}{f', with a page in {done.page}' if done.page else ''}.",
        soft_wrap=True,
    )


@labels.command()
def accept(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A review queue, with yes in the column accept.")],
    author: Author = "",
    reason: Reason = "",
) -> None:
    """Add the accepted rows of a review to the corrections, all or none; the source does not change."""
    from ray_cluster.labels.label_review import accept_overrides

    settings = settings_of(context)
    done = accept_overrides(settings, file, author, reason)
    count = len(done.relabels)
    console().print(
        f"[green]Accepted[/green]: {count:,} label{'' if count == 1 else 's'} of {done.model}, version {done.version} "
        "of its overlay. The next training uses it.",
        soft_wrap=True,
    )


@labels.command("list")
def list_(context: typer.Context, model: Model = None) -> None:
    """Show the corrections of a model's labels, the newest first."""
    from rich.table import Column, Table

    from feature_repo.frames.label_overrides import overlay, standing

    settings, spec = _here(context, model)
    lines = overlay(settings, spec.name)
    present = {id(each) for each in standing(lines).values()}
    if not lines:
        console().print(f"The labels of {spec.name} have no corrections.")
        return
    identity = Column(
        "id", no_wrap=True, overflow="fold", min_width=max(len(each.id) for each in lines)
    )  # the id is needed to revoke it
    date = Column("date", no_wrap=True, min_width=10)
    table = Table("version", identity, "given", "label", "author", date, "reason", "state", box=None)
    for each in reversed(lines):
        state = "in force" if id(each) in present else "revokes" if each.label is None else "no longer"
        label = "source" if each.label is None else str(each.label)
        cells = (str(each.version), each.id, str(each.given), label, each.author, each.at[:10], each.reason, state)
        table.add_row(*cells)
    console().print(table)


@labels.command()
def revoke(
    context: typer.Context,
    identity: Annotated[str, typer.Argument(metavar="ID", help="Id of the request with the corrected label.")],
    model: Model = None,
    author: Author = "",
    reason: Reason = "",
) -> None:
    """Revoke one correction; the label is the source's again."""
    from ray_cluster.labels.label_review import revoke_override

    settings, spec = _here(context, model)
    done = revoke_override(settings, spec, identity, author, reason)
    console().print(f"[green]Revoked[/green]: {identity}, version {done.version} of the overlay of {spec.name}.")


def _here(context: typer.Context, model: str | None) -> tuple[Settings, ModelSpec]:
    from configs import load_model

    name = which_model(model)
    settings = settings_of(context)
    return settings, load_model(name, str(settings.folder))
