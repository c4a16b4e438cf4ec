"""The house stands: imports run downward, walls hold, files and functions stay small, one plug-in is one file."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import raysearch
from raysearch import registry

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "raysearch"


def drawn() -> list[str]:
    """Return the rooms and modules that the README draws, the lowest first: bottom to top, and right to left."""
    picture = (ROOT / "README.md").read_text(encoding="utf-8").partition("```\nraysearch/\n")[2].partition("```")[0]
    units = [unit for line in picture.splitlines() for unit in re.findall(r"(?:^ +|  )(\w+)(?:/|\.py)(?=  )", line)]
    return units[::-1]


FLOOR_OF = {unit: floor for floor, unit in enumerate(drawn())}
"""A room or module imports from lower ones only."""

# third-party packages that only these rooms may import
WALLS = {
    "ray": ("execution/",),
    "mlflow": ("tracking/",),
    "optuna": ("samplers/",),
    "matplotlib": ("analysis/",),
    "torch": ("training/", "workloads/"),
    "typer": ("cli", "analysis/arguments"),
    "starlette": ("analysis/",),
    "uvicorn": ("driver/",),
    "pydantic": ("experiment/", "registry.py"),
}
# what must run anywhere, fast: numpy, scipy and words for bounds beside the standard library, nothing else
PURE = {"errors", "records", "registry", "seeds", "criteria", "rules", "storage", "race", "samplers"}
BESIDE = {
    "registry": {"pydantic", "typing_extensions"},
    "storage/instances": {"pandas", "pyarrow"},
    "storage/journal": {"pydantic_core"},
    "storage/measurements": {"pandas"},
    "storage/tables": {"pandas", "pyarrow"},
    "samplers/_distributions": {"optuna"},
    "samplers/study": {"optuna"},
    "samplers/tpe": {"optuna"},
}
LONGER_CONTRACTS = {"workloads": 75, "tracking": 60, "rules": 45, "losses": 41}


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


def test_the_picture_in_the_readme_shows_every_room_and_module_of_the_root_once():
    assert sorted(FLOOR_OF) == sorted({unit_of(path) for path in FILES})
    assert len([path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]) == 12


def test_no_two_modules_import_each_other():
    name_of = {path: ".".join(("raysearch", *path.relative_to(PACKAGE).with_suffix("").parts)) for path in FILES}
    known = set(name_of.values())
    needs = {name: imported_at_once(path) & known for path, name in name_of.items()}
    assert tuple(TopologicalSorter(needs).static_order())  # raises CycleError, which names the circle


def imported_at_once(path: Path) -> set[str]:
    """Return what a file imports at its top, without what only type checkers read."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_imports_run_downward_and_walls_hold():
    assert [fault for path in FILES for fault in faults_of(path)] == []


def faults_of(path: Path) -> Iterator[str]:
    """Yield what a file imports against the picture, the walls or the purity of its floor."""
    here, place = unit_of(path), str(path.relative_to(PACKAGE))
    for line, name in imports(path):
        parts = name.split(".")
        there = parts[1] if parts[0] == "raysearch" and len(parts) > 1 else here
        if there != here and FLOOR_OF.get(there, -1) >= FLOOR_OF[here]:
            yield f"{place}, line {line}: {name} is no floor below"
        if not place.startswith(WALLS.get(parts[0], "")):
            yield f"{place}, line {line}: {name} belongs in {WALLS[parts[0]]}"
        if here in PURE:
            known = parts[0] in (
                "raysearch",
                "numpy",
                "scipy",
                "annotated_types",
                *BESIDE.get(place.removesuffix(".py"), ()),
            )
            known = known or parts[0] in sys.stdlib_module_names
            if not known:
                yield f"{place}, line {line}: {name} has no place on a pure floor"


def test_executors_know_no_concrete_workload_and_no_sampler():
    for path in (PACKAGE / "execution").glob("*.py"):
        for line, name in imports(path):
            assert not name.startswith(("raysearch.workloads.", "raysearch.samplers")), f"{path}, line {line}: {name}"


@pytest.mark.process
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
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.process
def test_help_and_completion_load_nothing_heavy():
    """What a shell asks for at every key: about a sixth of a second of CPU, most of it Python's and Typer's own."""
    program = """
import contextlib, io, sys
from raysearch import cli
sys.argv = ["raysearch", "--help"]
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()) as said:
    cli.main()
assert "export" in said.getvalue()
loaded = {"ray", "mlflow", "torch", "optuna", "matplotlib", "pandas", "numpy", "scipy", "pydantic", "yaml", "jinja2"}
assert not loaded & set(sys.modules), loaded & set(sys.modules)
own = sorted(name for name in sys.modules if name.startswith("raysearch"))
analysis = ["raysearch.analysis", "raysearch.analysis.arguments", "raysearch.analysis.exits"]
assert own == ["raysearch", *analysis, "raysearch.cli", "raysearch.errors"], own
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
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


def test_functions_fit_on_a_screen():
    long = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node) is not None and len(node.body) > 1
                first = node.body[1].lineno if documented else node.lineno  # the docstring does not count
                long += [f"{path.name}: {node.name}, line {node.lineno}"] if node.end_lineno - first >= 50 else []
    assert long == []


def test_a_room_states_its_contract_briefly():
    for path in sorted(PACKAGE.rglob("*/__init__.py")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= LONGER_CONTRACTS.get(path.parent.name, 35), path
        assert ast.get_docstring(ast.parse(text)), path


@pytest.mark.parametrize("room", registry.ROOMS)
def test_one_file_holds_one_plugin(room):
    for name in registry.built_in(room):
        tree = ast.parse(PACKAGE.joinpath(*registry.ROOMS[room].split("."), f"{name}.py").read_text(encoding="utf-8"))
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
