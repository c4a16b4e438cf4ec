"""Files of a run: by MLflow's own repositories, or straight to the directory where that is on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import get_local_path_or_none

from raysearch.storage.whole_file import whole

Upload = Callable[[str, str, Path], None]
"""Brings a file to the artifacts at an address, of the store at another."""


def to_repository(artifact_uri: str, store_uri: str, path: Path) -> None:
    """Upload a file under its own name."""
    # not client.log_artifact: that reads the whole run again, 5 ms each
    get_artifact_repository(artifact_uri, tracking_uri=store_uri).log_artifact(str(path))


def attach(artifact_uri: str, store_uri: str, path: Path, name: str, upload: Upload) -> None:
    """Upload the file at `path` as the artifact `name`."""
    with tempfile.TemporaryDirectory() as folder:
        link = Path(folder, name)
        link.symlink_to(path.absolute())
        upload(artifact_uri, store_uri, link)


def write(artifact_uri: str, store_uri: str, name: str, content: str, upload: Upload) -> None:
    """Upload a small text as the artifact `name`."""
    if here := get_local_path_or_none(artifact_uri):  # a repository and a temporary directory take 1.5 ms
        path = Path(here, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole(path) as aside:
            aside.write_text(content, encoding="utf-8")
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_text(content, encoding="utf-8")
        upload(artifact_uri, store_uri, path)
