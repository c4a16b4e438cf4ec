"""README and docs/: Python blocks run, YAML blocks are understood, commands exist, links lead somewhere.

A page's Python blocks run one after another in one namespace, in this process: they train by `execution="local"`. A
line before a block says otherwise: `<!-- ray -->`, it runs alone in a process of its own, beside a cluster;
`<!-- fragment -->`, it cannot run and is only compiled.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_line import call

import raysearch
from raysearch import registry
from raysearch.cli import app
from raysearch.driver.run import build
from raysearch.experiment.experiment import from_data

ROOT = Path(__file__).parent.parent
DOCUMENTS = {str(path.relative_to(ROOT)): path.read_text() for path in [ROOT / "README.md", *ROOT.glob("docs/*.md")]}
README = DOCUMENTS["README.md"]
ALL = "\n".join(DOCUMENTS.values())

BLOCK = re.compile(r"(?:<!-- (\w+) -->\n)?```(\w*)\n(.*?)```", flags=re.DOTALL)
BLOCKS = [(name, *block.groups()) for name, text in DOCUMENTS.items() for block in BLOCK.finditer(text)]
ON_RAY = [(name, text) for name, mark, language, text in BLOCKS if (mark, language) == ("ray", "python")]
FRAGMENTS = [(name, text) for name, mark, language, text in BLOCKS if (mark, language) == ("fragment", "python")]
HERE: dict[str, list[str]] = {}
for _name, _mark, _language, _text in BLOCKS:
    if _language == "python" and _mark is None:
        HERE.setdefault(_name, []).append(_text)

YAML = [text for _, _, language, text in BLOCKS if language == "yaml"]
PROSE = BLOCK.sub("", ALL)
# `when` belongs to a parameter, not to the experiment
SETTINGS = [text for text in re.findall(r"`([a-z]+: [{\[][^`]*)`", PROSE) if not text.startswith("when")]
COMMANDS = [line for _, _, language, text in BLOCKS if language == "sh" for line in text.splitlines()]
COMMANDS += [" ".join(text.split()) for text in re.findall(r"`(raysearch [a-z][^`]*)`", PROSE)]


def marks(blocks: list[str]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.figures] if ".plot(" in "".join(blocks) else []


@pytest.mark.parametrize("name", [pytest.param(name, marks=marks(HERE[name])) for name in HERE])
def test_python_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    page = types.ModuleType("a_page_of_the_documentation")
    monkeypatch.setitem(sys.modules, page.__name__, page)  # where dataclasses look for what annotations mean
    for number, text in enumerate(HERE[name]):
        script = tmp_path / f"block_{number}.py"
        script.write_text(text)
        exec(compile(text, script, "exec"), page.__dict__)


@pytest.mark.ray
@pytest.mark.parametrize(
    "number",
    [
        pytest.param(i, id=name, marks=() if name == "README.md" else pytest.mark.long)
        for i, (name, _) in enumerate(ON_RAY)
    ],
)
def test_python_block_runs_on_ray(
    number: int,
    tmp_path: Path,
    make_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    make_store(tmp_path)  # where the script would make one, in seconds
    script, text = tmp_path / "example.py", ON_RAY[number][1]
    script.write_text(text)
    with tempfile.TemporaryDirectory(prefix="rs", dir="/tmp", ignore_cleanup_errors=True) as place:
        if "ray.init(" in text:  # it would join what somebody else has just started in Ray's usual place
            monkeypatch.setenv("RAY_TMPDIR", place)
        else:
            request.getfixturevalue("ray_address")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [sys.executable, str(script)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_fragments_are_python() -> None:
    for name, text in FRAGMENTS:
        compile(text, name, "exec")


def test_no_block_is_marked_in_an_unknown_way() -> None:
    assert {mark for _, mark, _, _ in BLOCKS} <= {None, "ray", "fragment"}
    assert len(re.findall(r"^<!--", ALL, flags=re.MULTILINE)) == len([mark for _, mark, _, _ in BLOCKS if mark])


def test_there_is_an_example_under_20_lines_with_a_model_of_scikit_learn() -> None:
    text = next(text for name, _, language, text in BLOCKS if (name, language) == ("README.md", "python"))
    assert "sklearn" in text
    assert len([line for line in text.splitlines() if line.strip()]) < 20


@pytest.mark.parametrize("text", dict.fromkeys([*YAML, *SETTINGS]))
def test_a_setting_is_understood(text: str) -> None:
    """What lacks a workload with digits, whose configurations can be counted and measured."""
    setting = yaml.safe_load(text.replace(" ...]", "]"))
    hyperparameters: dict[str, Any] = {
        "hidden": [[32]],
        "optimizer": ["AdamW"],
        "lr": [0.1],
        "batch_size": [8],
        "dropout": [0.0, 0.2],
    }
    if "sampler" in setting:
        hyperparameters["lr"] = {"low": 0.01, "high": 0.1}
    build(from_data({"workload": "digits", "space": hyperparameters, "tracking": None, **setting}))


def test_commands_are_understood() -> None:
    shown: dict[str, str] = {}
    for line in [line for line in COMMANDS if line.startswith("raysearch ")]:
        words = shlex.split(line, comments=True)
        if words[1] not in shown:
            found = call(words[1], "--help")
            assert found.exit_code == 0, line
            shown[words[1]] = found.output
        options = [word for word in (word.strip("[]") for word in words) if word.startswith("--")]
        assert all(option in shown[words[1]] for option in options), line


def test_every_command_is_named() -> None:
    commands = {
        command.name or str(command.callback.__name__) for command in app.registered_commands if command.callback
    }
    named = re.findall(r"^\| `raysearch (\w+)", DOCUMENTS["docs/commands.md"], flags=re.MULTILINE)
    assert set(named) == commands


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", "\n".join([*COMMANDS, *re.findall(r"`(make [^`]*)`", PROSE)])))
    assert named
    assert named <= targets


def test_links_lead_to_files() -> None:
    for name, text in DOCUMENTS.items():
        targets = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", BLOCK.sub("", text)))
        assert {target for target in targets if not (ROOT / name).parent.joinpath(target.strip()).exists()} == set(), (
            name
        )


def test_plan_in_the_readme_is_what_the_command_prints() -> None:
    shown = call("plan", ROOT / "search_spaces" / "calorimeter_energy.yaml").output
    said = re.search(r"plan search_spaces.*?```\n```\n|```\n(configurations.*?)```", README, flags=re.DOTALL)
    assert said is not None
    for line in said.group(1).splitlines():
        assert line.split() in [shown_line.split() for shown_line in shown.splitlines()]


def test_messages_that_the_documentation_explains_are_said() -> None:
    source = "".join(path.read_text() for path in (ROOT / "raysearch").rglob("*.py"))
    messages = re.findall(r"^### `(.*)`$", DOCUMENTS["docs/questions.md"], flags=re.MULTILINE)
    assert messages
    assert [message for message in messages if message not in source] == []


def test_every_public_name_is_in_the_reference() -> None:
    shown = re.findall(r"^::: ([\w.]+)$", DOCUMENTS["docs/reference.md"], flags=re.MULTILINE)
    missing = set(raysearch.__all__) - {name.rpartition(".")[2] for name in shown}
    assert missing == {"__version__"}


@pytest.mark.parametrize(("room", "page"), [("criteria", "criteria"), ("rules", "criteria"), ("measures", "measures")])
def test_every_plugin_of_a_kind_is_explained(room: str, page: str) -> None:
    rows = "\n".join(line for line in DOCUMENTS[f"docs/{page}.md"].splitlines() if line.startswith("| `"))
    assert [name for name in registry.built_in(room) if f"`{name}`" not in rows] == []


def test_numbers_of_peers_are_those_of_the_results() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text()
    measured = {tuple(row[:2]): row[3] for row in rows_of(results) if len(row) == 10}
    table = DOCUMENTS["docs/peers.md"].partition("| family |")[2].partition("\n\n")[0]
    header, _, *rows = rows_of("| family |" + table)
    assert len(rows) == 7
    called = {"Ray Repeater, mean": "ray Repeater, mean", "Optuna WilcoxonPruner": "optuna WilcoxonPruner"}
    policies = [called.get(name, name.removeprefix("raysearch ").strip("`")) for name in header[1:]]
    for family, *numbers in rows:
        assert numbers == [measured[family, policy] for policy in policies], family


def rows_of(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
