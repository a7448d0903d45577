"""Server process: listening socket, connections and shutdown."""

import asyncio
import errno
import logging
import math
import os
import socket
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vlprompt.errors import VLPromptError
from vlprompt.serve.app import create_app
from vlprompt.serve.middleware import is_loopback
from vlprompt.serve.service import Service

TOKEN = "VLPROMPT_TOKEN"
TOKEN_LENGTH = 16
CONNECTIONS = 1000
# Seconds for the head of a request, and from a response to the next head; uvicorn has a setting for the latter only.
HEAD_SECONDS, IDLE_SECONDS = 10.0, 5
# Socket option: milliseconds until Linux, which buffers megabytes of responses, gives up a client that takes none.
UNREAD = getattr(socket, "TCP_USER_TIMEOUT", None)
HOW = f'set {TOKEN}, for example to $(python -c "import secrets; print(secrets.token_urlsafe())")'


def check_access(host: str, token: str | None, *, allow_edit: bool) -> None:
    """Check that a server has a strong token if it is reachable from other machines or editable.

    Raises:
        VLPromptError: the token is missing or weak.
    """
    if token is None:
        if not is_loopback(host):
            raise VLPromptError(f"`host` {host} is reachable from other machines, which needs a `token`; {HOW}")
        if allow_edit:
            raise VLPromptError(f"`allow_edit` needs a `token`; {HOW}")
    elif len(token) < TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise VLPromptError(
            f"`token` must have at least {TOKEN_LENGTH} printable ASCII characters and no spaces; {HOW}"
        )


def listen(host: str, port: int) -> socket.socket:
    """Open a listening socket; port 0 stands for any free port.

    Raises:
        VLPromptError: the address or port cannot be used.
    """
    listening = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # socket.create_server leaves the protocol at 0; asyncio then keeps Nagle's algorithm, which delays responses by
        # 40 ms.
        listening = socket.socket(family, kind, protocol)
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(CONNECTIONS)
        return listening
    except (OSError, UnicodeError) as error:
        if listening is not None:
            listening.close()
        code = getattr(error, "errno", None)
        if code == errno.EADDRINUSE:
            raise VLPromptError(f"`port` {port} is in use; choose another, or 0 for any free port") from error
        if code == errno.EACCES:
            raise VLPromptError(f"`port` {port}: permission denied; use a port of 1024 or above") from error
        raise VLPromptError(
            f"`host` must be an address of this machine, such as 127.0.0.1 or 0.0.0.0, got {host}"
        ) from error


def address_of(listening: socket.socket, host: str) -> str:
    """Return the URL of a listening socket."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def run(service: Service, listening: socket.socket, *, token: str | None, loopback: bool) -> int:
    """Serve until SIGTERM or Ctrl-C, then answer all accepted requests and return.

    Connections that are still open after `Limits.grace` seconds are aborted. Running decoders are not waited for. A
    second signal aborts all connections at once.

    Args:
        service: service to run.
        listening: listening socket.
        token: bearer token, see `create_app`.
        loopback: whether the socket is on the loopback interface, see `create_app`.

    Returns:
        The number of aborted connections. 0 if all accepted requests were answered.

    Raises:
        KeyboardInterrupt: a second signal stopped the server at once.
    """
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the response reports a malformed form
    server = make_server(service, token=token, loopback=loopback)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has finished
        server.run(sockets=[listening])
    if server.force_exit:
        raise KeyboardInterrupt
    service.close()
    return server.aborted


def make_server(service: Service, *, token: str | None = None, loopback: bool = True) -> "HTTPServer":
    """Create uvicorn's server of a service; see `create_app`."""
    limits = service.limits
    config = uvicorn.Config(
        create_app(service, token=token, loopback=loopback),
        http=partial(HTTPConnection, send_seconds=limits.timeout),  # type: ignore[arg-type]  # called like a class
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        # A second after the connections were aborted, by when no request can be left.
        timeout_graceful_shutdown=math.ceil(limits.grace) + 1,
    )
    return HTTPServer(config, limits.grace)


class HTTPServer(uvicorn.Server):
    """uvicorn's server, which aborts the connections that are open at the end of the grace period.

    uvicorn itself cancels their tasks, which then wait for the client again, to send it the error.

    Attributes:
        aborted: number of connections aborted.
    """

    def __init__(self, config: uvicorn.Config, grace: float) -> None:
        super().__init__(config)
        self.aborted = 0
        self._grace = grace

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop, or stop at once at the second signal, of which uvicorn heeds only Ctrl-C."""
        self.force_exit = self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer all accepted requests, within the grace period."""
        for server in self.servers:
            server.close()
        await asyncio.sleep(0.1)  # or connections that were just accepted would not hear of it
        timer = asyncio.get_running_loop().call_later(self._grace, self._abort)
        await super().shutdown(sockets)
        timer.cancel()
        self._abort()  # what a second signal left open: its tasks are canceled, and would wait for the client

    def _abort(self) -> None:
        for connection in list(self.server_state.connections):
            assert isinstance(connection, HTTPConnection)
            connection.transport.abort()
            self.aborted += 1


class HTTPConnection(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with time limits for the head of a request, and for a client to take its response.

    Args:
        send_seconds: seconds that the client may take to read what is written, before the connection is aborted.
    """

    _head_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None

    def __init__(self, *arguments: Any, send_seconds: float, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._send_seconds = send_seconds

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for a head."""
        super().connection_made(transport)
        # Writing is paused whenever anything waits for the client, and resumed when the client has taken everything.
        transport.set_write_buffer_limits(high=0)
        if UNREAD is not None:
            milliseconds = math.ceil(1000 * self._send_seconds)
            transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, UNREAD, milliseconds)
        self._update_head_timer()

    def data_received(self, data: bytes) -> None:
        """Cancel the time limit if the head is complete."""
        super().data_received(data)
        self._update_head_timer()

    def pause_writing(self) -> None:
        """Start the time limit for the client."""
        super().pause_writing()
        self._send_timer = self.loop.call_later(self._send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the time limit for the client."""
        super().resume_writing()
        if self._send_timer:
            self._send_timer.cancel()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limits."""
        super().connection_lost(exc)
        for timer in (self._head_timer, self._send_timer):
            if timer:
                timer.cancel()

    def _update_head_timer(self) -> None:
        if self._responding:
            if self._head_timer:
                self._head_timer.cancel()
            self._head_timer = None
        elif not self._head_timer:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._close)

    def _close(self) -> None:
        self._head_timer = None
        if not self._responding:
            self.transport.close()

    @property
    def _responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete
