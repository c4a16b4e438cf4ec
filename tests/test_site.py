"""The site of docs/: what `make docs` says of links, inside docs/ and out of it, by the same hooks on a small site."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import BROWSER, browser

ROOT = Path(__file__).parents[1]
GOOD = "[out](../MEASURED.md#speed) [notebook](first_search.ipynb#the-search) [file](../data.csv) [folder](../things)"

pytestmark = pytest.mark.process


def build(folder: Path, text: str, **changed: Any) -> subprocess.CompletedProcess[str]:
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
    (folder / "mkdocs.yml").write_text(yaml.safe_dump({**settings, **plain, **changed}))
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


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to search in")
@pytest.mark.skipif(
    not (ROOT / "node_modules/iframe-worker").exists(), reason="`make docs` has not brought iframe-worker"
)
def test_a_site_that_is_opened_as_a_file_can_be_searched(tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(ROOT / "node_modules")
    named = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    plugins = [one for one in named["plugins"] if "mkdocstrings" not in one]
    done = build(tmp_path, GOOD, theme=named["theme"], plugins=plugins)
    assert done.returncode == 0, done.stderr
    pages = [*(tmp_path / "site").rglob("*.html")]
    assert not [page for page in pages if re.search(r'<(script|link)[^>]*(src|href)="https?:', page.read_text())]
    with browser(tmp_path / "profile") as tab:
        for page in ("index.html", "repository/MEASURED.html"):
            tab.visit((tmp_path / "site" / page).as_uri())
            tab.wait_for("document.querySelector('.md-search__input') && document.readyState === 'complete'")
            tab.wait_for("""(() => { const at = document.querySelector('.md-search__input');
              at.focus(); at.value = 'Speed';
              for (const kind of ['input', 'keyup']) at.dispatchEvent(new Event(kind, { bubbles: true }));
              return document.querySelector('.md-search-result__item a') !== null; })()""")
            assert "MEASURED.html" in tab.get("document.querySelector('.md-search-result__item a').href")
        assert tab.complaints == []
