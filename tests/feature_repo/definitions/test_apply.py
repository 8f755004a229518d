"""Applying definitions, for real: every kind of change arrives, and processes that apply at once mix nothing up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psycopg
import pytest

from configs import load_settings
from configs.settings import CONFIGS
from feature_repo.definitions import feature_store
from feature_repo.definitions.apply import is_current, pending, register
from feature_repo.definitions.load import registered, written
from feature_repo.definitions.plan import diff
from feature_repo.definitions.registry_lock import RegistrationError, exclusive, recorded
from feature_repo.storage.files import write_json
from tests.feature_repo.definitions.definitions_example import TEXT, changed, module

POSTGRES = os.environ.get("HEADRACE_TEST_POSTGRES", "postgresql://root@127.0.0.1:5432")
REDIS = os.environ.get("HEADRACE_TEST_REDIS", "127.0.0.1:6379")

#: Applies the modules named on its command line in turn, once a file named `go` is there.
APPLIER = """
import sys, time
from pathlib import Path
from configs import load_settings
from feature_repo.definitions.feature_store import apply, open_store
import feast
from tests.feature_repo.definitions.definitions_example import module
folder, texts = Path(sys.argv[1]), [Path(each).read_text() for each in sys.argv[2:]]
modules = [module(folder, text) for text in texts]
settings = load_settings()
(folder / "ready").touch()
while not (folder.parent / "go").exists():
    time.sleep(0.005)
print([apply(settings, definitions=each) for each in modules])
"""


@pytest.fixture
def embedded(tmp_path):
    """Variables of two processes on one machine."""
    return [{"HEADRACE_ENV": "local", "HEADRACE_HOME": str(tmp_path / "home")}] * 2


@pytest.fixture
def production(tmp_path):
    """Variables of three machines, each with a home of its own, that share a registry in PostgreSQL."""
    prefix = f"headrace_test_{uuid.uuid4().hex[:8]}"
    try:
        with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True, connect_timeout=5) as connection:
            connection.execute(f'CREATE DATABASE "{prefix}_feast"')
    except psycopg.OperationalError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL at HEADRACE_TEST_POSTGRES")
    shared = {
        "HEADRACE_ENV": "production",
        "HEADRACE_POSTGRES_URL": POSTGRES,
        "HEADRACE_REDIS": f"{REDIS},db=5",
        "HEADRACE_DATABASE_PREFIX": prefix,
    }
    yield [{**shared, "HEADRACE_HOME": str(tmp_path / f"home{number}")} for number in range(3)]
    with psycopg.connect(f"{POSTGRES}/postgres", autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{prefix}_feast" WITH (FORCE)')


def applier(folder: Path, variables: dict[str, str], *texts: Path) -> subprocess.Popen[str]:
    folder.mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADRACE_")}
    return subprocess.Popen(
        [sys.executable, "-c", APPLIER, str(folder), *map(str, texts)],
        cwd=CONFIGS.parent,
        env=environment | variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.02)


ONE = TEXT
OTHER = changed(
    ("hours=6", "hours=1"),
    ('name="footfall"', 'name="passing"'),
    ('Field(name="passers", dtype=Float64)', 'Field(name="walkers", dtype=Float64)'),
    ('name="leaving"', 'name="going"'),
    ("> 3", "> 4"),
)


@pytest.mark.long
@pytest.mark.parametrize("profile", ["embedded", "production"])
def test_of_many_at_once_one_whole_set_stays(tmp_path, request, profile):
    machines = request.getfixturevalue(profile)
    texts = []
    for name, text in (("one", ONE), ("other", OTHER)):
        texts.append(tmp_path / f"{name}.txt")
        texts[-1].write_text(text)
    orders = [[0, 1, 0], [1, 0, 1], [0, 0, 1]][: len(machines)]
    started = [
        applier(tmp_path / f"process{number}", variables, *(texts[each] for each in order))
        for number, (variables, order) in enumerate(zip(machines, orders, strict=True))
    ]
    try:
        for number, process in enumerate(started):
            wait_for(tmp_path / f"process{number}" / "ready", process)
        (tmp_path / "go").touch()
        ended = [process.communicate(timeout=200) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * len(machines), "\n".join(
        err[-2000:] for _, err in ended
    )
    assert any("True" in out for out, _ in ended)
    settings = load_settings(variables=machines[0])
    held = registered(feature_store.open_store(settings))
    candidates = [written(module(tmp_path, text)) for text in (ONE, OTHER)]
    whole = [number for number, each in enumerate(candidates) if diff(held, each) == []]
    assert len(whole) == 1
    text = (ONE, OTHER)[whole[0]]
    for variables in machines:  # every machine knows which one it is, and that nothing is left to do
        mine = load_settings(variables=variables)
        assert is_current(mine, module(tmp_path, text))
        assert not is_current(mine, module(tmp_path, (ONE, OTHER)[1 - whole[0]]))
    names = {each.name for each in feature_store.open_store(settings).list_data_sources()}
    assert names == {"basket", "sales", "footfall"}


@pytest.mark.long
@pytest.mark.parametrize("profile", ["embedded", "production"])
def test_a_killed_apply_is_done_again_whole(tmp_path, request, profile):
    variables = request.getfixturevalue(profile)[0]
    settings = load_settings(variables=variables)
    one, other = module(tmp_path, ONE), module(tmp_path, OTHER)
    feature_store.apply(settings, definitions=one)
    (tmp_path / "other.txt").write_text(OTHER)
    process = applier(tmp_path / "process", variables, tmp_path / "other.txt")
    wait_for(tmp_path / "process" / "ready", process)
    (tmp_path / "go").touch()
    while recorded(settings.database_url("feast")) is not None:  # taken away just before the first object is written
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert recorded(settings.database_url("feast")) is None
    assert feature_store.apply(settings, definitions=one)  # the lock fell with the process; what it wrote is taken back
    assert diff(registered(feature_store.open_store(settings)), written(one)) == []
    assert feature_store.apply(settings, definitions=other)
    assert diff(registered(feature_store.open_store(settings)), written(other)) == []


FOOTFALL = TEXT[TEXT.index("footfall = ") : TEXT.index("basket = ")]
CHANGES = {
    "nothing": (),
    "ttl": (("hours=6", "hours=3"),),
    "type": (('name="sold", dtype=Float64', 'name="sold", dtype=Int64'),),
    "feature gone": ((', Field(name="returned", dtype=Float64)', ""), ('sales[["returned"]]', 'sales[["sold"]]')),
    "feature new": (
        ('Field(name="sold", dtype=Float64)', 'Field(name="sold", dtype=Float64), Field(name="n", dtype=Int64)'),
    ),
    "join key": (('join_keys=["shop_id"]', 'join_keys=["shop_number"]'),),
    "entity": (('name="footfall",\n    entities=[town]', 'name="footfall",\n    entities=[shop]'),),
    "source": (("path=name", 'path=name + "_new"'),),
    "request field": (
        ('Field(name="items", dtype=Int64)]', 'Field(name="items", dtype=Int64), Field(name="cash", dtype=Int64)]'),
    ),
    "output type": (
        ('OUTPUT = [Field(name="many", dtype=Int64)]', 'OUTPUT = [Field(name="many", dtype=Float64)]'),
        ('"int64"', '"float64"'),
    ),
    "code": (("> 3", "> 30"),),
    "service": (("features=[sales, footfall, cart]", "features=[sales, cart]"),),
    "service gone": (('leaving = FeatureService(name="leaving", features=[sales[["returned"]]])', ""),),
    "view gone": (("features=[sales, footfall, cart]", "features=[sales, cart]"), (FOOTFALL, "")),
}


def test_every_change_arrives_and_goes_back(tmp_path):
    """Feast alone does not bring all of these: it takes some for unchanged, and takes nothing away."""
    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path / "home")})
    held = module(tmp_path, ONE)
    feature_store.apply(settings, definitions=held)
    opened = feature_store.open_store(settings)
    for name, replacements in {**CHANGES, "and back": ()}.items():
        wanted = module(tmp_path, changed(*replacements))
        planned = pending(settings, opened, wanted)
        assert diff(registered(opened), written(held)) == []  # a plan registers nothing
        assert bool(planned.changes) == (name != "nothing"), name
        assert register(settings, opened, definitions=wanted).changes == planned.changes
        assert pending(settings, opened, wanted).changes == [], name
        held = wanted
    assert {each.name for each in opened.list_data_sources()} == {"sales", "footfall", "basket"}


def test_only_the_first_apply_does_anything(tmp_path):
    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path / "home")})
    same = module(tmp_path)
    assert feature_store.apply(settings, definitions=same)
    started = time.process_time()
    assert not feature_store.apply(settings, definitions=same)
    assert time.process_time() - started < 0.5


def test_without_changes_feast_is_not_imported(tmp_path):
    variables = {**os.environ, "HEADRACE_HOME": str(tmp_path / "home"), "HEADRACE_ENV": "local"}
    code = (
        "import sys; from configs import load_settings; from feature_repo.definitions.feature_store import apply\n"
        "print(apply(load_settings()), 'feast' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=CONFIGS.parent, env=variables, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["True", "True"], ["False", "False"]]


def test_what_a_check_raises_leaves_everything(tmp_path):
    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path / "home")})
    before, after = module(tmp_path, ONE), module(tmp_path, OTHER)
    feature_store.apply(settings, definitions=before)

    def refuse(waiting):
        assert waiting.removed == ["footfall"]
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        feature_store.apply(settings, refuse, after)
    assert diff(registered(feature_store.open_store(settings)), written(before)) == []
    assert is_current(settings, before)
    assert feature_store.apply(settings, definitions=after)  # the lock was given back


def test_a_removed_view_leaves_no_files_and_no_values(tmp_path):
    import pyarrow as pa

    from feature_repo.online import open_values
    from feature_repo.online.layout import layout_of

    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path / "home")})
    feature_store.apply(settings, definitions=module(tmp_path, ONE))
    opened, values = feature_store.open_store(settings), open_values(settings)
    now = pa.scalar(1_700_000_000_000_000, pa.timestamp("us", "UTC"))
    layouts = {}
    for name, key, feature in (("sales", "shop_id", "sold"), ("footfall", "town", "passers")):
        layouts[name] = layout_of("headrace", opened.get_feature_view(name), [key])
        columns = {key: pa.array(["x"]), "event_timestamp": pa.array([now]), "known_at": pa.array([now])}
        columns |= {each: pa.array([1.0]) for each, _ in layouts[name].features}
        assert values.write(layouts[name], pa.table(columns)) == 1, feature
        (settings.home / "features" / name / "month=2023-11").mkdir(parents=True)
        write_json(settings.home / "features" / f"{name}.json", {})
    (settings.home / "features" / "sales.json").unlink()
    feature_store.apply(settings, definitions=module(tmp_path, OTHER))
    assert (values.count(layouts["sales"]), values.count(layouts["footfall"])) == (1, 0)
    assert sorted(each.name for each in (settings.home / "features").iterdir() if "footfall" in each.name) == []
    assert (settings.home / "features" / "sales").is_dir()


def test_a_registry_that_does_not_answer_is_one_sentence(tmp_path):
    url = "postgresql+psycopg://nobody:secret@127.0.0.1:1/headrace_feast"
    with (
        pytest.raises(RegistrationError, match=r"cannot be reached .*`headrace up` creates it") as raised,
        exclusive(url, tmp_path),
    ):
        raise AssertionError("never in here")
    assert "secret" not in str(raised.value)
    assert recorded(url) is None


def test_the_lock_keeps_others_out(production, tmp_path):
    """Two blocks of two processes' homes, one registry: the second begins when the first has ended."""
    from threading import Thread

    first, second = (load_settings(variables=each) for each in production[:2])
    order = []

    def other():
        with exclusive(second.database_url("feast"), second.home):
            order.append("second")

    with exclusive(first.database_url("feast"), first.home):
        thread = Thread(target=other)
        thread.start()
        time.sleep(0.5)
        order.append("first")
    thread.join(20)
    assert order == ["first", "second"]


def test_what_feast_refuses_is_one_sentence(tmp_path):
    settings = load_settings(variables={"HEADRACE_HOME": str(tmp_path / "home")})
    wrong = module(
        tmp_path, changed(('OUTPUT = [Field(name="many", dtype=Int64)]', "OUTPUT = [Field(name='many', dtype=String)]"))
    )
    with pytest.raises(
        RegistrationError, match=r"Feast refuses the definitions .*'many'.*; correct feature_repo/features.py"
    ):
        feature_store.apply(settings, definitions=wrong)
    assert feature_store.apply(settings, definitions=module(tmp_path, ONE))
