"""Views computed and brought online side by side on a real Ray cluster are what they are in one process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from configs.settings import Settings
from feature_repo.materialization.online_write import ViewUpdate, materialize_view
from feature_repo.materialization.view_files import view_files
from feature_repo.online import open_values
from feature_repo.online.layout import layouts
from feature_repo.online.values import OnlineError
from ray_cluster.cluster.feature_tasks import materialize_views
from tests.feature_repo.raw_tables import FLIGHT_VIEWS, put, raw, small_settings

UNTIL = datetime(2013, 3, 1, tzinfo=UTC)
VIEWS = [*FLIGHT_VIEWS, "plane_attributes"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    import ray

    root = str(small_settings(tmp_path_factory.mktemp("root") / "home").root)
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=80 * 1024 * 1024,
        log_to_driver=False,
        runtime_env={"env_vars": {"PYTHONPATH": root}},
    )
    yield
    ray.shutdown()


def home(folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    found = small_settings(folder / "home")
    put(found, raw())
    return found


def content(here: Settings) -> tuple[dict[str, list[bytes]], dict[str, tuple[int, object]], dict[str, object]]:
    """Every file, every online value, and how far each view was brought."""
    files = {view: [path.read_bytes() for path in view_files(here.home / "features", view)] for view in VIEWS}
    known = {}
    with closing(open_values(here)) as values:
        for view in VIEWS:
            layout = layouts(here)[view]
            table = raw()["planes" if view == "plane_attributes" else "outcomes"]
            names = table[list(layout.join_keys)].dropna().drop_duplicates()
            keys = [tuple(row) for row in names.itertuples(index=False)]
            known[view] = (values.count(layout), values.read([layout], [keys]))
        until = values.known_until([layouts(here)[view] for view in VIEWS])
    return files, known, until


def test_the_same_files_and_values(cluster, tmp_path):
    local, far = home(tmp_path / "local"), home(tmp_path / "ray")
    expected = {view: materialize_view(local, view, UNTIL) for view in VIEWS}
    assert materialize_views(far, VIEWS, UNTIL) == expected
    assert content(far) == content(local)
    again = materialize_views(far, VIEWS, UNTIL)
    assert again == {view: ViewUpdate(did.rows, False, False) for view, did in expected.items()}


def test_the_same_errors_and_the_other_views_are_done(cluster, tmp_path):
    here = home(tmp_path)
    (here.home / "tables" / "outcomes" / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError) as mine:
        materialize_view(here, "route_stats", UNTIL)
    with pytest.raises(FileNotFoundError) as theirs:
        materialize_views(here, ["route_stats", "weather"], UNTIL)
    assert str(theirs.value) == str(mine.value)
    with closing(open_values(here)) as values:
        assert values.known_until([layouts(here)["weather"]]) == {"weather": UNTIL}
    (here.home / "online.db").unlink()
    (here.home / "online.db").mkdir()
    with pytest.raises(OnlineError, match=r"The online store .*online\.db failed"):
        materialize_views(here, ["weather"], UNTIL)


def test_a_worker_imports_no_feast(cluster, tmp_path):
    import ray

    here = home(tmp_path)
    layouts(here)

    @ray.remote(num_cpus=1)
    def imported() -> bool:
        materialize_view(here, "weather", UNTIL)
        return "feast" in sys.modules

    assert not ray.get(imported.remote())


def test_the_module_imports_neither_ray_nor_feast():
    program = "import sys, ray_cluster.cluster.feature_tasks; sys.exit(bool({'ray', 'feast'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", program], check=True)
