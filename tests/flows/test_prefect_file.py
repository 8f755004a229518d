"""Prefect's file for work pools: every flow once, as `headrace up` serves it, and no schedule beside the settings'."""

from __future__ import annotations

import yaml

from configs.settings import CONFIGS
from flows.parameters import FLOWS


def test_every_flow_is_deployed_once_and_without_a_schedule() -> None:
    deployments = yaml.safe_load((CONFIGS / "prefect.yaml").read_text("utf-8"))["deployments"]
    assert [each["entrypoint"] for each in deployments] == [f"flows/{name}.py:{name}" for name in FLOWS]
    for each in deployments:
        assert each["name"] == "pool" and each["work_pool"] == {"name": "headrace"} and each["schedules"] == []
        strategy = "ENQUEUE" if each["entrypoint"].endswith(":train") else "CANCEL_NEW"
        assert each["concurrency_limit"] == {"limit": 1, "collision_strategy": strategy}
