"""The first file of a search: an experiment for a function or a network of one's own, with a comment on each line."""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

from raysearch.errors import ExperimentError
from raysearch.workloads._imported import function as imported
from raysearch.workloads._imported import misfit

Row = tuple[str, list[Any], str]
"""A parameter: its name, its values, what is said of it."""
_FILL_IN = "fill in what to try"
_EXAMPLE: list[Row] = [("step", [0.001, 0.01, 0.1, 1.0], ""), ("shrink", [0.0001, 0.01, 0.1], "")]
_RECIPE: list[Row] = [
    ("optimizer", ["AdamW"], "a name in torch.optim"),
    ("lr", [0.001, 0.01], ""),
    ("batch_size", [32], ""),
    ("weight_decay", [0.01], ""),
]


def write(
    file: Path, *, function: str | None = None, module: str | None = None, data: str | None = None
) -> tuple[Path, ...]:
    """Write an experiment file, commented, and return what was written; nothing is ever overwritten.

    `function` is where to import `train(config, seed)` from, `module` and `data` those of a network of one's own. With
    neither, a module with a function to be replaced is written beside the file.

    Raises ExperimentError where something is there already, or cannot be imported or written.
    """
    if file.suffix not in (".yaml", ".yml"):
        raise ExperimentError(f"an experiment file ends in .yaml, got {file}")
    if bool(module) != bool(data) or (function and module):
        raise ExperimentError("name a function, `--function my_package.train`, or `--module` together with `--data`")
    texts: dict[Path, str] = {}
    values: dict[str, Any] = {"module": module, "data": data, "fn": function}
    if module:
        imported("--data", data)
        known = {name for name, *_ in _RECIPE}
        space = [row for row in _read(imported("--module", module)) if row[0] not in known] + _RECIPE
    elif function:
        train = imported("--function", function)
        _check_signature(function, train)
        space = _read(train) or [("lr", [0.001, 0.01, 0.1], f"the keys that {function} reads of config: {_FILL_IN}")]
    else:
        beside = file.with_name(re.sub(r"\W", "_", file.stem) + ".py")
        values["fn"], space = f"{_dotted(beside)}.train", _EXAMPLE
        texts[beside] = _template("new.py.j2").render()
    rows = [(name, json.dumps(own), comment) for name, own, comment in space]
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", file.stem).strip("._-")[:100] or "search"
    texts[file] = _template("new.yaml.j2").render(values | {"name": name, "file": file, "space": rows})
    if there := [path for path in texts if path.exists()]:
        raise ExperimentError(f"{there[0]} is there already, and nothing is written over it: choose another name")
    try:
        for path, text in texts.items():
            with path.open("x", encoding="utf-8") as opened:
                opened.write(text)
    except OSError as error:
        raise ExperimentError(f"cannot write {file}: {error.strerror}") from error
    return tuple(texts)


def _template(name: str) -> Any:
    import jinja2

    text = files("raysearch.experiment").joinpath(name).read_text(encoding="utf-8")
    return jinja2.Template(text, keep_trailing_newline=True, undefined=jinja2.StrictUndefined)


def _dotted(path: Path) -> str:
    """Return how a module in or below the working directory is imported; raises ExperimentError elsewhere."""
    try:
        parts = path.absolute().relative_to(Path.cwd()).with_suffix("").parts
    except ValueError:
        parts = ("",)
    if not all(part.isidentifier() for part in parts):
        raise ExperimentError(
            f"{path.with_suffix('')} cannot be imported from {Path.cwd()}: name a file in the working directory, or "
            "the function to train, `--function my_package.train`"
        )
    return ".".join(parts)


def _check_signature(name: str, train: Callable[..., Any]) -> None:
    if (found := misfit(train)) is not None:
        signature, why = found
        raise ExperimentError(f"{name} takes {signature}: it must take two, train(config, seed)") from why


def _read(function: Callable[..., Any]) -> list[Row]:
    """Return the keys that a function reads of its first argument, in their order, with a value to begin with."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        first = next(iter(inspect.signature(function).parameters))
    except (OSError, TypeError, SyntaxError, ValueError, StopIteration):  # no source, or no argument
        return []
    rows: dict[str, Row] = {}
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript | ast.Call)]
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        key, default = _key(node, first)
        if key is not None:
            rows.setdefault(key, (key, [1, 2] if default is None else [default], _FILL_IN))
    return list(rows.values())


def _key(node: ast.AST, of: str) -> tuple[str | None, Any]:
    """Return the key in `of["key"]` or `of.get("key", default)`, and the default where it is a constant."""
    match node:
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str(key))) if name == of:
            return key, None
        case ast.Call(
            func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[ast.Constant(value=str(key)), *rest]
        ) if name == of:
            return key, rest[0].value if rest and isinstance(rest[0], ast.Constant) else None
    return None, None
