import json
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

import vlprompt
from tests.helpers.client import TOKEN
from tests.helpers.server import server
from vlprompt import Backbone
from vlprompt.serve import server as server_module
from vlprompt.serve.limits import Limits
from vlprompt.serve.service import Service

HEALTH = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def port(run: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.4)
    with server(vlprompt.load_classifier(run, backbone=backbone)) as address:
        yield int(address.rpartition(":")[2])


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def answer(connection: socket.socket) -> bytes:
    """Read a complete response: head and JSON."""
    read = b""
    while not read.endswith(b"}"):
        read += connection.recv(4096)
    return read


def closed_after(connection: socket.socket) -> float:
    begun = time.monotonic()
    assert connection.recv(1) == b""
    return time.monotonic() - begun


def test_idle_connection_is_closed(port: int) -> None:
    with connect(port) as connection:
        assert 0.2 < closed_after(connection) < 1.5


@pytest.mark.parametrize("before", [b"", HEALTH], ids=["the first", "the next"])
def test_slow_request_head_is_cut_off(port: int, before: bytes) -> None:
    with connect(port) as connection:
        if before:
            connection.sendall(before)
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
        begun = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - begun < 5:
                connection.sendall(b"G")
                time.sleep(0.1)
        assert time.monotonic() - begun < 2


def test_slow_body_is_accepted_within_the_timeout(port: int) -> None:
    with connect(port) as connection:
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.8)
        connection.sendall(b"{}")
        assert answer(connection).startswith(b"HTTP/1.1 415 ")
        time.sleep(0.8)
        connection.sendall(HEALTH)
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("predict", {"Authorization": f"Bearer {TOKEN}"}, 413),
        ("classes", {"Authorization": f"Bearer {TOKEN}"}, 403),
        ("predict", {"Authorization": f"Bearer {TOKEN}", "Sec-Fetch-Site": "cross-site"}, 403),
        ("predict", {}, 401),
    ],
    ids=["too large", "not editable", "of a foreign page", "no token"],
)
def test_refusal_reaches_a_client_that_sends_first(
    run: Path, backbone: Backbone, path: str, headers: dict[str, str], status: int
) -> None:
    with server(vlprompt.load_classifier(run, backbone=backbone), token=TOKEN) as address:
        request = urllib.request.Request(f"{address}/v1/{path}", bytes(60_000_000), headers)
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == status and set(json.load(refused.value)) == {"error"}


def test_expect_100_continue_is_refused_at_once(port: int) -> None:
    with connect(port) as connection:
        length = b"Content-Length: 60000000\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n" + length)
        assert answer(connection).startswith(b"HTTP/1.1 413 ")


@pytest.fixture
def impatient(run: Path, backbone: Backbone) -> Iterator[int]:
    with server(vlprompt.load_classifier(run, backbone=backbone), timeout=0.6) as address:
        yield int(address.rpartition(":")[2])


def stubborn(port: int, request: bytes) -> socket.socket:
    """Connect with a small window, send requests until the server takes no more, and never read."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", port))
    connection.settimeout(0.3)
    with suppress(OSError):
        for _ in range(2000):
            connection.sendall(request)
    return connection


def cut_off(connection: socket.socket, seconds: float) -> bool:
    """Return whether the server resets a connection that nothing is read from, within some seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            connection.send(b"x")
        except TimeoutError:
            pass
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("path", ["openapi.json", "page/app.js", "v1/classes", "missing"])
def test_client_that_never_reads_is_cut_off(impatient: int, path: str) -> None:
    with stubborn(impatient, f"GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()) as connection:
        assert cut_off(connection, 20)
    with connect(impatient) as connection:
        connection.sendall(HEALTH)
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def test_client_that_reads_slowly_gets_all_answers(impatient: int) -> None:
    with connect(impatient) as connection:
        connection.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        read = b""
        while part := connection.recv(4096):
            read += part
            time.sleep(0.02)
    head, _, body = read.partition(b"\r\n\r\n")
    assert json.loads(body)["openapi"] and head.startswith(b"HTTP/1.1 200 ")


SILENT = {
    "nothing": (b"", 0.4),
    "half a head": (b"GET / HTTP/1.1\r\nHo", 0.4),
    "not HTTP": (b"\x16\x03\x01\x02\x00", 0.0),
    "half a body": (b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", 0.6),
    "half a chunk": (b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{", 0.6),
    "a request": (HEALTH, 0.5),
    "a body that nobody reads": (b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", 0.5),
}


@pytest.mark.parametrize("name", SILENT)
def test_silent_connections_are_closed(
    run: Path, backbone: Backbone, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    sent, after = SILENT[name]
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(server_module, "IDLE_SECONDS", 0.5)
    with (
        server(vlprompt.load_classifier(run, backbone=backbone), timeout=0.6) as address,
        connect(int(address.rpartition(":")[2])) as connection,
    ):
        connection.sendall(sent)
        begun = time.monotonic()
        while connection.recv(4096):
            pass
        took = time.monotonic() - begun
    assert after - 0.1 < took < after + 5


def test_stop_aborts_what_is_left(run: Path, backbone: Backbone) -> None:
    begun = time.monotonic()
    with server(vlprompt.load_classifier(run, backbone=backbone), timeout=0.5) as address:
        held = [stubborn(int(address.rpartition(":")[2]), HEALTH) for _ in range(3)]
        begun = time.monotonic()
    assert time.monotonic() - begun < 10
    for connection in held:
        connection.close()


def test_second_signal_stops_at_once(run: Path, backbone: Backbone) -> None:
    service = Service(vlprompt.load_classifier(run, backbone=backbone), Limits(timeout=30))
    with server_module.listen("127.0.0.1", 0) as listening:
        running = server_module.make_server(service)
        thread = Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        port = listening.getsockname()[1]
        with connect(port) as connection:
            connection.sendall(HEALTH)
            assert answer(connection).startswith(b"HTTP/1.1 200 ")
        with stubborn(port, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"):
            time.sleep(2)
            running.handle_exit(signal.SIGTERM, None)
            time.sleep(1)
            begun = time.monotonic()
            assert thread.is_alive()
            running.handle_exit(signal.SIGTERM, None)
            thread.join(20)
            assert not thread.is_alive() and time.monotonic() - begun < 5
    service.close()


def test_connection_of_the_last_moment_is_told(run: Path, backbone: Backbone) -> None:
    begun = time.monotonic()
    with server(vlprompt.load_classifier(run, backbone=backbone), timeout=30) as address:
        late = [connect(int(address.rpartition(":")[2])) for _ in range(50)]
        begun = time.monotonic()
    assert time.monotonic() - begun < 5
    for connection in late:
        connection.close()
