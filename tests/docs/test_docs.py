"""The documentation is held to the code: links, commands, flows, settings, requests and answers."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import re
import textwrap
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from configs import load_model, load_settings
from configs.model import Gate, ModelSpec
from configs.reading import merge, read_yaml, validated
from configs.settings import CONFIGS, Settings
from configs.table import Gates, Table
from flows.cli.app import app
from flows.parameters import FLOWS

ROOT = CONFIGS.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = set(
    re.findall(r"\w+", "up down status doctor run plan apply erase labels models predict env demo report profile")
)
COMMANDS |= {"compare", "lineage", "reproduce"}
#: Files that the pages invent to show how one is written.
EXAMPLES = ("orders.yaml", "customers.yaml", "refunds.yaml", "shop.py")
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def blocks(page: Path, *languages: str) -> list[str]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [textwrap.dedent(text) for _, language, text in found if language in languages]


def code(page: Path) -> list[str]:
    """Lines and words set as code."""
    text = page.read_text(encoding="utf-8")
    spans = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", FENCE.sub("", text))]
    return [*spans, *(line for block in blocks(page, "", "sh", "console") for line in block.splitlines())]


def slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {slug(heading) for heading in re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)}


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", FENCE.sub("", page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_every_file_named_is_there(page: Path) -> None:
    for span in code(page):
        for path in re.findall(r"(?<![\w./])(?:configs|feature_repo|ray_cluster|flows|tests|docs)/[\w./]*\w", span):
            if not path.endswith(("flight_late.yaml", *EXAMPLES)):
                assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_the_readme_begins_with_the_main_job_and_the_tests() -> None:
    first, second = blocks(ROOT / "README.md", "sh")[:2]
    assert "headrace demo" in first and "requirements.lock" in first
    assert re.search(r"\bpytest\b", second)


def test_every_command_and_flow_named_is_there(page: Path) -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    known |= {str(group.name) for group in app.registered_groups}
    for line in code(page):
        for command in re.findall(r"(?:^|[\s$(/])headrace(?: --\w+ \S+)? ([a-z]+)", line):
            assert command in known, f"{page.name}: {line}"
        for flow in re.findall(r"\bheadrace run ([a-z]+)", line):
            assert flow in FLOWS, f"{page.name}: {line}"
    assert set(known) == COMMANDS


def test_every_option_of_headrace_named_is_there(page: Path) -> None:
    from typer.main import get_command

    group: Any = get_command(app)
    for line in code(page):
        command = re.search(r"(?:^|[\s$(/])headrace ([a-z]+)(.*)", line)
        if command:
            found = group.commands[command[1]]
            found = getattr(found, "commands", {}).get((command[2].split() or [""])[0], found)
            options = {option for each in found.params for option in each.opts}
            assert set(re.findall(r"(?<!\S)(--[a-z-]+)", command[2])) <= options, f"{page.name}: {line}"


def test_the_guide_knows_every_flow_and_setting_of_a_model() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
    for flow in FLOWS:
        assert f"headrace run {flow}" in guide and f"| `{flow}` |" in guide
    for variable in ("ENV", "HOME", "PORT_OFFSET", "POSTGRES_URL", "REDIS", "DATABASE_PREFIX"):
        assert f"| HEADRACE_{variable} |" in guide


def test_every_yaml_block_parses_as_settings(page: Path) -> None:
    for text in blocks(page, "yaml"):
        file = re.match(r"# (\S+\.yaml)\n", text)
        assert file, f"{page.name}: a YAML block begins with the name of its file, as a comment:\n{text}"
        content = yaml.safe_load(text)
        if "/models/" in file[1]:
            base = {} if "name" in content else read_yaml(CONFIGS / "models" / "flight_delay.yaml")
            spec = validated(ModelSpec, merge(base, content), file[1])
            assert spec.name in (Path(file[1]).stem, "flight_delay")
        elif "/tables/" in file[1]:  # a whole file
            validated(Table, content, file[1])
        elif file[1].endswith("feature_store.yaml"):
            kept = read_yaml(CONFIGS / file[1].split("/")[-2] / "feature_store.yaml")
            assert set(content) <= set(kept), f"{page.name}: {text}"
        else:
            base = {
                **read_yaml(CONFIGS / "base.yaml"),
                "environment": "local",
                "folder": "/",
                "home": "/",
                "tables": {},
            }
            settings = validated(Settings, merge(base, content), file[1])
            assert set(settings.schedules) <= set(FLOWS)


def test_every_json_block_is_a_request_or_an_answer(page: Path) -> None:
    from ray_cluster.serving.errors import ProblemDetails
    from ray_cluster.serving.schema import Answer, RequestSchema

    requests = load_model("flight_delay", "local").requests
    for text in blocks(page, "json"):
        content = json.loads(text)
        if "detail" in content:
            assert ProblemDetails.model_validate(content).model_dump(exclude={"error_id"}) == content
        elif "prediction_id" in content:
            assert set(content) <= set(Answer.model_fields)
            Answer.model_validate(content)
        else:
            RequestSchema(requests, max_rows=10).read(text.encode())


def calls(text: str, names: dict[str, Any], values: dict[str, type]) -> list[str]:
    """Names of the functions that a block of Python calls, after seeing that each takes the arguments it is given.

    ``names`` are known beside those that the block imports; of a variable in ``values`` the attributes are checked.
    """
    tree = ast.parse(text)
    known = {**vars(builtins), **names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = import_module(str(node.module))
            known |= {each.asname or each.name: getattr(module, each.name) for each in node.names}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            keywords = {str(each.arg): each.value for each in node.keywords}
            function = known[node.func.id]
            if getattr(function, "__module__", "") != "datetime":  # written in C: it has no signature
                inspect.signature(function).bind(*node.args, **keywords)
            found.append(node.func.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in values:
            owner = values[node.value.id]
            assert node.attr in {*dir(owner), *owner.__annotations__}, f"{node.value.id}.{node.attr}"
    return found


@pytest.mark.parametrize("text", [text for page in PAGES for text in blocks(page, "python")])
def test_every_python_block_calls_what_there_is(text: str) -> None:
    from feature_repo import features
    from ray_cluster.training.data import TrainingData

    assert calls(text, {**vars(features), "Path": Path}, {"data": TrainingData})


def test_a_python_block_that_is_wrong_is_found() -> None:
    right = "from configs import load_model\n\nload_model('flight_delay')"
    assert calls(right, {}, {}) == ["load_model"]
    for wrong, error in (
        ("from configs import load_modle", AttributeError),
        (right.replace("('flight_delay')", "()"), TypeError),
        (right.replace("('flight_delay')", "('m', colour=1)"), TypeError),
        ("unknown()", KeyError),
        ("print(spec.slice)", AssertionError),
        ("print(", SyntaxError),
    ):
        with pytest.raises(error):
            calls(wrong, {}, {"spec": ModelSpec})


def test_the_ports_named_are_those_of_the_settings() -> None:
    guide, ports = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8"), load_settings("local", {}).ports
    for name, port in re.findall(r"`ports\.(\w+)`,? (\d+)", guide):
        assert ports[name] == int(port)
    for port in re.findall(r"http://127\.0\.0\.1:(\d+)", guide):
        assert int(port) in {ports["prefect"], ports["evidently"], ports["mlflow"], ports["serve"]}


def defaults(page: str, heading: str) -> list[list[str]]:
    """First and last cell of the rows of the first table below a heading."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    rows = [line.strip("| ").split(" | ") for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [[row[0], row[-1]] for row in rows[1:]]


def numbers(defaults: Any) -> list[float]:
    return [each for each in defaults if each is not None]


def test_the_defaults_named_are_those_of_the_settings() -> None:
    table = {name: field.default for name, field in Gates.model_fields.items()}
    found = {name.strip("`"): said for name, said in defaults("data.md", "Gates")}
    assert set(found) == set(table)
    for name, said in found.items():
        assert re.findall(r"[\d.]+", said) == [str(each) for each in numbers([table[name]])], name
        assert (said == "off") is (table[name] is None)
    keys = {
        "gain": ["margin"],
        "gain, sure": ["confidence", "tolerance"],
        "minimum": [],
        "worst slice": ["slice_drop"],
        "calibration error, its rise": ["ece", "ece_rise"],
        "latency, size": ["latency_ms", "size_mb"],
    }
    gate = {name: field.default for name, field in Gate.model_fields.items()}
    rows = dict(defaults("training.md", "The promotion gate"))
    for row, names in keys.items():
        assert [float(each) for each in re.findall(r"[\d.]+", rows[row])] == numbers(gate[name] for name in names), row
    assert gate["minimum"] == {} and rows["minimum"] == "none"
    assert gate["behaviour"] is True and rows["behavioural tests"] == "on"
    assert gate["fairness"] is False and rows["fairness"] == "measured and shown"
