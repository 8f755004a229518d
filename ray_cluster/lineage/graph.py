"""The lineage of a version as a graph: raw tables, views, service, frame, run, version, and its uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from configs.settings import Settings
from feature_repo.storage.files import read_json
from ray_cluster import registry
from ray_cluster.lineage.changes import Change, changes_since
from ray_cluster.lineage.prediction_trace import Served, served_by
from ray_cluster.registry.evidence import Dataset, Evidence

__all__ = ["COLUMNS", "IN_USE", "Lineage", "Node", "trace"]

#: Headings of the graph's columns, from sources to uses.
COLUMNS = ("raw tables", "feature views", "service and frame", "run and version", "in use")
#: Index of the last column.
IN_USE = len(COLUMNS) - 1


@dataclass(frozen=True)
class Node:
    """One node of a lineage. ``facts`` are shown in order; ``changed`` lists differences from the current state."""

    id: str
    column: int
    name: str
    facts: dict[str, str] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    url: str = ""


@dataclass(frozen=True)
class Lineage:
    """The lineage of one version or run. ``provenance`` is the run's record, empty if it has none."""

    model: str
    title: str
    nodes: list[Node]
    edges: list[tuple[str, str]]
    changes: list[Change]
    provenance: dict[str, Any]

    def node(self, name: str) -> Node:
        return next(node for node in self.nodes if node.id == name)

    def to_dict(self) -> dict[str, Any]:
        """As JSON, without the long lists of files and days."""
        found = asdict(self)
        kept = {name: value for name, value in self.provenance.items() if name not in ("code", "settings")}
        kept["tables"] = {
            table: {key: value for key, value in facts.items() if key != "days"}
            for table, facts in kept.get("tables", {}).items()
        }
        return {**found, "provenance": kept}


def trace(settings: Settings, model: str, which: str | None = None) -> Lineage:
    """Trace a version (by number, default the champion) or a run (by id).

    Raises:
        RegistryError: there is no such version or run.
    """
    subject = registry.find(settings, model, which)
    evidence = registry.evidence(settings, subject.run.run_id)
    provenance = evidence.provenance
    changes = changes_since(settings, model, provenance) if provenance else []
    nodes, edges = [], []
    for node, sources in (
        *_data(provenance, evidence.dataset, changes),
        *_training(settings, subject, evidence, changes),
        *_use(settings, subject),
    ):
        nodes.append(node)
        edges += [(source, node.id) for source in sources]
    known = {node.id for node in nodes}
    return Lineage(
        model,
        f"{model} {subject.title}",
        nodes,
        [edge for edge in edges if set(edge) <= known],
        changes,
        provenance,
    )


def _data(
    provenance: Mapping[str, Any], dataset: Dataset | None, changes: list[Change]
) -> Iterator[tuple[Node, list[str]]]:
    held = dataset.tables if dataset else {}
    tables = provenance.get("tables") or {name: {"stored": found} for name, found in held.items()}
    for table, facts in tables.items():
        shown = {"known then": facts.get("known", ""), "stored": facts.get("stored", "")}
        if "rows" in facts:
            shown["rows"] = f"{facts['rows']:,}"
        differ = [each.sentence for each in changes if each.kind == "table" and each.name == table]
        yield Node(f"table:{table}", 0, table, _some(shown), differ), []
    views = provenance.get("views") or {}
    for view, facts in views.items():
        shown = {
            "query": facts["query"],
            "rows": f"{facts['rows']:,}" if "rows" in facts else "",
            "latest": str(facts.get("latest_event") or "")[:16],
        }
        differ = [each.sentence for each in changes if each.kind == "view" and each.name == view]
        yield Node(f"view:{view}", 1, view, _some(shown), differ), [f"table:{table}" for table in facts["reads"]]
    for view, found in (provenance.get("on_demand") or {}).items():
        differ = [each.sentence for each in changes if each.kind == "on-demand view" and each.name == view]
        yield Node(f"on_demand:{view}", 1, view, {"function": found, "kind": "on demand, from the request"}, differ), []
    service = provenance.get("feature_service") or (dataset.feature_service if dataset else None)
    if service:
        sources = [f"view:{view}" for view in views] + [f"on_demand:{view}" for view in provenance.get("on_demand", {})]
        yield Node("service", 2, service, {"views": str(len(sources)) if sources else ""}, []), sources


def _training(
    settings: Settings,
    subject: registry.Subject,
    evidence: Evidence,
    changes: list[Change],
) -> Iterator[tuple[Node, list[str]]]:
    dataset, provenance = evidence.dataset, evidence.provenance
    frame = {}
    if dataset:
        frame = {"fingerprint": dataset.fingerprint, "rows": f"{dataset.rows:,}", "as of": dataset.as_of[:16]}
    differ = [f"{each.kind} {each.name}: {each.sentence}" for each in changes if each.affects == "frame"]
    labels = [f"table:{table}" for table in (provenance.get("tables") or (dataset.tables if dataset else {}))]
    read = {table for facts in (provenance.get("views") or {}).values() for table in facts["reads"]}
    yield (
        Node("frame", 2, "training frame", _some(frame), differ),
        [
            "service",
            *(name for name in labels if name.partition(":")[2] not in read),
        ],
    )
    parents = provenance.get("parents") or {}
    if parents.get("champion"):
        parent = parents["champion"]
        shown = {"run": parent["run_id"], "kind": "champion when this was trained"}
        yield Node("parent", 2, f"version {parent['version']}", shown), []
    if parents.get("monitoring"):
        verdict = parents["monitoring"]
        shown = {"as of": verdict["as_of"][:16], "version": str(verdict["version"]), "verdict": "retrain"}
        yield Node("verdict", 2, "monitoring", shown), []
    run, git = subject.run, provenance.get("git") or (dataset.git if dataset else {})
    facts = {
        "id": run.run_id,
        "kind": run.kind,
        "started": f"{run.started:%Y-%m-%d %H:%M}",
        "seconds": f"{provenance['seconds']:.0f}" if "seconds" in provenance else "",
        "commit": f"{str(git.get('commit', ''))[:10]}{', dirty' if git.get('dirty') else ''}",
        "branch": str(git.get("branch") or ""),
        "flow run": run.tags.get("headrace.flow_run", ""),
        "started by": run.tags.get("headrace.started_by", ""),
    }
    fit = [
        f"{each.kind} {each.name}: {each.sentence}" for each in changes if each.kind in ("code", "library", "machine")
    ]
    url = f"{settings.url('mlflow')}/#/runs/{run.run_id}"
    yield Node("run", 3, run.name or run.run_id[:12], _some(facts), fit, url), ["frame", "parent", "verdict"]
    if subject.version:
        version, evaluation = subject.version, evidence.evaluation
        facts = {
            "registered": f"{version.created:%Y-%m-%d %H:%M}",
            "model": provenance.get("model_digest", {}).get("model", ""),
            "family": evaluation.family if evaluation else "",
            "threshold": f"{evaluation.served_threshold:.4f}" if evaluation else "",
            "PR AUC": f"{version.metrics['average_precision']:.4f}" if "average_precision" in version.metrics else "",
            "decision": str(evidence.decision.get("action", "")),
        }
        url = f"{settings.url('mlflow')}/#/models/{subject.model}/versions/{version.version}"
        yield Node("version", 3, f"version {version.version}", _some(facts), [], url), ["run"]


def _use(settings: Settings, subject: registry.Subject) -> Iterator[tuple[Node, list[str]]]:
    from ray_cluster.serving.rollout import live

    version = subject.version
    if version is None:
        return
    for alias in version.aliases:
        promoted = version.tags.get("headrace.promoted_at", "") if alias == "champion" else ""
        yield Node(f"alias:{alias}", IN_USE, alias, _some({"kind": "alias", "since": promoted[:16]})), ["version"]
    running = live(settings).get(subject.model)
    if running and running["version"] == version.version:
        shown = {"kind": "application", "status": str(running["status"]), "replicas": str(running["replicas"])}
        yield Node("application", IN_USE, "endpoint", _some(shown), [], f"{running['url']}/docs"), ["version"]
    served: Served = served_by(settings, subject.model, version.version)
    if served.count:
        shown = {"predictions": f"{served.count:,}", "first": str(served.first)[:16], "last": str(served.last)[:16]}
        yield Node("predictions", IN_USE, "predictions", shown), ["application" if running else "version", "version"]
    verdict = read_json(settings.home / "monitoring" / subject.model / "latest.json")
    if verdict and verdict.get("version") == version.version:
        shown = {"verdict": verdict["decision"]["action"], "as of": str(verdict["as_of"])[:16]}
        yield Node("monitoring", IN_USE, "monitoring", shown), ["predictions"]


def _some(facts: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in facts.items() if value}
