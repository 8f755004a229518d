"""Registered versions: facts, aliases, history (who did what, when and why), and retirement."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from configs.errors import HeadraceError
from configs.reading import nearest
from configs.settings import Settings
from ray_cluster.registry.http_reads import MissingError, files, read
from ray_cluster.registry.mlflow_client import RegistryError, connect

__all__ = [
    "VersionFacts",
    "annotate",
    "describe",
    "register_run",
    "version",
    "version_features",
    "versions",
    "history",
    "remember",
    "ALIASES",
    "AliasError",
    "aliased",
    "champion",
    "check_alias",
    "point",
    "promote",
    "remove",
    "usable",
    "delete_files",
    "retire",
]


@dataclass(frozen=True)
class VersionFacts:
    """One registered version. ``metrics`` are those of its run on the held-out period.

    ``logged`` is the id of the logged model with its files; ``description`` is the Markdown of its page in MLflow.
    """

    model: str
    version: int
    run_id: str
    aliases: tuple[str, ...]
    tags: dict[str, str]
    metrics: dict[str, float]
    created: datetime
    logged: str = ""
    description: str = ""

    @property
    def promoted_at(self) -> datetime | None:
        """When it last became champion, or None."""
        return _moment(self.tags.get("headrace.promoted_at"))

    @property
    def retired_at(self) -> datetime | None:
        """When it was retired, or None."""
        return _moment(self.tags.get("headrace.retired_at"))


def register_run(settings: Settings, model: str, run_id: str, tags: Mapping[str, str]) -> VersionFacts:
    """The registered version of a run: the existing one, else a new one.

    Raises:
        RegistryError: the run was interrupted, or logged no model.
    """
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    for known in versions(settings, model):
        if known.run_id == run_id:
            return known
    run = client.get_run(run_id)
    outputs = run.outputs
    if run.info.status != "FINISHED" or outputs is None or not outputs.model_outputs:
        raise RegistryError(
            f"Run {run_id} of model '{model}' is not complete (status {run.info.status.lower()}"
            f"{'' if outputs and outputs.model_outputs else ', no model logged'}), so it cannot be registered; run "
            "`headrace run train` again."
        )
    try:
        client.create_registered_model(model)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    logged = outputs.model_outputs[0].model_id
    created = client.create_model_version(model, f"models:/{logged}", run_id, tags=dict(tags), model_id=logged)
    return version(settings, model, int(created.version))


def annotate(settings: Settings, model: str, version: int, tags: Mapping[str, str]) -> None:
    """Set tags on a version."""
    client = connect(settings)
    for name, value in tags.items():
        client.set_model_version_tag(model, str(version), name, value[:5000])  # MLflow's maximum length


def describe(settings: Settings, model: str, version: int, description: str) -> None:
    """Set the Markdown that MLflow shows on the version's page."""
    connect(settings).update_model_version(model, str(version), description)


def version(settings: Settings, model: str, number: int) -> VersionFacts:
    """One version.

    Raises:
        RegistryError: there is no version with that number; the message lists the existing ones.
    """
    try:
        return _with_metrics(settings, read(settings, "model-versions/get", name=model, version=str(number)))
    except MissingError as error:
        known = [str(found.version) for found in versions(settings, model)] or ["none"]
        raise RegistryError(f"Model '{model}' has no version {number}; registered: {', '.join(known)}.") from error


def versions(settings: Settings, model: str) -> list[VersionFacts]:
    """All versions of a model, newest first; empty when it was never registered."""
    found = list(_pages(settings, "model-versions/search", "model_versions", filter=f"name='{model}'"))
    if not found:
        return []
    aliases: dict[str, list[str]] = {}  # a search for versions does not return them
    for each in read(settings, "registered-models/get", name=model)["registered_model"].get("aliases", []):
        aliases.setdefault(str(each["version"]), []).append(each["alias"])
    metrics = _metrics(settings, [each["run_id"] for each in found])
    facts = [
        replace(_facts(each, metrics.get(each["run_id"], {})), aliases=tuple(aliases.get(str(each["version"]), ())))
        for each in found
    ]
    return sorted(facts, key=lambda one: -one.version)


def _pages(settings: Settings, path: str, key: str, **given: Any) -> Iterator[dict[str, Any]]:
    """The objects under ``key`` of all pages."""
    while True:
        page = read(settings, path, **given)
        yield from page.get(key, [])
        if not (token := page.get("next_page_token")):
            return
        given["page_token"] = token


def _metrics(settings: Settings, run_ids: Sequence[str]) -> dict[str, dict[str, float]]:
    """The metrics of runs of one experiment, in one request per hundred runs."""
    first = read(settings, "runs/get", run_id=run_ids[0])["run"]
    found: dict[str, dict[str, float]] = {}
    for start in range(0, len(run_ids), 100):
        listed = ", ".join(f"'{each}'" for each in run_ids[start : start + 100])
        asked = {
            "experiment_ids": [first["info"]["experiment_id"]],
            "filter": f"attributes.run_id IN ({listed})",
            "run_view_type": "ALL",
            "max_results": 100,
        }
        runs = read(settings, "runs/search", asked).get("runs", [])
        found |= {run["info"]["run_id"]: _metrics_of(run) for run in runs}
    return found


def _metrics_of(run: Mapping[str, Any]) -> dict[str, float]:
    return {each["key"]: float(each["value"]) for each in run["data"].get("metrics", [])}


def version_features(settings: Settings, model: str, version: int) -> list[str]:
    """Names of the features of a version, read without loading its pipeline."""
    connect(settings)
    import mlflow

    metadata = mlflow.models.get_model_info(f"models:/{model}/{version}").metadata or {}
    return list(metadata["features"])


def _with_metrics(settings: Settings, found: Mapping[str, Any]) -> VersionFacts:
    """The facts of a version as MLflow returns it."""
    held = found["model_version"]
    return _facts(held, _metrics_of(read(settings, "runs/get", run_id=held["run_id"])["run"]))


def _facts(held: Mapping[str, Any], metrics: dict[str, float]) -> VersionFacts:
    return VersionFacts(
        model=held["name"],
        version=int(held["version"]),
        run_id=held["run_id"],
        aliases=tuple(held.get("aliases", ())),
        tags={each["key"]: each.get("value", "") for each in held.get("tags", ())},
        metrics=metrics,
        created=datetime.fromtimestamp(int(held["creation_timestamp"]) / 1000, UTC),
        logged=str(held.get("source", "")).removeprefix("models:/"),
        description=str(held.get("description", "")),
    )


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


_FILE = "evidence/history.json"


def history(settings: Settings, run_id: str) -> list[dict[str, Any]]:
    """The events of the version registered from a run: ``{at, what, by, why, …}``."""
    text = files(settings, run_id, "evidence", only="history.json").get("history.json", b"[]")
    found: list[dict[str, Any]] = json.loads(text)
    return found


def remember(settings: Settings, run_id: str, what: str, by: str, why: str = "", **more: Any) -> None:
    """Add an event, unless it is already the last one (a step that is repeated after a kill)."""
    events = history(settings, run_id)
    if events and (events[-1]["what"], events[-1]["by"], events[-1]["why"]) == (what, by, why):
        return
    events.append({"at": datetime.now(UTC).isoformat(), "what": what, "by": by, "why": why, **more})
    connect(settings).log_text(run_id, json.dumps(events, indent=1, default=str), _FILE)


#: champion answers requests; challenger is the newest that was refused or waits; shadow runs next to the champion.
ALIASES = ("champion", "challenger", "shadow")


class AliasError(HeadraceError, ValueError):
    """The alias does not exist, or cannot be moved this way; the message is one sentence."""


def aliased(settings: Settings, model: str, alias: str) -> VersionFacts | None:
    """The version with an alias, or None."""
    try:
        return _with_metrics(settings, read(settings, "registered-models/alias", name=model, alias=alias))
    except MissingError:
        return None


def champion(settings: Settings, model: str) -> VersionFacts | None:
    """The version with the alias ``champion``, or None."""
    return aliased(settings, model, "champion")


def check_alias(alias: str) -> str:
    """Return the alias itself if it exists.

    Raises:
        AliasError: there is no alias of that name (the message has the nearest).
    """
    if alias not in ALIASES:
        raise AliasError(f"There is no alias '{alias}'.{nearest(alias, list(ALIASES))} Known: {', '.join(ALIASES)}.")
    return alias


def point(settings: Settings, model: str, number: int, alias: str) -> VersionFacts:
    """Point ``challenger`` or ``shadow`` at a version; the previous version keeps its number.

    Raises:
        AliasError: no such alias, or ``champion``, which only a decision moves.
        RegistryError: there is no such version, or it was retired.
    """
    if check_alias(alias) == "champion":
        raise AliasError(
            f"The alias champion is moved by a decision, not by hand: `headrace run register --model {model}`, "
            f"`headrace models approve {model} {number}` or `headrace models rollback {model} {number}`."
        )
    facts = usable(settings, model, number)
    connect(settings).set_registered_model_alias(model, alias, str(number))
    return facts


def remove(settings: Settings, model: str, alias: str, number: int | None = None) -> bool:
    """Remove an alias, with ``number`` only from that version; False if there was nothing to remove."""
    held = aliased(settings, model, check_alias(alias))
    if held is None or number not in (None, held.version):
        return False
    connect(settings).delete_registered_model_alias(model, alias)
    return True


def promote(settings: Settings, model: str, number: int, by: str = "the gate", why: str = "") -> None:
    """Point the alias ``champion`` at a version; the previous version keeps its number.

    Raises:
        RegistryError: there is no such version, or it was retired.
    """
    facts, before = usable(settings, model, number), champion(settings, model)
    connect(settings).set_registered_model_alias(model, "champion", str(number))
    remove(settings, model, "challenger", number)
    replaced = before.version if before and before.version != number else None
    remember(settings, facts.run_id, "promoted", by, why, instead_of=replaced)
    now = datetime.now(UTC).isoformat()  # last: it marks that all steps are done
    annotate(settings, model, number, {"headrace.promoted_by": by, "headrace.promoted_at": now})


def usable(settings: Settings, model: str, number: int) -> VersionFacts:
    """A version that is not retired.

    Raises:
        RegistryError: there is no such version, or it was retired.
    """
    facts = version(settings, model, number)
    if facts.retired_at:
        raise RegistryError(
            f"Version {number} of '{model}' was retired on {facts.retired_at:%Y-%m-%d} "
            f"({facts.tags.get('headrace.retired_reason', 'no reason given')}); choose another one: "
            f"`headrace models list {model}`."
        )
    return facts


def retire(settings: Settings, facts: VersionFacts, by: str, reason: str) -> None:
    """Mark a version as retired; :mod:`ray_cluster.promotion.transitions` checks what depends on it."""
    remove(settings, facts.model, "challenger", facts.version)
    now = datetime.now(UTC).isoformat()
    tags = {"headrace.retired_reason": reason, "headrace.retired_by": by, "headrace.retired_at": now}
    remember(settings, facts.run_id, "retired", by, reason)
    annotate(settings, facts.model, facts.version, tags)


def delete_files(settings: Settings, facts: VersionFacts) -> None:
    """Remove the model files of a retired version. Its run, with evidence, reference rows and card, is kept.

    The version is marked first, so that it is not loaded meanwhile; a call after a kill removes the remaining files.
    """
    import mlflow

    connect(settings)
    if "headrace.deleted_at" not in facts.tags:
        remember(settings, facts.run_id, "model files removed", facts.tags.get("headrace.retired_by", ""))
        annotate(settings, facts.model, facts.version, {"headrace.deleted_at": datetime.now(UTC).isoformat()})
    location = mlflow.get_logged_model(facts.logged).artifact_location
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    files = get_artifact_repository(location)
    if files.list_artifacts():  # type: ignore[no-untyped-call]
        files.delete_artifacts()  # type: ignore[no-untyped-call]
