"""The files of `cluster/` against the schemas of those who read them, and against the promises of its README."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
KUBERNETES = CLUSTER / "kubernetes"
KUBERNETES_VERSION = "1.31"
SCRIPTS = sorted([*CLUSTER.rglob("*.sh"), *CLUSTER.rglob("*.sbatch")])
SECRETS = ("POSTGRES_PASSWORD", "MLFLOW_PASSWORD", "MLFLOW_FLASK_KEY", "RAY_AUTH_TOKEN", "GRAFANA_PASSWORD")


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((KUBERNETES / name).read_text()))


def every_kubernetes_object() -> list[tuple[str, dict[str, Any]]]:
    return [(path.name, doc) for path in sorted(KUBERNETES.glob("*.yaml")) for doc in documents(path.name)]


def pod_templates(node: Any) -> list[dict[str, Any]]:
    if isinstance(node, list):
        return [found for item in node for found in pod_templates(item)]
    if not isinstance(node, dict):
        return []
    own = [node["template"]] if "template" in node else []
    return own + [found for value in node.values() for found in pod_templates(value)]


@pytest.mark.parametrize("name", ["on_premise", "aws", "gcp"])
def test_ray_s_launcher_accepts_its_files(name: str) -> None:
    util = pytest.importorskip("ray.autoscaler._private.util")
    config = yaml.safe_load((CLUSTER / "ray_launcher" / f"{name}.yaml").read_text())
    prepared = util.prepare_config(copy.deepcopy(config))
    util.validate_config(prepared)  # what `ray up` does before it talks to a cloud
    assert prepared["max_workers"] > 0
    starts = " ".join(prepared["head_start_ray_commands"] + prepared["worker_start_ray_commands"])
    assert starts.count("RAY_AUTH_MODE=token") == 2
    with pytest.raises(jsonschema.ValidationError):
        util.validate_config({**prepared, "provder": {}})


@pytest.mark.parametrize(
    ("name", "package"), [("on_premise", None), ("aws", "boto3"), ("gcp", "google-api-python-client")]
)
def test_the_launcher_uses_the_environment_that_its_autoscaler_runs_in(name: str, package: str | None) -> None:
    """Ray adds commands of its own where a file has none: `pip install boto3`, which a stock Ubuntu refuses."""
    util = pytest.importorskip("ray.autoscaler._private.util")
    prepared = util.prepare_config(yaml.safe_load((CLUSTER / "ray_launcher" / f"{name}.yaml").read_text()))
    for kind in ("initialization", "setup", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray"):
        for command in prepared[f"{kind}_commands"]:
            bare = re.findall(r"(?:^|[\s;&|(])((?:pip3?|ray|conda)\s)", command)
            assert bare == [], f"{kind}: {command}"
    head = prepared["head_setup_commands"]
    if package is not None:
        assert re.search(rf"~/raysearch-venv/bin/pip install .*\b{package}$", head[-1])
        made = [i for i, command in enumerate(head) if "python3 -m venv" in command]
        asked = [i for i, command in enumerate(head) if "apt-get -o DPkg::Lock::Timeout=300 install" in command]
        assert asked < made, "python3-venv comes too late"


@pytest.mark.parametrize(("name", "kind"), [("raycluster.yaml", "RayCluster"), ("rayjob.yaml", "RayJob")])
def test_kuberay_s_schema_accepts_its_files(name: str, kind: str) -> None:
    schema = json.loads((ROOT / "tests/data/kuberay_v1.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    document = next(doc for doc in documents(name) if doc["kind"] == kind)
    jsonschema.validate(document, schema)
    for break_it in (
        lambda spec: spec["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),  # these must be strings
        lambda spec: spec.update(upgradeStrategy={"type": "None"}),  # 1.6 knows it, 1.5.1 drops it
    ):
        broken = copy.deepcopy(document)
        break_it(broken["spec"].get("rayClusterSpec", broken["spec"]))
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, schema)


def test_kubernetes_schema_accepts_every_object_and_pod() -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="the development extra is not installed")
    refused = []
    for name, document in every_kubernetes_object():
        templates = pod_templates(document["spec"]) if "spec" in document else []
        pods = [{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": t["spec"]} for t in templates]
        for checked in [*([document] if document["apiVersion"] != "ray.io/v1" else []), *pods]:
            try:
                validator.validate(checked, KUBERNETES_VERSION, strict=True)
            except validator.ValidationError as error:
                refused.append(f"{name}, {document['kind']} {document['metadata']['name']}: {error}")
    assert refused == []


def test_pods_ask_only_for_secrets_that_the_script_makes() -> None:
    made = set(re.findall(r"^  ([a-z-]+): ", (KUBERNETES / "secrets.sh").read_text().split("stringData:")[1], re.M))
    asked = set()
    for path in KUBERNETES.glob("*.yaml"):
        asked |= set(re.findall(r"secretKeyRef: \{name: raysearch, key: ([a-z-]+)\}", path.read_text()))
    assert asked == made


def test_only_the_head_knows_the_tracking_server() -> None:
    for name in ("raycluster.yaml", "rayjob.yaml"):
        document = documents(name)[1]
        spec = document["spec"].get("rayClusterSpec", document["spec"])
        assert "MLFLOW_TRACKING_URI" in json.dumps(spec["headGroupSpec"])
        assert "MLFLOW" not in json.dumps(spec["workerGroupSpecs"])


def compose(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = next((c for c in (["docker", "compose"], ["docker-compose"]) if _runs([*c, "version"])), None)
    if command is None:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed (Debian package docker-compose)")
    environment = {"PATH": os.environ["PATH"], "HOME": "/tmp", **environment}
    directory = CLUSTER / "compose"
    return subprocess.run([*command, *arguments], cwd=directory, env=environment, capture_output=True, text=True)


def _runs(command: list[str]) -> bool:
    return shutil.which(command[0]) is not None and subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.gpu.yaml")])
def test_compose_accepts_its_files(files: tuple[str, ...]) -> None:
    arguments = [part for name in files for part in ("-f", name)]
    result = compose(*arguments, "config", environment=dict.fromkeys(SECRETS, "secret-of-the-test"))
    assert result.returncode == 0, result.stderr
    services = yaml.safe_load(result.stdout)["services"]
    with_cuda = services["head"]["build"].get("args", {}).get("TORCH_INDEX") == ""
    assert with_cuda == ("compose.gpu.yaml" in files)
    assert set(services) >= {"head", "worker", "mlflow", "postgres"}
    assert "MLFLOW_TRACKING_URI" not in services["worker"]["environment"]


@pytest.mark.parametrize("missing", SECRETS)
def test_compose_refuses_to_start_without_a_secret(missing: str) -> None:
    given = {name: "x" for name in SECRETS if name != missing}
    result = compose("-f", "compose.yaml", "config", "-q", environment=given)
    assert result.returncode != 0
    assert f"set {missing}" in result.stderr


def test_compose_publishes_on_the_loopback_only() -> None:
    services = yaml.safe_load((CLUSTER / "compose/compose.yaml").read_text())["services"]
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 3
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_image_copies_files_that_exist() -> None:
    lines = (CLUSTER / "compose/Dockerfile").read_text().splitlines()
    sources = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1] if word[:2] != "--"]
    assert "cluster/run_or_resume.sh" in sources
    missing = [source for source in sources if not (ROOT / source).exists()]
    assert missing == []


def test_every_file_uses_the_image_that_the_dockerfile_says_how_to_build() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    built = re.search(r"-t (\S+) \.", (CLUSTER / "compose/Dockerfile").read_text())
    assert built is not None
    assert built[1] == f"raysearch:{version}"
    own = re.compile(r"image: (\S*raysearch\S*)")
    assert set(own.findall((CLUSTER / "compose/compose.yaml").read_text())) == {built[1]}
    pods = [image for path in KUBERNETES.glob("*.yaml") for image in own.findall(path.read_text())]
    assert set(pods) == {f"REPLACE-ME/{built[1]}"}
    assert len(pods) == 5
    pushed = re.findall(r"YOUR_REGISTRY/(\S+)", (KUBERNETES / "README.md").read_text())
    assert set(pushed) == {built[1]}


def test_nothing_of_a_checkout_but_what_is_copied_goes_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    let_in = {line[1:] for line in lines if line.startswith("!")}
    dockerfile = (CLUSTER / "compose/Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (.*)", dockerfile, re.M) for word in line.split()[:-1]}
    assert let_in == {word for word in copied if not word.startswith("--")}
    assert "*" in lines


def test_scripts_parse() -> None:
    for script in SCRIPTS:
        shell = script.read_text().splitlines()[0].split()[-1].rsplit("/", 1)[-1]
        result = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True)
        assert result.returncode == 0, result.stderr


def test_scripts_pass_shellcheck() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    result = subprocess.run(["shellcheck", *map(str, SCRIPTS)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_every_way_says_what_to_change_and_how_to_start_watch_and_stop() -> None:
    overview = (CLUSTER / "README.md").read_text()
    ways = [path for path in CLUSTER.iterdir() if path.is_dir()]
    assert len(ways) == 6
    for way in ways:
        text = (way / "README.md").read_text()
        assert all(f"**{word}.**" in text for word in ("Change", "Start", "Watch", "Stop")), way
        assert f"{way.name}/README.md" in overview


def test_no_file_holds_a_secret() -> None:
    literal = re.compile(r"(password|token|secret_key|flask_key)\w*['\"]?\s*[:=]\s*['\"]?([\w.-]+)", re.I)
    for path in CLUSTER.rglob("*"):
        for match in literal.finditer(path.read_text()) if path.is_file() else []:
            harmless = match[2] in {"valueFrom", "token", "false"} or path.name in {"README.md", "secrets.sh"}
            assert harmless, f"{path}: {match[0]}"
