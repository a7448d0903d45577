"""Middleware for every request: allowed hosts and origins, security headers, metrics, internal errors."""

import asyncio
import ipaddress
import logging
import time
from contextlib import suppress

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vlprompt.serve.metrics import Metrics
from vlprompt.serve.schemas import Problem

logger = logging.getLogger(__name__)

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
# Limits on reading the body of a refused request before the response, in bytes and seconds.
DROPPED_BYTES, DROPPED_SECONDS = 200_000_000, 10.0
# Allows scripts, styles and requests of the page's own origin only; forbids HTML from strings, and framing.
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
    """Return whether an address or name is this machine's loopback interface."""
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class ServiceMiddleware:
    """Middleware that refuses foreign hosts and origins, adds headers, counts requests and handles internal errors.

    A page of another host can let its name resolve to 127.0.0.1 and then read the responses of a server there (DNS
    rebinding). So a server on the loopback interface accepts only loopback names in the Host header. Starlette's
    TrustedHostMiddleware compares with a list of names, while loopback is a network (127.0.0.0/8 and ::1); it also
    responds in plain text, and older releases do not split the port off an IPv6 address.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, metrics: Metrics) -> None:
        self._app, self._loopback, self._metrics = app, loopback, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0
        # A client that sends `Expect: 100-continue` waits for a response before it sends the body.
        body = _Body(receive, arriving="expect" not in Headers(scope=scope))

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if status >= 400 and status != 408:  # 408: the body was already waited for
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
                problem = Problem(500, "internal error; see the server's log")
                await problem.response(scope, body.receive, send_on)
        finally:
            self._count(scope, status, time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        if self._loopback and not is_loopback(_host(headers.get("host", ""))):
            return Problem(
                421, "this server accepts requests from its own machine only; use http://127.0.0.1 or http://localhost"
            )
        if scope["method"] == "POST" and _from_other_site(headers):
            return Problem(403, "pages of other origins may not use this server")
        return None

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        # Unknown methods and paths share one label, so that clients cannot create time series.
        method = scope["method"] if scope["method"] in METHODS else "other"
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.count_request(method, route, status, seconds)
        logger.debug("%s %s: %s in %.0f ms", method, route, status, 1000 * seconds)


class _Body:
    """Body of a request while it arrives."""

    def __init__(self, receive: Receive, *, arriving: bool) -> None:
        self._receive, self._arriving = receive, arriving

    async def receive(self) -> Message:
        """Return the next part."""
        message = await self._receive()
        self._arriving = message.get("more_body", False)
        return message

    async def drop(self) -> None:
        """Read the rest, within limits: a client that sends everything before reading would otherwise see a reset."""
        dropped = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DROPPED_SECONDS):
                while self._arriving and dropped < DROPPED_BYTES:
                    dropped += len((await self.receive()).get("body", b""))


def _from_other_site(headers: Headers) -> bool:
    """Return whether a page of another origin sent a request. Programs other than browsers send neither header.

    Browsers before 2023 do not send Sec-Fetch-Site, and none sends it to a plain http:// address of another machine.
    """
    if site := headers.get("sec-fetch-site"):
        return site not in ("none", "same-origin")
    origin = headers.get("origin")
    return origin is not None and origin.partition("://")[2].lower() != headers.get("host", "").lower()


def _host(header: str) -> str:
    """Return the host of a Host header, without its port."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0]
