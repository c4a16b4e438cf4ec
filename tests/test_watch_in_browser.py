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
SHIFT = """new PerformanceObserver((list) => {
  window.shift = (window.shift || 0) + list.getEntries().reduce((sum, one) => sum + one.value, 0);
}).observe({ type: "layout-shift", buffered: true });"""


@pytest.fixture
def tab(tmp_path):
    with browser(tmp_path / "profile") as opened:
        opened.window(1300, 900)
        yield opened


def test_a_race_is_watched_from_its_start_to_its_end(start, tab, tmp_path):
    settings = ["workload.seconds=0.5", "workload.fail=0.1", "race.retries=1", "workload.epochs=5"]
    process = start(
        *command("run", write_search(tmp_path), "--watch", "--run-dir", tmp_path / "run"),
        *[word for setting in settings for word in ("--set", setting)],
        stderr=subprocess.DEVNULL,
    )
    address = wait_for("an address", lambda: re.search(r"http://\S+", process.stdout.readline()), by=process)[0]
    journal = tmp_path / "run" / JOURNAL  # on a busy machine the search must not be over before anybody looks
    wait_for("a beginning", lambda: journal.exists() and b'"event":"ask"' in journal.read_bytes(), by=process)
    ask(journal.parent, Request("pause"))
    tab.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFT)
    tab.visit(address)
    tab.wait_for("document.querySelector('#state')?.textContent === 'paused'")
    ask(journal.parent, Request("unpause"))
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
    assert tab.get("window.shift || 0") < 0.1, "nothing jumps"
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
