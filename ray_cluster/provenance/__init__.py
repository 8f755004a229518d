"""Where a model came from: data, features, code, libraries, machine, flow run and parents, kept with every run."""

from ray_cluster.provenance.code import CodeState, code_files, code_fingerprint, git_state
from ray_cluster.provenance.digest import model_digest
from ray_cluster.provenance.gathering import Provenance, gather
from ray_cluster.provenance.machine import library_versions, machine

__all__ = [
    "CodeState",
    "Provenance",
    "code_files",
    "code_fingerprint",
    "gather",
    "git_state",
    "library_versions",
    "machine",
    "model_digest",
]
