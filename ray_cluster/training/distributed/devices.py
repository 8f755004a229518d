"""Resources that a model's final fit needs in the cluster, and whether XGBoost runs on its GPUs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from configs.errors import HeadraceError
from configs.model import ModelSpec

__all__ = ["Device", "FitError", "again_on", "check_cluster", "cluster_resources", "device_of", "gpus_of", "on_device"]

Device = Literal["cpu", "cuda"]


class FitError(HeadraceError, RuntimeError):
    """The cluster cannot run the final fit that the model's file describes; the message says why and how to fix it."""


def cluster_resources() -> dict[str, float]:
    """Total resources of the cluster's nodes, free or in use: resource -> amount."""
    import ray

    return dict(ray.cluster_resources())  # type: ignore[no-untyped-call]


def device_of(spec: ModelSpec, resources: Mapping[str, float], families: Collection[str] = ("xgboost",)) -> Device:
    """``cuda`` if the model's file says so, or leaves it open and Ray has a GPU for each worker; else ``cpu``.

    Args:
        families: that are fitted; only XGBoost uses GPUs.
    """
    if spec.fit.device != "auto":
        return spec.fit.device
    if "xgboost" not in families:
        return "cpu"
    return "cuda" if resources.get("GPU", 0) >= _gpus(spec) else "cpu"


def on_device(spec: ModelSpec, device: Literal["auto", "cpu", "cuda"]) -> ModelSpec:
    """``spec`` with that ``fit.device``."""
    return spec.model_copy(update={"fit": spec.fit.model_copy(update={"device": device})})


def again_on(spec: ModelSpec, then: Device, resources: Mapping[str, float]) -> Device:
    """Device for repeating a fit that ran on ``then``: the same, or CPUs if Ray has no GPU for each worker now."""
    return then if then == "cpu" else device_of(on_device(spec, "auto"), resources)


def check_cluster(spec: ModelSpec, resources: Mapping[str, float]) -> None:
    """Refuse a fit that the cluster can never run, before any work starts.

    Raises:
        FitError: not enough CPUs, or no GPUs although the model's file requires them.
    """
    fit, each = spec.fit, spec.tuning.cpus_per_trial
    if fit.device == "cuda" and resources.get("GPU", 0) < _gpus(spec):
        raise FitError(
            f"models/{spec.name}.yaml: fit.device = cuda needs {_gpus(spec):g} GPU in the Ray cluster, and it has "
            f"{resources.get('GPU', 0):g}; start a node with GPUs, or set fit.device: auto."
        )
    if fit.workers > 1 and resources.get("CPU", 0) < fit.workers * each:
        raise FitError(
            f"models/{spec.name}.yaml: fit.workers = {fit.workers} with tuning.cpus_per_trial = {each:g} needs "
            f"{fit.workers * each:g} CPUs in the Ray cluster, and it has {resources.get('CPU', 0):g}; lower either, "
            "or add nodes."
        )


def gpus_of(spec: ModelSpec, device: Device) -> float:
    """GPUs of each worker of the final fit: one per worker, or for a single worker the GPUs of a trial."""
    if device == "cpu":
        return 0.0
    return 1.0 if spec.fit.workers > 1 else spec.tuning.gpus_per_trial or 1.0


def _gpus(spec: ModelSpec) -> float:
    return spec.fit.workers * gpus_of(spec, "cuda")
