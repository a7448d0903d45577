"""What holds for every request, and for every response."""

import asyncio
import ipaddress
import logging
import time
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlprompt.serve.metrics import Counts
from vlprompt.serve.schemas import Problem

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# How much of a refused request's body is read, in bytes and seconds, before the answer.
DROPPED_BYTES, DROPPED_SECONDS = 200_000_000, 10.0
# Scripts, styles and requests of the page's own host only, no HTML from strings, and no frame of others around it.
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for "
    "'script'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether an address, or a name, is this machine's own to itself."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Gate:
    """Turns away what came by a foreign name or from a foreign page, adds headers, counts, and answers if code fails.

    A page of another host can have its name point to 127.0.0.1 and then read what a server there says (DNS rebinding).
    So a server of the loopback address answers to names of the loopback address only.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, counts: Counts) -> None:
        self._app, self._loopback, self._counts = app, loopback, counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0
        # Who expects to be told to go on has sent no body yet.
        body = _Body(receive, arriving="expect" not in Headers(scope=scope))

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400 and status != 408:  # which had its time
                    await body.drop()
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            refusal = self._refusal(scope)
            await (refusal.response if refusal else self._app)(scope, body.receive, send_on)
        except Exception:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            if not status:
                await Problem(500, "the server failed; its log says why").response(scope, body.receive, send_on)
        finally:
            self._count(scope, status, time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self._loopback and not is_loopback(_host(headers.get("host", ""))):
            return Problem(421, "this server is for its own machine: use http://127.0.0.1 or http://localhost")
        if scope["method"] == "POST" and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return Problem(403, "pages of other hosts may not use this server")
        return None

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        self._counts.request(method, route, status, seconds)
        logger.debug("%s %s: %s in %.0f ms", method, route, status, 1000 * seconds)


class _Body:
    """A request's body on its way in."""

    def __init__(self, receive: Receive, *, arriving: bool) -> None:
        self._receive, self._arriving = receive, arriving

    async def receive(self) -> Message:
        """The next part."""
        message = await self._receive()
        self._arriving = message.get("more_body", False)
        return message

    async def drop(self) -> None:
        """Read the rest, within limits. Who sends all of it before reading would get a reset, and no answer."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DROPPED_SECONDS):
                while self._arriving and dropped < DROPPED_BYTES:
                    dropped += len((await self.receive()).get("body", b""))


def _host(header: str) -> str:
    """The name in a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
