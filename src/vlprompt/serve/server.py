"""The service as a process: where it listens, and how it stops."""

import errno
import logging
import math
import os
import socket
import warnings
from contextlib import suppress

import uvicorn
from PIL import Image

from vlprompt.errors import VLPromptError
from vlprompt.serve.app import create_app
from vlprompt.serve.connections import Impatient
from vlprompt.serve.middleware import is_loopback
from vlprompt.serve.service import Service

TOKEN = "VLPROMPT_TOKEN"
TOKEN_LENGTH = 16
CONNECTIONS = 1000
HOW = f'set {TOKEN} to one, such as $(python -c "import secrets; print(secrets.token_urlsafe())")'


def check_access(host: str, token: str | None, *, allow_edit: bool) -> None:
    """VLPromptError where a server would be open to others, or to editing, without a token that is hard to guess."""
    if token is None:
        if not is_loopback(host):
            raise VLPromptError(f"--host {host} lets other machines in, which needs a token: {HOW}")
        if allow_edit:
            raise VLPromptError(f"--allow-edit needs a token: {HOW}")
    elif len(token) < TOKEN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise VLPromptError(f"the token needs {TOKEN_LENGTH} letters, digits or signs, or more, and no spaces: {HOW}")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one. VLPromptError where it cannot."""
    listening = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        family, kind, protocol, _, address = found[0]
        # Not socket.create_server, which leaves the protocol open: asyncio then lets answers wait for 40 ms (Nagle).
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
            raise VLPromptError(f"--port {port} is in use; choose another, or 0 for any that is free") from error
        if code == errno.EACCES:
            raise VLPromptError(f"--port {port}: you may not listen there; choose one from 1024 on") from error
        raise VLPromptError(f"--host {host}: it is no address of this machine; use 127.0.0.1 or 0.0.0.0") from error


def address_of(listening: socket.socket, host: str) -> str:
    """The URL to type."""
    return f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"


def run(service: Service, listening: socket.socket, *, token: str | None, loopback: bool) -> bool:
    """Answer until SIGTERM or Ctrl-C; then take nothing new, answer what was taken, and return.

    Returns:
        whether it was: not where Ctrl-C was pressed again meanwhile.
    """
    config = uvicorn.Config(
        create_app(service, token=token, loopback=loopback),
        http=Impatient,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        # A request that was taken has its answer by then, if only that it took too long.
        timeout_graceful_shutdown=math.ceil(2 * service.limits.timeout) + 1,
    )
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # such a picture is refused by our own limit
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # nor does a broken form need two voices
    server = uvicorn.Server(config)
    with suppress(KeyboardInterrupt):  # which uvicorn raises again when it is done
        server.run(sockets=[listening])
    if server.force_exit:
        return False
    service.close()
    return True
