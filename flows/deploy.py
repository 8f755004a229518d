"""Deployment: deploy the champion on Ray Serve; it must pass a smoke test over HTTP before the flow succeeds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from prefect import flow, get_run_logger, task

from configs import load_model
from flows.context import begin


@task(task_run_name="deploy {model}")
def deploy_one(model: str, as_of: datetime) -> dict[str, Any]:
    """Roll the champion out; if the smoke test fails, restore the previous version."""
    from feature_repo.frames.training_frame import FrameError, requests
    from ray_cluster import registry
    from ray_cluster.serving import rollout

    settings, as_of = begin(as_of)
    spec = load_model(model)
    champion = registry.champion(settings, model)
    if champion is None:
        raise registry.RegistryError(
            f"Model '{model}' has no champion to deploy; run `headrace run train --model {model}` and "
            f"`headrace run register --model {model}`."
        )
    due = requests(settings, spec, as_of - timedelta(days=30), as_of + timedelta(days=1), as_of)
    if due.empty:
        raise FrameError(
            f"Table '{spec.requests.table}' has no event near {as_of:%Y-%m-%d} for a smoke test of '{model}'."
        )
    row = {name: value for name, value in due.iloc[-1].to_dict().items() if name in spec.requests.inputs}
    rolled = rollout.deploy(settings, spec, champion.version)
    try:
        smoke = rollout.smoke_test(settings, spec, row, champion.version)
    except rollout.ServeError:
        if rolled.previous is not None and rolled.previous != champion.version:
            rollout.deploy(settings, spec, rolled.previous)
        raise
    return {"version": champion.version, "action": rolled.action, "url": rolled.url, "seconds": rolled.seconds, **smoke}


@flow(name="deploy", flow_run_name="deploy {model}")
def deploy(model: str, as_of: datetime | None = None) -> dict[str, Any]:
    """Deploy the champion of ``model`` at its endpoint; does nothing if it is already live."""
    load_model(model)
    _, as_of = begin(as_of)
    done = deploy_one(model, as_of)
    get_run_logger().info(
        "version %s %s at %s (smoke test: %s in %.0f ms)",
        done["version"],
        done["action"],
        done["url"],
        "abstained" if done["probability"] is None else f"probability {done['probability']:.3f}",
        done["milliseconds"],
    )
    return done
