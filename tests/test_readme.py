"""README: every Python block runs, every command exists, every link leads somewhere."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_line import call

from raysearch.driver.run import build
from raysearch.experiment.experiment import from_data

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
# `when` belongs to a parameter, not to the experiment
SETTINGS = [text for text in re.findall(r"`([a-z]+: [{\[][^`]*)`", README) if not text.startswith("when")]
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL) for line in block.splitlines()]


@pytest.mark.ray
@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_python_block_runs(
    number: int,
    tmp_path: Path,
    make_store: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    make_store(tmp_path)  # where the script would make one, in seconds
    script = tmp_path / "example.py"
    script.write_text(BLOCKS[number])
    with tempfile.TemporaryDirectory(prefix="rs", dir="/tmp", ignore_cleanup_errors=True) as place:
        if "ray.init(" in BLOCKS[number]:  # it would join what somebody else has just started in Ray's usual place
            monkeypatch.setenv("RAY_TMPDIR", place)
        else:
            request.getfixturevalue("ray_address")
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        environment.pop("MLFLOW_TRACKING_URI", None)
        command = [sys.executable, str(script)]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]


def test_there_is_an_example_under_20_lines_with_a_model_of_scikit_learn() -> None:
    lines = [line for line in BLOCKS[0].splitlines() if line.strip()]
    assert "sklearn" in BLOCKS[0]
    assert len(lines) < 20


@pytest.mark.parametrize("text", SETTINGS)
def test_a_setting_is_understood(text: str) -> None:
    """With digits, whose configurations can be counted and measured, and a space of whatever the setting needs."""
    setting = yaml.safe_load(text.replace(" ...]", "]"))
    hyperparameters = {"hidden": [[32]], "optimizer": ["AdamW"], "lr": [0.1], "batch_size": [8], "dropout": [0.0, 0.2]}
    build(from_data({"workload": "digits", "space": hyperparameters, "tracking": None, **setting}))


def test_commands_are_understood() -> None:
    for line in [line for line in COMMANDS if line.startswith("raysearch ")]:
        words = shlex.split(line, comments=True)
        options = [word for word in words if word.startswith("--")]
        shown = call(words[1], "--help")
        assert shown.exit_code == 0, line
        assert all(option in shown.output for option in options), line


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"make ([a-z-]+)", README))
    assert named <= targets


def test_links_lead_to_files() -> None:
    targets = set(re.findall(r"\]\((?!https?:)([^)#]+)\)", README))
    assert targets
    assert {target for target in targets if not (ROOT / target).exists()} == set()


def test_plan_in_the_readme_is_what_the_command_prints() -> None:
    shown = call("plan", ROOT / "search_spaces" / "calorimeter_energy.yaml").output
    said = re.search(r"plan search_spaces.*?```\n```\n|```\n(configurations.*?)```", README, flags=re.DOTALL)
    assert said is not None
    for line in said.group(1).splitlines():
        assert line.split() in [shown_line.split() for shown_line in shown.splitlines()]
