"""The live page in a real browser: a race from its start to its end, by keyboard, in the dark, and at full size."""

import re
import shutil
import subprocess

import pytest
from browser import BROWSER, browser
from command_line import command, write_search
from waiting import wait_for

from raysearch.storage.requests import Request, ask
from raysearch.storage.run_directory import JOURNAL

pytestmark = [pytest.mark.process, pytest.mark.skipif(BROWSER is None, reason="no Chromium to look with")]
SHIFT = """window.shift = 0; window.shifted = "";
const place = (one) => `${one.node && one.node.id} from ${one.previousRect.y} to ${one.currentRect.y} px`;
new PerformanceObserver((list) => {
  window.shift += list.getEntries().reduce((sum, one) => sum + one.value, 0);
  window.shifted += list.getEntries().flatMap((one) => [...one.sources].map(place)).join("; ");
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.fixture
def tab(tmp_path):
    with browser(tmp_path / "profile") as opened:
        opened.window(1300, 900)
        yield opened


def watched(start, tab, tmp_path, settings):
    """Start a search with its page, and let it begin in earnest once the page is there: it may be over in seconds."""
    process = start(
        *command("run", write_search(tmp_path), "--watch", "--run-dir", tmp_path / "run"),
        *[word for setting in settings for word in ("--set", setting)],
        stderr=subprocess.DEVNULL,
    )
    address = wait_for("an address", lambda: re.search(r"http://\S+", process.stdout.readline()), by=process)[0]
    journal = tmp_path / "run" / JOURNAL
    wait_for("a beginning", lambda: journal.exists() and b'"event":"ask"' in journal.read_bytes(), by=process)
    ask(journal.parent, Request("pause"))
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFT)
    tab.visit(address)
    tab.wait_for("document.querySelector('#state')?.textContent === 'paused'")
    ask(journal.parent, Request("unpause"))
    return process


def test_a_race_is_watched_from_its_start_to_its_end(start, tab, tmp_path):
    settings = ["workload.seconds=0.5", "workload.fail=0.1", "race.retries=1", "workload.epochs=5"]
    process = watched(start, tab, tmp_path, settings)
    tab.wait_for("document.querySelector('#state')?.textContent === 'running'")
    tab.wait_for("document.querySelectorAll('#running-rows code').length === 1")
    seen = set()
    while tab.text("#state") == "running":
        seen.add(tab.text(".tile:nth-child(4) .value"))
    assert tab.wait_for("document.querySelector('#state').textContent") == "finished"
    assert len(seen) > 4, "it follows"
    assert "over 4 fresh instances" in tab.get("document.querySelector('#figure-boxes .title').textContent")
    winner = tab.get("document.querySelector('tr.winner code').textContent")
    assert winner in tab.text("#verdict")
    assert "RuntimeError: synthetic failure" in tab.get("document.querySelector('#failures-groups').textContent")
    assert "above the cutoff" in tab.get("document.querySelector('#left-rows').textContent")
    assert tab.get("window.shift") < 0.1, f"nothing jumps: {tab.get('window.shifted')}"
    assert process.wait(120) == 0
    assert winner in process.stdout.read()
    tab.wait_for("document.querySelector('#link').textContent.startsWith('no link')")
    assert tab.complaints == [] or all("ERR_" in one for one in tab.complaints)  # the server has ended


@pytest.fixture
def finished(start, tab, tmp_path):
    """The address of a finished search with failures, in a server of all."""
    file = write_search(tmp_path)
    run = command("run", file, "--run-dir", tmp_path / "runs" / "one", "--set", "workload.fail=0.2")
    assert start(*run, cwd=tmp_path, stdout=subprocess.DEVNULL).wait(120) == 0
    process = start(*command("watch", "--runs", tmp_path / "runs"), cwd=tmp_path)
    return re.search(r"http://\S+", process.stdout.readline())[0]


def test_keys_are_enough_and_the_dark_is_dark(tab, finished, tmp_path):
    runs = tmp_path / "runs"
    tab.window(1300, 900, dark=True)
    tab.visit(finished)
    tab.wait_for("!!document.querySelector('#runs a')")
    while tab.get("document.activeElement.textContent") != "one":
        tab.press("Tab")
    (runs / "another").mkdir()
    shutil.copy(runs / "one" / JOURNAL, runs / "another")
    tab.wait_for("document.querySelectorAll('#runs a').length === 2")
    assert tab.get("document.activeElement.textContent") == "one", "what is drawn again keeps the focus"
    tab.press("Enter")
    tab.wait_for("document.querySelector('#state')?.textContent === 'finished'")
    background = tab.get("getComputedStyle(document.body).backgroundColor")
    assert max(map(int, re.findall(r"\d+", background)[:3])) < 60
    tab.wait_for("!!document.querySelector('#failures-groups summary')")
    for _ in range(60):
        tab.press("Tab")
        if tab.get("document.activeElement.tagName") == "SUMMARY":
            break
    tab.press("Enter")
    assert tab.get("document.querySelector('#failures-groups details').open")
    assert "Traceback" in tab.text("#failures-groups pre")
    assert tab.complaints == []


def test_nothing_is_wider_than_the_window(tab, finished):
    for width in (1300, 760, 420):
        tab.window(width, 900)
        tab.visit("about:blank")
        tab.visit(finished + "runs/one/")
        tab.wait_for("document.querySelector('#state')?.textContent === 'finished'")
        assert tab.get("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, width
        assert tab.get("[...document.querySelectorAll('.tile .value')].every((e) => e.scrollWidth <= e.clientWidth)")


@pytest.mark.long
def test_finalists_are_watched_until_one_has_won(start, tab, tmp_path):
    settings = ["workload.seconds=0.1", "race.confirm=30", "race.finalists=4", "workload.epochs=1"]
    process = watched(start, tab, tmp_path, settings)
    tab.wait_for("document.querySelector('#to-finalists')?.hidden === false")
    tab.wait_for("document.querySelectorAll('#finalists-rows code').length === 4")
    seen = set()
    while not tab.get("!!document.querySelector('#finalists-rows tr.winner')"):
        seen.add(
            tab.get("[...document.querySelectorAll('#finalists-rows td:nth-child(4)')].map(e => e.textContent).join()")
        )
    assert len(seen) > 3, "it follows"
    assert tab.wait_for("document.querySelector('#state').textContent === 'finished'")
    winner = tab.get("document.querySelector('#finalists-rows tr.winner code').textContent")
    assert winner == tab.get("document.querySelector('#table-rows tr.winner code').textContent")
    assert winner in tab.text("#verdict")
    assert re.search(r"\d to \d", tab.get("document.querySelector('#finalists-rows tr.winner').innerText"))
    jumps = f"nothing jumps, but the figures when the verdict comes in above them: {tab.get('window.shifted')}"
    assert tab.get("window.shift") < 0.15, jumps
    assert process.wait(120) == 0
