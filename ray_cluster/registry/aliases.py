"""Aliases: the names by which one version of a model is found."""

from __future__ import annotations

from datetime import UTC, datetime

from configs.reading import nearest
from configs.settings import Settings
from ray_cluster.registry.connection import RegistryError, connect
from ray_cluster.registry.history import remember
from ray_cluster.registry.versions import VersionFacts, annotate, facts_of, version

__all__ = ["ALIASES", "AliasError", "aliased", "champion", "check_alias", "point", "promote", "remove", "usable"]

#: champion answers requests; challenger is the newest that was refused or waits; shadow answers beside the champion.
ALIASES = ("champion", "challenger", "shadow")


class AliasError(ValueError):
    """An alias that there is not, or that may not be moved so; one sentence."""


def aliased(settings: Settings, model: str, alias: str) -> VersionFacts | None:
    """The version with an alias, or None."""
    client = connect(settings)
    from mlflow.exceptions import MlflowException

    try:
        return facts_of(client, client.get_model_version_by_alias(model, alias))
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None
        raise


def champion(settings: Settings, model: str) -> VersionFacts | None:
    """The version with the alias ``champion``, or None."""
    return aliased(settings, model, "champion")


def check_alias(alias: str) -> str:
    """The alias itself.

    Raises:
        AliasError: there is none of that name (with the nearest).
    """
    if alias not in ALIASES:
        raise AliasError(f"There is no alias '{alias}'.{nearest(alias, list(ALIASES))} Known: {', '.join(ALIASES)}.")
    return alias


def point(settings: Settings, model: str, number: int, alias: str) -> VersionFacts:
    """Point ``challenger`` or ``shadow`` at a version; what it pointed at keeps its number.

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
    """Take an alias away, with ``number`` only from that version; False when there was nothing to take."""
    held = aliased(settings, model, check_alias(alias))
    if held is None or number not in (None, held.version):
        return False
    connect(settings).delete_registered_model_alias(model, alias)
    return True


def promote(settings: Settings, model: str, number: int, by: str = "the gate", why: str = "") -> None:
    """Point the alias ``champion`` at a version; what it pointed at keeps its number.

    Raises:
        RegistryError: there is no such version, or it was retired.
    """
    facts, before = usable(settings, model, number), champion(settings, model)
    connect(settings).set_registered_model_alias(model, "champion", str(number))
    remove(settings, model, "challenger", number)
    replaced = before.version if before and before.version != number else None
    remember(settings, facts.run_id, "promoted", by, why, instead_of=replaced)
    now = datetime.now(UTC).isoformat()  # last, as what says that all of it was done
    annotate(settings, model, number, {"headrace.promoted_by": by, "headrace.promoted_at": now})


def usable(settings: Settings, model: str, number: int) -> VersionFacts:
    """A version that was not retired.

    Raises:
        RegistryError: there is no such version, or it was.
    """
    facts = version(settings, model, number)
    if facts.retired_at:
        raise RegistryError(
            f"Version {number} of '{model}' was retired on {facts.retired_at:%Y-%m-%d} "
            f"({facts.tags.get('headrace.retired_reason', 'no reason given')}); choose another one: "
            f"`headrace models list {model}`."
        )
    return facts
