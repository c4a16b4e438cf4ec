"""Let the site hold what its pages link to: documents beside docs/ become pages, other files are copied.

Links stay those that a reader of the repository follows, relative to the file that holds them; here they are turned to
where the site has their targets. The notebook becomes a page of its text and its code.
"""

import json
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
NOTEBOOK = "docs/first_search.ipynb"
BESIDE = "repository"
"""Folder of the site that holds what stands outside docs/."""

LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")
CODE = re.compile(r"```.*?```|`[^`\n]*`", flags=re.DOTALL)
FOLDER = re.compile(r"\[([^\]]*)\]\(([^)\s#:]+)\)")

SHIM = ROOT / "node_modules" / "iframe-worker"
"""The npm package by which a page that was opened as a file has a worker, as Material's search needs one."""


def on_config(config: MkDocsConfig) -> None:
    """Let the search work without a server where the package is there; Material's plugin would load it from afar."""
    offline = config.plugins.get("material/offline")
    if offline is not None and SHIM.is_dir():
        offline.config["enabled"] = True
        config.extra["polyfills"] = ["assets/javascripts/iframe-worker.js"]


def place(target: str) -> str:
    """Return where in the site's sources a path of the repository is found."""
    where = target.removeprefix("docs/") if target.startswith("docs/") else f"{BESIDE}/{target}"
    return where.removesuffix(".ipynb") + ".md" if target == NOTEBOOK else where


def origin(src_uri: str) -> str:
    """Return the path in the repository of a file of the site's sources."""
    if src_uri == place(NOTEBOOK):
        return NOTEBOOK
    return src_uri.removeprefix(f"{BESIDE}/") if src_uri.startswith(f"{BESIDE}/") else f"docs/{src_uri}"


def meant(target: str, holder: str) -> str:
    """Return the path in the repository that a link means, a folder's README for the folder."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(holder), target))
    return f"{path}/README.md" if (ROOT / path / "README.md").exists() else path


def text_of(path: str) -> str:
    """Return a document as Markdown."""
    text = (ROOT / path).read_text(encoding="utf-8")
    if path == NOTEBOOK:
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
        text = "\n\n".join(body if kind == "markdown" else f"```python\n{body}\n```" for kind, body in cells)
    return text


def without_folders(text: str, holder: str) -> str:
    """Return a document without links to folders, which no site shows."""
    return FOLDER.sub(lambda link: link[1] if (ROOT / meant(link[2], holder)).is_dir() else link[0], text)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is linked to, from whatever is there or was added."""
    for script in config.extra.get("polyfills", ()):
        for path, source in ((script, SHIM / "shim" / "index.js"), (f"{script}.LICENSE", SHIM / "LICENSE")):
            files.append(File.generated(config, path, abs_src_path=str(source)))
    files.remove(files.get_file_from_path("first_search.ipynb"))
    files.append(File.generated(config, place(NOTEBOOK), content=text_of(NOTEBOOK)))
    waiting = [origin(file.src_uri) for file in files.documentation_pages()]
    while waiting:
        holder = waiting.pop()
        for link in LINK.finditer(CODE.sub("", text_of(holder))):
            target = meant(link[1], holder)
            if files.get_file_from_path(place(target)) or not (ROOT / target).is_file():
                continue  # what is not there is MkDocs' to complain of
            page = target.endswith(".md")
            given = {"content": text_of(target)} if page else {"abs_src_path": str(ROOT / target)}
            files.append(File.generated(config, place(target), **given))
            waiting += [target] if page else []
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to where the site has their targets."""
    holder = origin(page.file.src_uri)
    here = posixpath.dirname(page.file.src_uri)

    def turned(link: re.Match[str]) -> str:
        return posixpath.relpath(place(meant(link[1], holder)), here or ".") + (link[2] or "")

    text = without_folders(markdown, holder)
    codes = [*CODE.findall(text), ""]
    return "".join(LINK.sub(turned, part) + code for part, code in zip(CODE.split(text), codes, strict=True))
