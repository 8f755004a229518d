"""The door to MLflow: training runs, model versions, aliases and the evidence kept with them."""

from ray_cluster.registry.aliases import champion, promote
from ray_cluster.registry.bundles import LoadedVersion, explain, load_version
from ray_cluster.registry.connection import KIND, RegistryError
from ray_cluster.registry.lookup import RunFacts, Subject, find, runs
from ray_cluster.registry.runs import add_evidence, evidence, find_run, log_run, newest_run, reference
from ray_cluster.registry.trusted import TRUSTED
from ray_cluster.registry.versions import (
    VersionFacts,
    annotate,
    describe,
    register_run,
    version,
    version_features,
    versions,
)

__all__ = [
    "KIND",
    "LoadedVersion",
    "RegistryError",
    "RunFacts",
    "Subject",
    "TRUSTED",
    "VersionFacts",
    "add_evidence",
    "annotate",
    "champion",
    "describe",
    "evidence",
    "explain",
    "find",
    "find_run",
    "load_version",
    "log_run",
    "newest_run",
    "promote",
    "reference",
    "register_run",
    "version",
    "runs",
    "version_features",
    "versions",
]
