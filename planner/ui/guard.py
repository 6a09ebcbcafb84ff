"""Decides who may speak to the server, before any route sees a request.

In: ASGI requests. Out: the same requests, or a refusal in words; every answer gets headers that
keep it private. Convention: a request needs the right host, no foreign origin, and the token; what
changes something needs our origin and the key that only our page has.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HOST = "127.0.0.1"
KEY_HEADER = "x-planner-key"
MOST_BODY_BYTES = 1 << 16
_TOKEN_BYTES = 32
_METHODS = ("GET", "HEAD", "POST")
_OWN_SITES = ("same-origin", "none")
# Of the page itself: files of this server alone, no inline script, in no frame of others.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; frame-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
# Of a result's page, which has its script in it: an origin of its own, no network, no forms.
RESULT_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: "
    "blob:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'; "
    "sandbox allow-scripts allow-downloads"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


@dataclass(slots=True, kw_only=True)
class Secrets:
    """The secrets of one server: the token of its URL, and the key that its page sends."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    key: str = field(default_factory=lambda: secrets.token_urlsafe(_TOKEN_BYTES))
    ticket: str | None = None
    """Stands for the token once: other users can read the words that start a browser."""

    def new_ticket(self) -> str:
        """Returns a new ticket, good for one request."""
        self.ticket = secrets.token_urlsafe(_TOKEN_BYTES)
        return self.ticket

    def is_token(self, text: str) -> bool:
        """Returns whether the text is the token, in a time that says nothing of it."""
        return _same(text, self.token)

    def is_key(self, text: str) -> bool:
        """Returns whether the text is the key."""
        return _same(text, self.key)

    def takes_ticket(self, text: str) -> bool:
        """Returns whether the text is the ticket, which is then used up."""
        if self.ticket is None or not _same(text, self.ticket):
            return False
        self.ticket = None
        return True


class Guard:
    """The middleware around all routes."""

    def __init__(self, app: ASGIApp, *, secrets: Secrets, port: int) -> None:
        self._app = app
        self._secrets = secrets
        self._hosts = tuple(f"{name}:{port}" for name in (HOST, "localhost"))
        self._cookie = f"planner_ui_{port}"  # cookies do not know ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it with a refusal."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        refusal = self._refusal(scope, headers)
        came_with = None if refusal else self._came_with(scope, headers)
        if refusal is None and came_with is None:
            refusal = PlainTextResponse(
                "The token is missing or wrong. Open the address that planner ui has printed.\n",
                403,
            )
        if refusal is None and scope["method"] == "POST":
            refusal = self._refused_post(headers)
        protected = self._protected(send, sets_cookie=came_with == "query")
        if refusal is not None:
            await refusal(scope, receive, protected)
        else:
            await self._app(scope, receive, protected)

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        """Returns the answer to a request that no page of ours has sent."""
        if headers.getlist("host") not in ([one] for one in self._hosts):
            return PlainTextResponse(f"This server answers as {self._hosts[0]} alone.\n", 403)
        if scope["method"] not in _METHODS:
            return PlainTextResponse("GET and POST alone.\n", 405)
        own = f"http://{headers['host']}"
        if any(origin != own for origin in headers.getlist("origin")):
            return PlainTextResponse("Other origins are refused.\n", 403)
        site = headers.get("sec-fetch-site")
        # A link in a terminal of the web leads here from another site: to the first page alone,
        # and in no frame.
        is_entry = scope["path"] == "/" and headers.get("sec-fetch-dest") == "document"
        if site is not None and site not in _OWN_SITES and not is_entry:
            return PlainTextResponse("Requests of other sites are refused.\n", 403)
        return None

    def _came_with(self, scope: Scope, headers: Headers) -> str | None:
        """Returns where the token was: "cookie" or "query"; None if it was not there."""
        if any(self._secrets.is_token(one) for one in self._cookies(headers)):
            return "cookie"
        if scope["path"] != "/":
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if any(self._secrets.is_token(one) for one in query.get("token", ())):
            return "query"
        if any(self._secrets.takes_ticket(one) for one in query.get("ticket", ())):
            return "query"
        return None

    def _cookies(self, headers: Headers) -> Sequence[str]:
        found = []
        for text in headers.getlist("cookie"):
            try:
                jar = SimpleCookie(text)
            except CookieError:
                continue
            found += [one.value for name, one in jar.items() if name == self._cookie]
        return found

    def _refused_post(self, headers: Headers) -> Response | None:
        """Returns the answer to a POST that our page has not sent."""
        site = headers.get("sec-fetch-site")
        if not headers.getlist("origin") or (site is not None and site != "same-origin"):
            return PlainTextResponse("A POST needs the origin of this page.\n", 403)
        if not self._secrets.is_key(headers.get(KEY_HEADER, "")):
            return PlainTextResponse(f"A POST needs the header {KEY_HEADER} of this page.\n", 403)
        if headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return JSONResponse({"error": "the body must be JSON"}, 415)
        length = headers.get("content-length", "")
        if not length.isdecimal() or int(length) > MOST_BODY_BYTES:
            return JSONResponse({"error": "the body is too long, or its length is missing"}, 413)
        return None

    def _protected(self, send: Send, *, sets_cookie: bool) -> Send:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", PAGE_POLICY)
                if sets_cookie:
                    headers.append(
                        "Set-Cookie",
                        f"{self._cookie}={self._secrets.token}; Path=/; HttpOnly; SameSite=Strict",
                    )
            await send(message)

        return with_headers


def _same(text: str, wanted: str) -> bool:
    return hmac.compare_digest(text.encode(), wanted.encode())
