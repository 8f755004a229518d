"""MLflow's pages neither collect usage data nor say that they do."""

from __future__ import annotations

from pathlib import Path

import httpx
import mlflow.server

from configs import Settings
from ray_cluster.registry.tracking_server import CHOICES


def test_the_start_page_makes_the_choices_before_anything_else_runs(settings: Settings) -> None:
    page = httpx.get(settings.url("mlflow"), trust_env=False)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    first = page.text.partition("<script>")[2].partition("</script>")[0]
    assert page.text.index("<script>") < page.text.index("<script ")
    assert first == "".join(f'localStorage.setItem("{key}", "{value}");' for key, value in CHOICES.items())


def test_mlflow_still_reads_the_choices_by_these_names() -> None:
    scripts = Path(mlflow.server.__file__).parent.glob("js/build/static/js/main.*.js")
    text = "".join(path.read_text(encoding="utf-8") for path in scripts)
    for key in CHOICES:
        name, _, version = key.rpartition("_v")
        assert f'"{name}"' in text and version == "1"


def test_the_server_says_that_collection_is_off(settings: Settings) -> None:
    answer = httpx.get(f"{settings.url('mlflow')}/ajax-api/3.0/mlflow/ui-telemetry", trust_env=False)
    assert answer.json()["disable_ui_telemetry"] is True
