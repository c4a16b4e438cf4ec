"""Who may see the live page: a browser of this machine, or whoever has the token."""

from __future__ import annotations

import secrets
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "[::1]")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "cross-origin-resource-policy": "same-origin",
}


class Guard:
    """Lets through what may see the pages.

    Without a `token`: requests to a name of this machine. A page of somebody else's whose name is made to point here
    (DNS rebinding) comes with its own name and is refused. With one: requests that bring it, as `?token=`, which leaves
    it in a `cookie` and disappears from the address, or as `Authorization: Bearer`.
    """

    def __init__(self, app: ASGIApp, token: str | None, cookie: str) -> None:
        self.app, self.token, self.cookie = app, token, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def also(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message["headers"],
                    *((name.encode(), value.encode()) for name, value in _HEADERS.items()),
                ]
            await send(message)

        refused = self._refused(scope)
        await (self.app if refused is None else refused)(scope, receive, also)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self.token is None:
            hosts = headers.getlist("host")
            if len(hosts) == 1 and _name(hosts[0]) in LOCAL:
                return None
            return PlainTextResponse(
                "raysearch watch answers to 127.0.0.1 and localhost only. From another machine: "
                "`ssh -L 8420:127.0.0.1:8420 THIS_MACHINE`, or `raysearch watch --host 0.0.0.0`, with a token\n",
                403,
            )
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        brought = dict(query).get("token")
        if brought is not None and self._right(brought):
            rest = urlencode([(name, value) for name, value in query if name != "token"])
            # of this server: a path that begins with two slashes would name another
            path = "/" + scope["path"].lstrip("/") + ("?" + rest if rest else "")
            response = RedirectResponse(path, 303)
            response.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
            return response
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        kept = cookie_parser(headers.get("cookie", "")).get(self.cookie, "")
        if (kind.lower() == "bearer" and self._right(bearer)) or self._right(kept):
            return None
        return PlainTextResponse("Open the address that `raysearch watch` printed: it holds a token.\n", 401)

    def _right(self, brought: str) -> bool:
        return secrets.compare_digest(brought.encode(), (self.token or "").encode())


def _name(host: str) -> str:
    """Return a Host header without its port, in small letters."""
    name, bracket, _ = host.lower().partition("]")
    return name + bracket if bracket else name.partition(":")[0]
