"""Files that appear whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, *, to_disk: bool = False) -> Iterator[Path]:
    """Give a file beside `path` to write to, and rename it to `path` at the end, or remove it where that fails.

    `to_disk` brings it to the disk before it gets its name. Raises OSError, and `path` is as it was.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        if to_disk:
            with open(aside, "rb") as file:
                os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
