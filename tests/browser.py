"""A real browser without a window, spoken to over a pipe in Chromium's own protocol: no driver, no port."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync")


class Tab:
    """One page."""

    def __init__(self, to: int, back: int) -> None:
        self._to, self._back, self._n, self._read = to, back, 0, b""
        self._session: str | None = None
        self.complaints: list[str] = []
        """Errors of scripts, and what the page was not allowed to do."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.n_bytes = 0
        """What has come over the network."""

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._n += 1
        message: dict[str, Any] = {"id": self._n, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self._n:
                assert "error" not in said, said["error"]
                return said["result"]
            self._hear(said)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            part = os.read(self._back, 1 << 16)
            assert part, "the browser has ended"
            self._read += part
        text, _, self._read = self._read.partition(b"\0")
        return json.loads(text)

    def _hear(self, said: dict[str, Any]) -> None:
        parameters = said.get("params", {})
        match said.get("method"):
            case "Runtime.exceptionThrown":
                self.complaints.append(str(parameters["exceptionDetails"].get("exception", parameters))[:500])
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                self.complaints.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}"[:500])
            case "Network.dataReceived":
                self.n_bytes += parameters["dataLength"]

    def visit(self, address: str) -> None:
        """Open an address."""
        self.call("Page.navigate", url=address)

    def get(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        done = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, script: str, timeout_s: float = 60.0) -> Any:
        """Return the value of an expression once it is true."""
        end = time.monotonic() + timeout_s
        while not (value := self.get(script)):
            assert time.monotonic() < end, f"waited {timeout_s:g} s for {script}"
            time.sleep(0.05)
        return value

    def text(self, selector: str) -> str:
        """Return the text of the first element that a selector finds."""
        return str(self.get(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        text = {"text": "\r"} if key == "Enter" else {}
        code = {"Tab": 9, "Enter": 13}[key]
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def look(self, path: Path, *, whole: bool = True) -> None:
        """Keep a picture of the page, or of what a window shows of it."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def window(self, width: int, height: int, *, dark: bool = False, scale: float = 1.0) -> None:
        """Set the size of the window [px] and whether its user likes it dark."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=False
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Tab]:
    """Start a browser with one page; it ends with the block."""
    assert BROWSER is not None
    to_it, to_us = os.pipe(), os.pipe()

    def plug() -> None:  # the protocol's pipes are numbers 3 and 4
        ours, theirs = os.dup(to_it[0]), os.dup(to_us[1])
        os.dup2(ours, 3)
        os.dup2(theirs, 4)

    process = subprocess.Popen(
        [BROWSER, *_FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"],
        preexec_fn=plug,
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_it[0])
    os.close(to_us[1])
    try:
        tab = Tab(to_it[1], to_us[0])
        yield tab
        tab._session = None
        tab.call("Browser.close")
    finally:
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        os.close(to_it[1])
        os.close(to_us[0])
