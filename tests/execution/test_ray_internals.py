"""What raysearch touches of Ray beside its public API stands in one file, and is all there in the Ray installed."""

import ast
import functools
import importlib
import inspect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.tune import Trainable

import raysearch
from raysearch.execution import ray_scheduler, ray_searcher, ray_trainable, ray_tune_internals
from raysearch.execution.ray_settings import LEAN_SETTINGS, MAX_PENDING

PACKAGE = Path(raysearch.__file__).parent
INTERNALS = Path(ray_tune_internals.__file__)
IN_WORKLOADS = {"_setup_logdir", "_logdir"}
"""What `workloads/function.py` touches, which may import nothing of `execution/`."""
READ_IN = str(re.search(r"Read in Ray (\d+\.\d+)", str(ray_tune_internals.__doc__))[1])  # type: ignore[index]


@dataclass(frozen=True)
class Member:
    """A line of the list: a method with its `parameters`, or an attribute of some `kind`."""

    owner: str
    name: str
    parameters: tuple[str, ...] | None
    kind: str | None

    def __str__(self) -> str:
        return f"{self.owner}.{self.name}"


def listed(text: str) -> Iterator[Member]:
    owner = ""
    for line in text.splitlines():
        if header := re.fullmatch(r"(ray(?:\.\w+)+)(?:: .*)?", line):
            owner = header[1]
        elif entry := re.fullmatch(r"    (\w+)(?:\(([^)]*)\)|: (\w+))(?:  +.*)?", line):
            parameters = None if entry[2] is None else tuple(filter(None, entry[2].split(", ")))
            yield Member(owner, entry[1], parameters, entry[3])


MEMBERS = list(listed(str(ray_tune_internals.__doc__)))


class _Folderless(Trainable):  # type: ignore[misc]
    def _setup_logdir(self) -> None: ...


def example(owner: str) -> Any:
    """Return a real object of a class in the list; a module or an object stands for itself."""
    found = resolve(owner)
    made = {
        "TrackedActorTask": lambda: found(resolve("ray.air.execution._internal.tracked_actor.TrackedActor")(0)),
        "Trial": lambda: found("none", stub=True),
        "Trainable": lambda: _Folderless({}),
        "Node": lambda: ray._private.worker._global_node,
    }
    return made.get(owner.rpartition(".")[2], found if inspect.isclass(found) else lambda: found)()


def resolve(dotted: str) -> Any:
    """Return a module, or what lies in one; raises ImportError or AttributeError."""
    try:
        return importlib.import_module(dotted)
    except ModuleNotFoundError:
        before, _, last = dotted.rpartition(".")
        if not before:
            raise
        return getattr(resolve(before), last)


def faults(members: Iterable[Member]) -> Iterator[str]:
    """Yield what of a list is not so in the Ray that is installed."""
    for member in members:
        try:
            owner = resolve(member.owner)
            if member.parameters is not None:
                yield from _other_signature(member, owner)
            elif member.kind == "property":
                if not isinstance(inspect.getattr_static(owner, member.name), property):
                    yield f"{member} is no property"
            else:
                kinds = [kind.__name__ for kind in type(getattr(example(member.owner), member.name)).__mro__]
                if member.kind not in kinds:
                    yield f"{member} is a {kinds[0]}, no {member.kind}"
        except Exception as error:
            yield f"{member} is not there: {type(error).__name__}: {error}"


def _other_signature(member: Member, owner: Any) -> Iterator[str]:
    signature = inspect.signature(getattr(owner, member.name))
    own = (None,) if inspect.isclass(owner) else ()
    try:
        signature.bind(*own, **dict.fromkeys(member.parameters or ()))
    except TypeError as error:
        yield f"{member} takes {signature}: {error}"
        return
    if [name for name in signature.parameters if name in (member.parameters or ())] != list(member.parameters or ()):
        yield f"{member} takes {signature}, not ({', '.join(member.parameters or ())})"


def unread(names: Iterable[str]) -> Iterator[str]:
    """Yield which environment variables Tune does not read."""
    folder = Path(ray.__file__).parent / "tune"
    text = "".join(file.read_text() for file in folder.rglob("*.py") if file != folder / "constants.py")
    yield from (f"no file of ray.tune reads the environment variable {name}" for name in names if name not in text)


@pytest.fixture
def quiet_controller(monkeypatch: pytest.MonkeyPatch, ray_cluster: None) -> None:
    monkeypatch.setenv("TUNE_MAX_PENDING_TRIALS_PG", "1")


@pytest.mark.usefixtures("quiet_controller")
def test_the_installed_ray_has_all_that_is_listed() -> None:
    settings = (*LEAN_SETTINGS, MAX_PENDING)
    found = [*faults(MEMBERS), *unread(settings)]
    if not ray.__version__.startswith(f"{READ_IN}."):
        found.append(f"it was read in Ray {READ_IN}: read it again, then name the version that it was read in")
    assert len(MEMBERS) > 40
    assert not found, (
        f"Ray {ray.__version__} is not what {INTERNALS.relative_to(PACKAGE.parent)} was written for. Mend the "
        "functions there that use these, then the list at its top:\n  " + "\n  ".join(found)
    )


@pytest.mark.usefixtures("quiet_controller")
def test_what_another_ray_changed_is_found_and_named() -> None:
    changed = """
ray.tune.execution.tune_controller.TuneController
    _no_such_trials: set           a purpose
    _trials: dict
    stop_trial(trial, gently)
    _schedule_trial_reset(trial)
    _actor_failed(exception, tracked_actor)
    experiment_path: property
    stop_trial: property
ray.tune.no_such_module.Controller
    stop()
"""
    controller = "ray.tune.execution.tune_controller.TuneController"
    found = list(faults(listed(changed)))
    expected = [
        rf"{controller}._no_such_trials is not there: AttributeError: ",
        rf"{controller}._trials is a list, no dict",
        rf"{controller}.stop_trial takes \(self, trial\): .*'gently'",
        rf"{controller}._schedule_trial_reset takes .*: missing a required argument: 'new_config'",
        rf"{controller}._actor_failed takes \(self, tracked_actor.*\), not \(exception, tracked_actor\)",
        rf"{controller}.stop_trial is no property",
        r"ray.tune.no_such_module.Controller.stop is not there: ",
    ]
    assert len(found) == len(expected), found
    for fault, pattern in zip(found, expected, strict=True):
        assert re.match(pattern, fault), (fault, pattern)
    assert [name for name in unread(["TUNE_NO_SUCH"]) if "TUNE_NO_SUCH" in name]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def touched(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield (line, of what, name) of every attribute, and of every text, which `getattr` may take for one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield node.lineno, ast.unparse(node.value), node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, "", node.value


def defined(tree: ast.AST) -> set[str]:
    """Return the names that a file gives to functions, classes, variables and attributes."""
    names = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    stored = [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.ctx, ast.Store)]
    return names | {node.attr for node in stored if ast.unparse(node.value) in ("self", "cls")}


@functools.cache
def trees() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


ALL_LISTED = {member.name for member in MEMBERS}
LISTED = {name for name in ALL_LISTED if is_private(name)}


def test_the_list_names_all_that_is_touched_and_nothing_else() -> None:
    tree = ast.Module(trees()[INTERNALS].body[1:], [])  # without the list itself
    used = {name for _, _, name in touched(tree)} | defined(tree)
    private = {name for _, of, name in touched(tree) if of and is_private(name)}
    assert private - ALL_LISTED - {"_private"} == set()
    elsewhere = [PACKAGE / "execution" / "ray_trainable.py", PACKAGE / "workloads" / "function.py"]
    used |= {name for path in elsewhere for _, _, name in touched(trees()[path])}
    assert ALL_LISTED - used == set(), "listed, but nobody needs it"


def test_no_other_file_touches_a_private_member_of_ray() -> None:
    found = [fault for path, tree in trees().items() if path != INTERNALS for fault in lint(path, tree)]
    assert not found, f"this belongs in {INTERNALS.relative_to(PACKAGE.parent)}:\n  " + "\n  ".join(found)


def lint(path: Path, tree: ast.AST) -> Iterator[str]:
    """Yield what a file touches of Ray that only one file may."""
    place = path.relative_to(PACKAGE.parent)
    allowed = IN_WORKLOADS if path == PACKAGE / "workloads" / "function.py" else {"_replace"}  # of a named tuple
    for line, of, name in touched(tree):
        # kernels of torch, and os._exit, begin with an underscore and are no Ray
        whose = ("", "self", "cls", "torch", "os")
        foreign = name in LISTED or (of not in whose and is_private(name) and name not in own())
        if foreign and name not in allowed:
            yield f"{place}, line {line}: {of}.{name}"
        if of in ("trial", "tune_controller") and name != "trial_id" and path.parent.name == "execution":
            yield f"{place}, line {line}: {of}.{name}"
    for line, name in imported(tree):
        internal = any(is_private(part) for part in name.split(".")) or name in {member.owner for member in MEMBERS}
        if name.startswith("ray.") and internal:
            yield f"{place}, line {line}: import of {name}"


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


@functools.cache
def own() -> set[str]:
    return {name for path, tree in trees().items() if path != INTERNALS for name in defined(tree)} - LISTED


@pytest.mark.parametrize(
    "line",
    [
        "tune_controller._trials.clear()",
        "trial.temporary_state",
        "x = ray._private.worker",
        "y = getattr(controller, '_running_trials')",
        "ray.get_actor('x')._actor_id",
        "from ray.air.execution._internal import RayActorManager",
        "from ray.tune.progress_reporter import TrialProgressCallback",
        "import ray._private.state",
    ],
)
def test_such_a_line_would_be_found(line: str) -> None:
    assert list(lint(PACKAGE / "execution" / "x.py", ast.parse(line)))


def test_subclasses_of_rays_classes_have_no_private_name_of_theirs() -> None:
    classes = [
        cls
        for module in (ray_scheduler, ray_searcher, ray_trainable)
        for cls in vars(module).values()
        if inspect.isclass(cls) and cls.__module__ == module.__name__ and rays_bases(cls)
    ]
    assert [cls.__name__ for cls in classes] == ["RaceScheduler", "RaceSearcher", "RaceTrainable"]
    for cls in classes:
        tree = ast.parse(inspect.getsource(cls))
        theirs = {name for base in rays_bases(cls) for name in (*vars(base), *defined(parsed(base)))}
        own = {name for _, of, name in touched(tree) if of == "self"} | defined(tree)
        assert {name for name in own & theirs if is_private(name)} == set(), cls


def rays_bases(cls: type) -> list[type]:
    return [base for base in cls.__mro__ if base.__module__.startswith("ray.")]


def parsed(cls: type) -> ast.AST:
    return ast.parse(inspect.cleandoc("\n" + inspect.getsource(cls)))
