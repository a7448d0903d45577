"""Server process: listening socket, connections and shutdown."""

import asyncio
import errno
import logging
import math
import os
import socket
import warnings
from contextlib import suppress

import uvicorn
from PIL import Image
from uvicorn.protocols.http.h11_impl import H11Protocol

from vlprompt.errors import VLPromptError
from vlprompt.serve.app import create_app
from vlprompt.serve.middleware import is_loopback
from vlprompt.serve.service import Service

TOKEN = "VLPROMPT_TOKEN"
TOKEN_LENGTH = 16
CONNECTIONS = 1000
# Seconds for the head of a request. uvicorn closes idle connections only after a first response.
HEAD_SECONDS = 10.0
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


def run(service: Service, listening: socket.socket, *, token: str | None, loopback: bool) -> bool:
    """Serve until SIGTERM or Ctrl-C, then answer all accepted requests and return.

    Args:
        service: service to run.
        listening: listening socket.
        token: bearer token, see `create_app`.
        loopback: whether the socket is on the loopback interface, see `create_app`.

    Returns:
        True if all accepted requests were answered; False if a second Ctrl-C stopped the server at once.
    """
    config = uvicorn.Config(
        create_app(service, token=token, loopback=loopback),
        http=HeadTimeoutProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        # By then every accepted request has a response, at the latest by its timeout.
        timeout_graceful_shutdown=math.ceil(2 * service.limits.timeout) + 1,
    )
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `Limits.pixels` refuses such images
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # the response reports a malformed form
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # uvicorn raises it again when it has finished
        server.run(sockets=[listening])
    if server.force_exit:
        return False
    service.close()
    return True


class HeadTimeoutProtocol(H11Protocol):
    """uvicorn's HTTP/1.1 protocol with a time limit for the head of a request."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit for a head."""
        super().connection_made(transport)
        self._update_deadline()

    def data_received(self, data: bytes) -> None:
        """Cancel the time limit if the head is complete."""
        super().data_received(data)
        self._update_deadline()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit."""
        super().connection_lost(exc)
        if self._deadline:
            self._deadline.cancel()

    def _update_deadline(self) -> None:
        if self._responding:
            if self._deadline:
                self._deadline.cancel()
            self._deadline = None
        elif not self._deadline:
            self._deadline = self.loop.call_later(HEAD_SECONDS, self._close)

    def _close(self) -> None:
        self._deadline = None
        if not self._responding:
            self.transport.close()

    @property
    def _responding(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete
