"""From planted label errors to a corrected training frame, on simulated payments; the source stays as it is."""

from __future__ import annotations

import csv
import json
import os

import pytest

from configs import load_model
from feature_repo.frames.label_overrides import LabelOverrideError, labels_folder, overlay, overlay_version
from feature_repo.frames.training_frame import inputs_fingerprint, labels, training_frame
from feature_repo.storage.files import read_json
from feature_repo.tables import manifest
from ray_cluster.erasure.erasure import erase
from ray_cluster.labels.label_review import QueueError, accept_overrides, review_labels, revoke_override
from tests.feature_repo.frames.test_training_frame import AS_OF, made

SPEC = load_model("card_fraud", "local")


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    before = dict(os.environ)
    yield made(tmp_path_factory.mktemp("labels") / "home", 20_000, AS_OF)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def reviewed(here):
    return review_labels(here, SPEC, AS_OF, limit=12)


def written(reviewed, path, change):
    """A copy of the queue with cells changed: (line, column) -> value."""
    with reviewed.queue.open(newline="") as file:
        reader = csv.DictReader(file)
        rows, columns = list(reader), reader.fieldnames
    for (line, column), value in change.items():
        rows[line][column] = value
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_the_queue_and_the_page_name_the_same_rows(here, reviewed):
    with reviewed.queue.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert 0 < len(rows) == reviewed.shown <= 12 and reviewed.shown <= reviewed.suspects < reviewed.rows
    given = labels(here, SPEC, AS_OF).set_index("transaction_id")["label"]
    page = reviewed.page.read_text()
    confidence = [float(row["self_confidence"]) for row in rows]
    assert confidence == sorted(confidence)
    for row in rows:
        assert int(row["given"]) == given[row["id"]] == 1 - int(row["suggested"]) and row["id"] in page
        assert row["matters"].count("=") == 3 and row["accept"] == row["author"] == row["reason"] == ""
        assert row["card_id"].startswith("C")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({}, r"accepts nothing; write yes in the column accept"),
        ({(0, "accept"): "perhaps"}, r"line 2: accept = 'perhaps'; write yes, or leave it empty"),
        ({(0, "accept"): "yes"}, r"line 2 \(id T\d+\) has no author; fill in its column, or pass --author"),
        ({(0, "accept"): "yes", (0, "author"): "Ada"}, r"has no reason; fill in its column, or pass --reason"),
        ({(0, "accept"): "yes", (0, "id"): "T999999999999"}, r"table 'card_labels' has no label of this id"),
        ({(0, "accept"): "yes", (0, "suggested"): "fraud"}, r"suggested = 'fraud'; a label is 0 or 1"),
        (
            {(0, "accept"): "yes", (0, "model"): "card_frud", (1, "accept"): ""},
            r"no model 'card_frud'\. Did you mean 'card_fraud'",
        ),
    ],
)
def test_what_cannot_be_taken_is_one_sentence_and_nothing_is_written(here, reviewed, tmp_path, change, message):
    path = tmp_path / "review.csv"
    written(
        reviewed, path, {(1, "accept"): "yes", (1, "author"): "Ada", (1, "reason"): "saw it"} | change if change else {}
    )
    with pytest.raises((LabelOverrideError, ValueError), match=message):
        accept_overrides(here, path)
    assert not (labels_folder(here, "card_fraud") / "overlay.jsonl").exists()


def test_a_file_that_is_no_queue_is_told(here, tmp_path):
    with pytest.raises(QueueError, match=r"cannot be read \(No such file or directory\)"):
        accept_overrides(here, tmp_path / "nowhere.csv")
    (tmp_path / "other.csv").write_text("id,label\n1,0\n")
    with pytest.raises(QueueError, match=r"has no column 'model'"):
        accept_overrides(here, tmp_path / "other.csv")


def test_accepted_labels_are_a_version_of_the_frame_and_can_be_taken_back(here, reviewed, tmp_path):
    source, before = manifest(here, "card_labels"), training_frame(here, SPEC, AS_OF)
    key = inputs_fingerprint(here, SPEC)
    path = tmp_path / "review.csv"
    rows = written(reviewed, path, {(0, "accept"): "yes", (2, "accept"): "X", (2, "reason"): "chargeback"})
    done = accept_overrides(here, path, "Ada", "looked at the receipt")
    assert done.version == 1 and [each.reason for each in done.relabels] == ["looked at the receipt", "chargeback"]
    changed = {rows[0]["id"], rows[2]["id"]}

    after = training_frame(here, SPEC, AS_OF)
    differ = after.rows["label"] != before.rows["label"]
    assert set(after.rows.loc[differ, "transaction_id"]) == changed
    assert (before.overlay, after.overlay) == (0, 1)
    assert after.fingerprint != before.fingerprint and inputs_fingerprint(here, SPEC) != key
    again = training_frame(here, SPEC, AS_OF, overlay=0)
    assert again.fingerprint == before.fingerprint and inputs_fingerprint(here, SPEC, 0) == key
    assert manifest(here, "card_labels") == source  # the source is as it was

    with pytest.raises(
        LabelOverrideError, match=r"the label was \d when it was reviewed and is \d now; review it again"
    ):
        accept_overrides(here, path, "Ada", "again")
    with pytest.raises(LabelOverrideError, match=r"has no active relabel of 'T0'"):
        revoke_override(here, SPEC, "T0", "Bob", "why")
    with pytest.raises(LabelOverrideError, match=r"needs --reason"):
        revoke_override(here, SPEC, rows[0]["id"], "Bob", " ")
    assert overlay_version(here, "card_fraud") == 1
    assert revoke_override(here, SPEC, rows[0]["id"], "Bob", "it was right").version == 2
    last = training_frame(here, SPEC, AS_OF)
    assert set(last.rows.loc[last.rows["label"] != before.rows["label"], "transaction_id"]) == {rows[2]["id"]}


def test_a_queue_with_decisions_is_not_written_over_and_forgetting_reaches_it(here, reviewed):
    rows = written(reviewed, reviewed.queue, {(0, "accept"): "yes"})
    with pytest.raises(QueueError, match=r"has decisions in 1 row; add them with"):
        review_labels(here, SPEC, AS_OF)
    accept_overrides(here, reviewed.queue, "Ada", "saw it")
    card = rows[0]["card_id"]
    assert [each.entities["card_id"] for each in overlay(here, "card_fraud")].count(card) >= 1
    receipt, path = erase(here, "card_id", card)
    assert receipt.relabels["labels/card_fraud/overlay.jsonl"] >= 1
    assert receipt.relabels["labels/card_fraud/review.csv"] >= 1
    assert read_json(path)["relabels"] == receipt.relabels
    for file in labels_folder(here, "card_fraud").iterdir():
        assert card not in file.read_text(), file
    kept = [json.loads(line) for line in (labels_folder(here, "card_fraud") / "overlay.jsonl").read_text().splitlines()]
    assert all(each["entities"]["card_id"] != card for each in kept)
