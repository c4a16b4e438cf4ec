"""The house stands: imports run downward, walls hold, files and functions stay small, one plug-in is one file."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import raysearch
from raysearch import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "raysearch"

# each set is a floor, the lowest first; a unit (a room or a module) imports from floors below its own only
FLOORS = (
    {"errors"},
    {"json_values"},
    {"records"},
    {"criteria", "losses", "registry", "yaml_text", "run_directory", "training_device", "training_score"},
    {"rules", "measures", "recipe", "space", "summary", "pool", "screening", "objectives"},
    {"events", "training_aids", "training_fingerprint", "training_optimizer", "space_function", "sections"},
    {"training_checkpoints"},
    {"journal", "state", "frame", "findings", "training"},
    {"workloads", "tracking", "samplers", "analysis"},
    {"race"},
    {"standing"},
    {"execution"},
    {"experiment", "measuring"},
    {"ending", "schema"},
    {"driver"},
    {"resuming", "console", "in_python"},
    {"sync", "status"},
    {"cli"},
)
FLOOR_OF = {unit: floor for floor, units in enumerate(FLOORS) for unit in units}

# third-party packages that only these files may import
WALLS = {
    "ray": ("execution/ray_",),
    "mlflow": ("tracking/mlflow", "tracking/_mlflow"),
    "optuna": ("samplers/tpe",),
    "matplotlib": ("analysis/plots",),
    "torch": ("losses/", "measures/", "workloads/", "training"),
    "typer": ("cli",),
    "pydantic": ("experiment", "schema"),
}
# what must run anywhere, fast: numpy and scipy beside the standard library, nothing else
PURE = {"errors", "records", "criteria", "rules", "registry", "pool", "events", "journal", "state", "race", "standing"}
PURE |= {"json_values", "sections"}
PURE |= {"screening", "space", "space_function", "summary", "samplers", "run_directory", "recipe", "objectives"}
LONGER_CONTRACTS = {"workloads": 60, "tracking": 60}


def unit_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> list[tuple[int, str]]:
    """Return (line, dotted name) of everything a file imports, at its top or inside a function."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}, line {node.lineno}: import by the full name"
            handed_on = node.module == "raysearch"
            found += [(node.lineno, f"raysearch.{a.name}" if handed_on else str(node.module)) for a in node.names]
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def test_every_room_and_module_has_a_floor():
    assert sorted({unit_of(path) for path in FILES} - set(FLOOR_OF)) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_downward_and_walls_hold(path):
    here, place = unit_of(path), str(path.relative_to(PACKAGE))
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == "raysearch" and len(parts) > 1 and parts[1] in FLOOR_OF and parts[1] != here:
            assert FLOOR_OF[parts[1]] < FLOOR_OF[here], f"{place}, line {line}: {name} is no floor below"
        if parts[0] in WALLS:
            assert place.startswith(WALLS[parts[0]]), f"{place}, line {line}: {name} belongs in {WALLS[parts[0]]}"
        if here in PURE and not place.startswith("samplers/tpe"):
            known = parts[0] in ("raysearch", "numpy", "scipy") or parts[0] in sys.stdlib_module_names
            assert known, f"{place}, line {line}: {name} has no place on a pure floor"


def test_executors_know_no_concrete_workload_and_no_sampler():
    for path in (PACKAGE / "execution").glob("*.py"):
        for line, name in imports(path):
            assert not name.startswith(("raysearch.workloads.", "raysearch.samplers")), f"{path}, line {line}: {name}"


def test_plain_import_loads_nothing_heavy():
    program = """
import sys, raysearch
loaded = {"ray", "mlflow", "torch", "optuna", "matplotlib", "pandas", "numpy", "pydantic"} & set(sys.modules)
assert not loaded, loaded
from raysearch import registry
[registry.names(room) for room in registry.ROOMS]
loaded = {"ray", "mlflow", "torch", "optuna", "matplotlib", "pandas"} & set(sys.modules)
assert not loaded, loaded
raysearch.Race, raysearch.from_file, raysearch.plan
loaded = {"ray", "mlflow", "torch", "optuna", "matplotlib"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_every_public_name_exists_and_an_unknown_one_is_an_attribute_error():
    import raysearch

    for name in raysearch.__all__:
        assert getattr(raysearch, name) is not None
    with pytest.raises(AttributeError, match=r"no attribute 'serach'; it has .*search"):
        raysearch.serach  # noqa: B018


@pytest.mark.parametrize("folder", ["raysearch", "benchmarks"])
def test_files_are_short(folder):
    long = {str(path): n for path in (ROOT / folder).rglob("*.py") if (n := len(path.read_text().splitlines())) > 300}
    assert long == {}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_functions_fit_on_a_screen(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            documented = ast.get_docstring(node) is not None and len(node.body) > 1
            first = node.body[1].lineno if documented else node.lineno  # the docstring does not count
            assert node.end_lineno - first < 50, f"{node.name}, line {node.lineno}"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*/__init__.py")), ids=lambda path: path.parent.name)
def test_a_room_states_its_contract_briefly(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LONGER_CONTRACTS.get(path.parent.name, 35)
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("room", registry.ROOMS)
def test_one_file_holds_one_plugin(room):
    for name in registry.names(room):
        tree = ast.parse((PACKAGE / room / f"{name}.py").read_text(encoding="utf-8"))
        public = [n.name for n in tree.body if isinstance(n, ast.ClassDef) and _is_frozen(n) and n.name[0] != "_"]
        own = "".join(part.capitalize() for part in name.split("_"))
        helpers = {"Simulation"}  # what the replay executor returns
        assert [cls for cls in public if cls not in helpers] == [own]


def _is_frozen(node: ast.ClassDef) -> bool:
    return any(ast.unparse(decorator).startswith("dataclass") for decorator in node.decorator_list)


def test_no_name_says_nothing():
    forbidden = ("util", "helper", "base", "manager", "common", "misc", "old")
    named = [path for path in FILES if path.stem.strip("_").rstrip("s") in forbidden]
    assert named == []


def test_no_module_has_the_name_of_something_handed_on():
    # importing the module would put it in the place of the function
    assert not {path.stem for path in PACKAGE.glob("*.py")} & (set(raysearch.__all__) - {"__version__"})
