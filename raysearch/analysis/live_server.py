"""The live page: a server that reads journals and sends what has changed in them. It reads, and nothing else."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from raysearch.analysis.live import LiveRace, MakeRace
from raysearch.analysis.live_guard import Guard
from raysearch.analysis.live_runs import Overview
from raysearch.analysis.live_sections import Section, sections
from raysearch.errors import RaysearchError
from raysearch.storage.run_directory import JOURNAL, REPORT

_log = logging.getLogger(__name__)
_LOOK_EVERY_S, _SHOW_EVERY_S = 0.2, 0.5
"""Between two looks at a journal, and two views of it that are sent: together below the second that is promised."""
_READ_S = 0.7
"""For how long a journal is read before there is a view of it."""
_ALIVE_EVERY_S = 5.0
_END_EVERY_S = 0.5
"""How often an open page looks whether the server ends."""
_FIRST_S = 1.0
"""How long a page waits for its first view, before it is sent without one."""
_IDLE_S = 60.0
Steps = Iterator[dict[str, Section] | None]
"""Views of something that changes, for ever: all sections, or None where there is nothing new to see."""


class Channel:
    """Sends the views of one thing to all pages that show it; without pages it rests."""

    def __init__(self, steps: Callable[[], Steps]) -> None:
        self._steps, self._boot = steps, secrets.token_hex(4)
        self._texts: dict[str, tuple[int, str]] = {}
        """By section, the version that it changed with, and its JSON."""
        self._version = 0
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._n_pages, self._left_at = 0, time.monotonic()

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Follow as long as somebody looks, and a while longer."""
        self._n_pages += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            self._n_pages -= 1
            self._left_at = time.monotonic()

    def stop(self) -> None:
        """Follow no more."""
        if self._task is not None:
            self._task.cancel()

    def since(self, mark: str) -> tuple[str, str | None]:
        """Return the mark of now, and what has changed since `mark` as JSON; None where nothing has."""
        boot, _, version = mark.partition(".")
        seen = int(version) if boot == self._boot and version.isdecimal() else -1
        news = [f'"{name}":{text}' for name, (at, text) in self._texts.items() if at > seen]
        return f"{self._boot}.{self._version}", "{" + ",".join(news) + "}" if news else None

    async def wait(self, mark: str, timeout_s: float) -> None:
        """Wait until something has changed since `mark`, at most so long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: self.since(mark)[1] is not None)

    async def _follow(self) -> None:
        steps = self._steps()
        while self._n_pages or time.monotonic() - self._left_at < _IDLE_S:
            try:
                shown = await asyncio.to_thread(next, steps)
            except Exception as error:  # a page that stands still in silence would look like a race that does
                _log.warning("the live page: %s: %s", type(error).__name__, error, exc_info=True)
                shown, steps = {"head": {"state": "damaged", "name": "", "error": f"{error!r}"[:300]}}, self._steps()
                await asyncio.sleep(1.0)
            if shown is not None:
                await self._take(shown)
            await asyncio.sleep(_LOOK_EVERY_S if shown is None else 0)

    async def _take(self, shown: dict[str, Section]) -> None:
        async with self._changed:
            for name, section in shown.items():
                text = json.dumps(section, separators=(",", ":"), allow_nan=False)
                if self._texts.get(name, (0, ""))[1] != text:
                    self._version += 1
                    self._texts[name] = (self._version, text)
            self._changed.notify_all()


def of_race(journal: Path, make_race: MakeRace, more: Callable[[], dict[str, Any]]) -> Steps:
    """Yield the views of one search: now and then while a long journal is read, then as it grows."""
    live, shown_at, news = LiveRace(journal, make_race), -1e9, True
    while True:
        try:
            end = time.monotonic() + _READ_S
            while live.read():
                news = True
                if time.monotonic() > end:
                    break
            now = time.monotonic()
            # time passes also where nothing happens, and a driver may have died
            due = now - shown_at >= (_SHOW_EVERY_S if news else 1.0)
            view = sections(live, more()) if due or not live.caught_up else None
        except RaysearchError as error:
            yield {"head": {"state": "damaged", "name": journal.parent.name, "error": str(error)}}
            live = LiveRace(journal, make_race)
            time.sleep(1.0)
            continue
        if view is not None:
            shown_at, news = now, False
        yield view


def of_all(overview: Overview) -> Steps:
    """Yield the views of all searches in a folder; `whole` once all of them have been read."""
    whole = False
    while True:
        for _ in overview.read():
            yield {"runs": {"rows": overview.rows, "root": str(overview.root), "whole": whole}}
        whole = True
        yield {"runs": {"rows": overview.rows, "root": str(overview.root), "whole": whole}}
        for _ in range(5):  # a second: a folder is looked through more rarely than a journal
            yield None


class Pages:
    """The pages of a server: of one search at `/`, or, where `run_dir` is None, all of `root` and each of its own."""

    def __init__(
        self, make_race: MakeRace, run_dir: Path | None, root: Path, more: Callable[[], dict[str, Any]] = dict
    ) -> None:
        self._make_race, self._run_dir, self._more = make_race, run_dir, more
        self._overview = Overview(root, make_race)
        self._channels: dict[str, Channel] = {}
        self.ending = False
        """Set it to end the streams of all open pages."""
        loader = jinja2.FileSystemLoader(Path(__file__).parent)
        self._jinja = jinja2.Environment(
            loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )

    def app(self, token: str | None = None, cookie: str = "raysearch") -> Guard:
        """Return the application, guarded: for this machine only, or, with a `token`, for whoever has it."""
        routes = [
            Route("/", self._page),
            Route("/events", self._events),
            Route("/report.html", self._report),
            Route("/favicon.ico", lambda request: Response(status_code=204)),
        ]
        if self._run_dir is None:
            below = (("", self._page), ("events", self._events), ("report.html", self._report))
            routes += [Route(f"/runs/{{name}}/{path}", endpoint) for path, endpoint in below]
        return Guard(Starlette(routes=routes, lifespan=self._lifespan), token, cookie)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        if self._run_dir is not None:  # reads on from the start, so that the first page finds all of it
            with self._channel(self._run_dir).open():
                pass
        yield
        for channel in self._channels.values():
            channel.stop()

    def _dir_of(self, request: Request) -> Path | None:
        """Return the run directory that a request is for, None for that of all; raises KeyError for an unknown one."""
        name = request.path_params.get("name")
        if name is None:
            return self._run_dir
        if name not in self._overview.names():
            raise KeyError(name)
        return self._overview.root / str(name)

    def _channel(self, run_dir: Path | None) -> Channel:
        def steps() -> Steps:
            return (
                of_all(self._overview) if run_dir is None else of_race(run_dir / JOURNAL, self._make_race, self._more)
            )

        return self._channels.setdefault(str(run_dir), Channel(steps))

    async def _page(self, request: Request) -> Response:
        try:
            run_dir = self._dir_of(request)
        except KeyError as error:
            return PlainTextResponse(f"no search {error} below {self._overview.root}", 404)
        channel = self._channel(run_dir)
        with channel.open():
            mark, data = channel.since("")
            if data is None:
                await channel.wait(mark, _FIRST_S)
                mark, data = channel.since("")
        kind = "live_runs" if run_dir is None else "live"
        script = self._jinja.get_template("live_figures.js.j2").render() if run_dir is not None else ""
        script += self._jinja.get_template(f"{kind}.js.j2").render()
        html = self._jinja.get_template(f"{kind}.html.j2").render(
            name="searches" if run_dir is None else run_dir.name,
            script=Markup(script),  # ours, and without values
            # within a script element nothing ends it but its own end
            data=Markup((data or "{}").replace("<", "\\u003c")),
            mark=mark,
            one_of_many=self._run_dir is None,
        )
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        policy = f"default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        policy += "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        return HTMLResponse(html, headers={"Content-Security-Policy": policy})

    async def _events(self, request: Request) -> Response:
        try:
            channel = self._channel(self._dir_of(request))
        except KeyError:
            return PlainTextResponse("no such search", 404)
        first = request.headers.get("last-event-id") or request.query_params.get("since", "")

        async def stream() -> AsyncIterator[str]:
            mark = first
            with channel.open():
                yield "retry: 1000\n\n"
                said = 0.0
                while not self.ending:
                    mark, news = channel.since(mark)
                    if news is not None or time.monotonic() - said > _ALIVE_EVERY_S:
                        said = time.monotonic()
                        yield ":\n\n" if news is None else f"id: {mark}\ndata: {news}\n\n"
                    await channel.wait(mark, _END_EVERY_S)

        return StreamingResponse(stream(), media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def _report(self, request: Request) -> Response:
        try:
            run_dir = self._dir_of(request)
        except KeyError:
            run_dir = None
        if run_dir is None or not (run_dir / REPORT).is_file():
            return PlainTextResponse("there is no report yet: `raysearch report RUN_DIR` writes it", 404)
        return FileResponse(run_dir / REPORT, media_type="text/html")
