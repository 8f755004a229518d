"""Register a training run as a model version, and make it champion if it beats the present one on the same rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from configs.model import ModelSpec
from configs.settings import Settings
from ray_cluster import registry
from ray_cluster.decisions import Decision, promotion
from ray_cluster.evaluation.metrics import metrics

__all__ = ["Registered", "latest_run", "register"]


@dataclass(frozen=True)
class Registered:
    """A version, the decision about it, and the version that is champion now (None when there is none)."""

    version: int
    run_id: str
    decision: Decision
    champion: int | None
    unchanged: bool


def latest_run(settings: Settings, model: str) -> str:
    """Id of the newest finished training run.

    Raises:
        RegistryError: there is none.
    """
    run_id = registry.newest_run(settings, model)
    if run_id is None:
        raise registry.RegistryError(f"Model '{model}' has no finished training run; run `headrace run train`.")
    return run_id


def register(settings: Settings, spec: ModelSpec, run_id: str, context: dict[str, str]) -> Registered:
    """Register ``run_id`` and decide about it by ``spec.gate``; doing it again changes nothing.

    The order is version, decision, alias, and each step is looked for before it is done: killed anywhere and run
    again, it ends with the same one version.
    """
    documents = registry.evidence(settings, run_id)
    dataset = documents["dataset"]
    facts = registry.register_run(
        settings,
        spec.name,
        run_id,
        tags={
            "headrace.dataset": dataset["fingerprint"],
            "headrace.as_of": dataset["as_of"],
            "headrace.feature_service": dataset["feature_service"],
            "headrace.git_commit": str(dataset["git"]["commit"]),
            **context,
        },
    )
    present = registry.champion(settings, spec.name)
    if "decision" in documents:
        decision = Decision.from_dict(documents["decision"])
        pending = (
            decision.action == "promote" and (present.version if present else None) == decision.evidence["champion"]
        )
        if pending:
            registry.promote(settings, spec.name, facts.version)
            present = registry.champion(settings, spec.name)
        return Registered(facts.version, run_id, decision, present.version if present else None, not pending)

    challenger_metrics = documents["evaluation"]["metrics"]
    champion_metrics = _measure(settings, spec, present.version, run_id) if present else None
    decision = promotion(challenger_metrics, champion_metrics, spec.gate)
    document: dict[str, Any] = decision.to_dict()
    document["evidence"] = {
        **document["evidence"],
        "champion": present.version if present else None,
        "challenger": facts.version,
        "decided_at": datetime.now(UTC).isoformat(),
    }
    decision = Decision.from_dict(document)
    registry.add_evidence(settings, run_id, {"decision": document})
    registry.annotate(settings, spec.name, facts.version, {"headrace.decision": "; ".join(decision.reasons)[:4000]})
    if decision.action == "promote":
        registry.promote(settings, spec.name, facts.version)
        present = registry.champion(settings, spec.name)
    return Registered(facts.version, run_id, decision, present.version if present else None, False)


def _measure(settings: Settings, spec: ModelSpec, version: int, run_id: str) -> dict[str, float]:
    """Metrics of a registered version on the held-out rows of another run."""
    rows = registry.reference(settings, run_id)
    loaded = registry.load_version(settings, spec.name, version)
    missing = [name for name in loaded.features if name not in rows]
    if missing:
        raise registry.RegistryError(
            f"The champion of '{spec.name}' (version {version}) needs feature '{missing[0]}', which feature service "
            f"'{spec.feature_service}' no longer has; put it back, or remove the alias champion in MLflow."
        )
    scores = loaded.pipeline.predict_proba(rows[loaded.features])[:, 1]
    return metrics(rows["label"].to_numpy(), scores, loaded.threshold)
