"""Forgetting, on a real home: afterwards no file and no store names the entity, and everybody else is as before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from configs.settings import CONFIGS, Settings
from feature_repo.materialization.online_write import materialize_view
from feature_repo.materialization.view_files import state, view_files
from feature_repo.online import open_values
from feature_repo.online.layout import layouts
from feature_repo.online.redis_values import redis_address
from feature_repo.tables import manifest, table_path
from ray_cluster.erasure.documents import Mention
from ray_cluster.erasure.erasure import ErasureError, erase, resolve
from ray_cluster.erasure.records import erase_predictions
from ray_cluster.serving.prediction_log import PredictionLine, PredictionLog, predictions_folder, read_predictions
from tests.feature_repo.raw_tables import END, put, raw, small_settings
from tests.ray_cluster.serving.test_prediction_log import line as logged_line

VIEWS = ["plane_stats", "carrier_stats", "plane_attributes"]
REDIS = os.environ.get("HEADRACE_TEST_REDIS", "127.0.0.1:6379")


def planes() -> list[str]:
    """Tail numbers that fly often and are in the register, the most frequent first."""
    counts = raw()["outcomes"]["tailnum"].value_counts()
    return [str(name) for name in counts.index if name in set(raw()["planes"]["tailnum"])]


GONE, STAYS = planes()[:2]


@pytest.fixture(params=["embedded", "production"])
def here(request, tmp_path):
    """A home that is filled in every place that may name a plane."""
    if request.param == "embedded":
        yield filled(small_settings(tmp_path / "home"))
        return
    prefix = f"headrace_test_{uuid.uuid4().hex[:8]}"
    variables = {"HEADRACE_POSTGRES_URL": "postgresql://root@127.0.0.1:5432", "HEADRACE_REDIS": f"{REDIS},db=5"}
    settings = small_settings(tmp_path / "home", environment="production", HEADRACE_DATABASE_PREFIX=prefix, **variables)
    address = redis_address(f"{REDIS},db=5")
    client = redis.Redis(address.host, address.port, **address.options)
    try:
        client.ping()
    except redis.ConnectionError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no Redis at HEADRACE_TEST_REDIS")
    yield filled(settings)
    for key in client.scan_iter(f"*{prefix}*"):
        client.delete(key)


def filled(settings: Settings) -> Settings:
    frames = {name: frame.copy() for name, frame in raw().items()}
    bad = frames["outcomes"][frames["outcomes"]["tailnum"].isin([GONE, STAYS])].groupby("tailnum").head(2)
    frames["outcomes"] = pd.concat(
        [frames["outcomes"], bad.assign(flight_id=bad["flight_id"] + "x", origin="nowhere")], ignore_index=True
    )
    early = {**frames, "outcomes": frames["outcomes"].iloc[:-40]}
    for each in (early, frames):  # twice, so that there are files that only the manifest before names
        put(settings, each)
        for view in VIEWS:
            materialize_view(settings, view, END)
    assert manifest(settings, "outcomes").quarantined == 4
    log = PredictionLog(predictions_folder(settings, "flight_delay"), "replica")
    for number in range(10):
        log.append([line(f"a{number}", GONE), line(f"b{number}", STAYS)])
    torn = next(predictions_folder(settings, "flight_delay").glob("*/*.jsonl"))
    torn.write_bytes(torn.read_bytes() + f'{{"entities": {{"tailnum": "{GONE}'.encode() + b"\n")
    scores = settings.home / "scores" / "flight_delay" / "20130325T000000Z.parquet"
    scores.parent.mkdir(parents=True)
    pd.DataFrame({"flight_id": ["1", "2", "3"], "tailnum": [GONE, STAYS, None]}).to_parquet(scores)
    page = settings.home / "reports" / "flight_delay" / "page.html"
    page.parent.mkdir(parents=True)
    page.write_text(f"<td>{GONE}</td><td>{STAYS}</td><p>worst: flight of {GONE}, {STAYS}</p>")
    (settings.home / "logs").mkdir(exist_ok=True)
    (settings.home / "logs" / "serve.log").write_text(f"refused tailnum='{GONE}'\nrefused tailnum='{STAYS}'\n")
    return settings


def line(name: str, plane: str) -> PredictionLine:
    made = logged_line(name, "2013-03-20T12:00:00+00:00")
    return made._replace(id=name, entities={**made.entities, "tailnum": plane})


def mentions(settings: Settings, value: str) -> list[str]:
    """Every file under home that holds the value: Parquet by all its columns, others by their bytes."""
    found = []
    for path in settings.home.rglob("*"):
        if path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            held = any(value in map(str, column.unique().to_pylist()) for column in table.columns)
        else:
            held = path.is_file() and value.encode() in path.read_bytes()
        if held:
            found.append(str(path.relative_to(settings.home)))
    return sorted(found)


def online(settings: Settings, plane: str) -> dict[str, list[bytes | None]]:
    store = open_values(settings)
    return {
        view: store.read([layout], [[(plane,)]])[0]
        for view, layout in layouts(settings).items()
        if layout.join_keys == ("tailnum",)
    }


def other(settings: Settings) -> dict[str, object]:
    """Everything that is known of the plane that stays."""
    found: dict[str, object] = {"online": online(settings, STAYS)}
    log = read_predictions(settings, "flight_delay")
    of = log["entities"].map(lambda each: each.get("tailnum"))
    found["log"] = log.loc[of == STAYS].drop(columns="as_of").to_json(orient="records")
    for name in ("outcomes", "planes"):
        content = manifest(settings, name)
        files = [table_path(settings, name) / file for file in content.files.values()]
        found[name] = of_plane(files, STAYS)
    found["quarantine"] = of_plane([table_path(settings, "outcomes") / "quarantine.parquet"], STAYS)
    for view in ("plane_stats", "plane_attributes"):
        found[view] = of_plane(view_files(settings.home / "features", view), STAYS)
    return found


def of_plane(files: list[Path], plane: str) -> str:
    rows = pd.concat([pq.ParquetFile(path).read().to_pandas() for path in files], ignore_index=True)
    rows = rows[rows["tailnum"] == plane]
    return rows.sort_values(list(rows.columns)).to_json(orient="records")


def test_afterwards_nothing_names_it_and_nobody_else_noticed(here):
    before = other(here)
    flown = int((raw()["outcomes"]["tailnum"] == GONE).sum())
    assert any(value is not None for values in online(here, GONE).values() for value in values)

    counted, nowhere = erase(here, "tailnum", GONE, dry_run=True)
    assert nowhere is None and other(here) == before and not (here.home / "erasures.json").exists()

    receipt, path = erase(here, "tailnum", GONE)
    assert mentions(here, GONE) == ["erasures.json"]
    assert all(value is None for values in online(here, GONE).values() for value in values)
    assert other(here) == before

    assert (receipt.tables["outcomes"].rows, receipt.tables["outcomes"].quarantined) == (flown, 2)
    assert receipt.tables["planes"].rows == 1
    assert receipt.features["plane_stats"].online == receipt.features["plane_attributes"].online == 1
    assert receipt.features["carrier_stats"].before != receipt.features["carrier_stats"].after
    assert receipt.predictions == {"flight_delay": 11} and receipt.scores == {"flight_delay": 1}
    assert receipt.documents["reports/flight_delay/page.html"] == 2
    for name in ("tables", "predictions", "scores", "documents"):
        for place, number in getattr(counted, name).items():
            done = getattr(receipt, name)[place]
            assert (
                (number.rows, number.quarantined) == (done.rows, done.quarantined)
                if name == "tables"
                else number == done
            )
    kept = json.loads(path.read_text())
    assert kept["total"] == receipt.total > flown and GONE not in path.read_text() and kept["by"]
    places = [each["place"] for each in kept["kept"]]
    assert "erasures.json" in places and not [place for place in places if place.startswith(("tables", "features"))]
    page = (here.home / "reports" / "flight_delay" / "page.html").read_text()
    assert page == f"<td>erased</td><td>{STAYS}</td><p>worst: flight of erased, {STAYS}</p>"
    content = manifest(here, "outcomes")
    assert content.rows_in == content.rows_out + content.quarantined + content.later

    again, second = erase(here, "tailnum", GONE)
    assert again.total == 0 and second != path and path.exists()

    put(here, raw())  # the source still has it
    for view in VIEWS:
        materialize_view(here, view, END)
    assert mentions(here, GONE) == ["erasures.json"]
    assert all(value is None for values in online(here, GONE).values() for value in values)


@pytest.mark.long
@pytest.mark.parametrize("moment", ["erasures.json", "tables/outcomes/manifest.json", "features/plane_stats.json"])
def test_killed_in_the_middle_it_is_finished_by_the_next(tmp_path, moment):
    here = filled(small_settings(tmp_path / "home"))
    before, path = other(here), here.home / moment
    seen = path.stat().st_mtime_ns if path.exists() else None
    code = (
        "import sys; from pathlib import Path; from ray_cluster.erasure.erasure import erase\n"
        "from tests.feature_repo.raw_tables import small_settings\n"
        "erase(small_settings(Path(sys.argv[1])), 'tailnum', sys.argv[2])"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(here.home), GONE], cwd=CONFIGS.parent)
    while (path.stat().st_mtime_ns if path.exists() else None) == seen:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.0005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(mentions(here, GONE)) > 1
    receipt, _ = erase(here, "tailnum", GONE)
    assert mentions(here, GONE) == ["erasures.json"]
    assert other(here) == before and receipt.total > 0
    assert state(here, "plane_stats").bringing is None


WRITER = """
import sys; from pathlib import Path
from ray_cluster.serving.prediction_log import PredictionLog
from tests.ray_cluster.erasure.test_erasure import GONE, STAYS, line
log = PredictionLog(Path(sys.argv[1]), "replica")
print("go", flush=True)
for number in range(4000):
    log.append([line(f"{plane}-{number}", plane) for plane in (GONE, STAYS)])
"""


def test_a_replica_that_writes_meanwhile_loses_no_line(tmp_path):
    here = small_settings(tmp_path / "home")
    folder = predictions_folder(here, "flight_delay")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder)], cwd=CONFIGS.parent, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "go\n"
    removed, rounds = 0, 0
    while process.poll() is None:
        removed += sum(erase_predictions(here, "tailnum", GONE).values())
        rounds += 1
    removed += sum(erase_predictions(here, "tailnum", GONE).values())
    assert process.returncode == 0 and rounds > 3
    held = read_predictions(here, "flight_delay")
    assert removed == 4000 and held.attrs["torn"] == 0
    assert sorted(held["id"]) == sorted(f"{STAYS}-{number}" for number in range(4000))


def test_what_nobody_knows_is_one_sentence(tmp_path):
    here = small_settings(tmp_path / "home")
    put(here, raw())
    with pytest.raises(ErasureError, match=rf"No data under .* contain tailnum = '{GONE}9'. Did you mean '{GONE}'\?"):
        erase(here, "tailnum", f"{GONE}9")
    assert not (here.home / "erasures.json").exists() and not (here.home / "receipts").exists()
    with pytest.raises(ErasureError, match=r"There is no entity or join key 'plan'\. Did you mean 'plane'\? Known: "):
        resolve(here, "plan")
    assert resolve(here, "plane") == resolve(here, "tailnum") == "tailnum"


def test_the_last_rows_of_a_table_can_go(tmp_path):
    here = small_settings(tmp_path / "home")
    few = {**raw(), "outcomes": raw()["outcomes"][raw()["outcomes"]["tailnum"] == GONE]}
    put(here, few)
    for view in ("plane_stats", "plane_attributes"):
        materialize_view(here, view, END)
    erase(here, "tailnum", GONE)
    assert mentions(here, GONE) == ["erasures.json"]
    assert manifest(here, "outcomes").rows_out == 0
    assert view_files(here.home / "features", "plane_stats") == []


texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8)


@given(value=texts, other=texts)
def test_a_mention_is_the_whole_text_of_a_json_string_and_nothing_else(value, other):
    mention = Mention(value)
    document = json.dumps({"k": [other]}, ensure_ascii=False).encode()
    hits = [match.group() for match in mention.exact.finditer(document)]
    assert bool(hits) == (other == value or value == "k")


@pytest.mark.parametrize("value", ["UA", "12345", "EWR", "Boston"])
def test_common_words_and_numbers_are_not_struck_out_of_sentences(value):
    mention = Mention(value)
    text = f'{{"n": {value if value.isdecimal() else 1}, "s": "to {value} and back"}} <p>to {value}</p>'.encode()
    assert mention.words is None and not mention.exact.search(text)
    assert mention.exact.search(f'["{value}"]'.encode()) and mention.exact.search(f"<td>{value}</td>".encode())
