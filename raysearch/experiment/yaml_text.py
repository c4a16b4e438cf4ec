"""YAML as experiment files use it: plain data only, every key once, `1e-4` a number, and errors that name the line."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import yaml

from raysearch.errors import ExperimentError

_MOST_NODES = 100_000
"""An experiment has a few hundred; more can only come from aliases of aliases, which would fill the memory."""
_FLOAT = re.compile(r"(?:[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+|[-+]?\.[0-9][0-9_]*[eE][-+]?[0-9]+)$")


class _Loader(yaml.SafeLoader):
    """Refuses keys that appear twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} appears twice", key.start_mark
                    )
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Puts quotes round a text that would be read as a number."""


# YAML 1.1 reads 1e-4 as text, YAML 1.2 and every user as a number
for _side in (_Loader, _Dumper):
    _side.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse(text: str, where: str) -> Any:
    """Return the plain data that `text` holds; raises ExperimentError naming `where` and the line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_bomb(node)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ExperimentError(f"{where}{line}: no valid YAML: {error.problem}") from error
    except RecursionError as error:
        raise ExperimentError(f"{where}: no valid YAML: it is nested too deeply") from error
    # a scalar with an explicit tag that it does not fit, e.g. `!!int x`, ends in any of these
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ExperimentError(f"{where}: no valid YAML: {reason}") from error


def dump(data: Any) -> str:
    """Return plain data as text, its mappings in their order, that `parse` and every other reader give back."""
    return str(yaml.dump(data, Dumper=_Dumper, sort_keys=False))


def _refuse_bomb(root: yaml.Node) -> None:
    """Raise ExperimentError-to-be where aliases make a document contain itself, or expand beyond all measure."""
    waiting, n = [root], 0
    while waiting:
        node = waiting.pop()
        n += 1
        if n > _MOST_NODES:
            raise yaml.constructor.ConstructorError(
                None, None, f"its aliases expand to more than {_MOST_NODES} values", root.start_mark
            )
        if isinstance(node, yaml.SequenceNode):
            waiting += node.value
        elif isinstance(node, yaml.MappingNode):
            waiting += [part for pair in node.value for part in pair]
