"""The site of docs/: what `make docs` says of links, inside docs/ and out of it, by the same hooks on a small site."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
GOOD = "[out](../MEASURED.md#speed) [notebook](first_search.ipynb#the-search) [file](../data.csv) [folder](../things)"

pytestmark = pytest.mark.process


def build(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build a site of one page, by the command of the Makefile."""
    (folder / "docs").mkdir()
    (folder / "things").mkdir()
    for name in ("hooks.py", "first_search.ipynb"):
        shutil.copy(ROOT / "docs" / name, folder / "docs")
    (folder / "docs" / "index.md").write_text(f"# Start\n\n{text}\n")
    (folder / "MEASURED.md").write_text("# Measured\n\n## Speed\n\n[back](docs/index.md)\n")
    (folder / "data.csv").write_text("a,b\n")
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    nav = ["index.md", "first_search.md", *(["repository/MEASURED.md"] if "MEASURED.md" in text else [])]
    plain = {"nav": nav, "theme": "mkdocs", "plugins": []}
    (folder / "mkdocs.yml").write_text(yaml.safe_dump({**settings, **plain}))
    command = re.search(r"\$\(BIN\)/mkdocs (build.*)", (ROOT / "Makefile").read_text())
    assert command is not None
    words = [sys.executable, "-m", "mkdocs", *command[1].split()]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)


def test_links_lead_where_the_site_has_their_targets(tmp_path: Path) -> None:
    done = build(tmp_path, GOOD)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "index.html").read_text()
    for target in ("repository/MEASURED.html#speed", "first_search.html#the-search", "repository/data.csv"):
        assert f'href="{target}"' in page
    assert "things" not in re.findall(r'href="([^"]*)"', page)
    assert 'href="../index.html"' in (tmp_path / "site" / "repository" / "MEASURED.html").read_text()
    assert (tmp_path / "site" / "repository" / "data.csv").read_text() == "a,b\n"


@pytest.mark.parametrize(
    ("link", "said"),
    [
        ("[a](nothing.md)", "'nothing.md', but the target is not found"),
        ("[a](../NOTHING.md)", "NOTHING.md', but the target is not found"),
        ("[a](../MEASURED.md#nowhere)", "does not contain an anchor '#nowhere'"),
    ],
)
def test_a_link_that_leads_nowhere_ends_the_build(link: str, said: str, tmp_path: Path) -> None:
    done = build(tmp_path, link)
    assert done.returncode == 1
    assert said in done.stdout + done.stderr
