"""The door to MLflow: training runs, model versions, aliases and the evidence kept with them."""

from ray_cluster.registry.aliases import (
    ALIASES,
    AliasError,
    aliased,
    champion,
    check_alias,
    point,
    promote,
    remove,
    usable,
)
from ray_cluster.registry.approval import (
    ApprovalError,
    approval_state,
    ask_approval,
    check_approver,
    record_approval,
    withdraw,
)
from ray_cluster.registry.bundles import LoadedVersion, explain, load_version
from ray_cluster.registry.connection import KIND, RegistryError
from ray_cluster.registry.history import history, remember
from ray_cluster.registry.locking import exclusive
from ray_cluster.registry.lookup import RunFacts, Subject, find, runs_of
from ray_cluster.registry.retirement import delete_files, retire
from ray_cluster.registry.runs import add_evidence, add_texts, evidence, find_run, log_run, newest_run, reference
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
    "ALIASES",
    "AliasError",
    "ApprovalError",
    "KIND",
    "LoadedVersion",
    "RegistryError",
    "RunFacts",
    "Subject",
    "TRUSTED",
    "VersionFacts",
    "add_evidence",
    "add_texts",
    "aliased",
    "annotate",
    "approval_state",
    "ask_approval",
    "champion",
    "check_alias",
    "check_approver",
    "delete_files",
    "describe",
    "evidence",
    "exclusive",
    "explain",
    "find",
    "find_run",
    "history",
    "load_version",
    "log_run",
    "newest_run",
    "point",
    "promote",
    "record_approval",
    "reference",
    "register_run",
    "remember",
    "remove",
    "retire",
    "usable",
    "version",
    "runs_of",
    "version_features",
    "versions",
    "withdraw",
]
