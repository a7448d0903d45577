"""`vlprompt serve` as a process: under load, interrupted, with wrong arguments."""

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest
from benchmarks.serving import GONE, Load, measure

from tests.helpers.client import TOKEN
from tests.helpers.command_line import Call
from vlprompt.serve import server as running

PATIENCE = 60


@pytest.fixture
def process(run: Path) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "vlprompt.cli", "serve", str(run), "--port", "0", "--device", "cpu"]
    environment = {**os.environ, "VLPROMPT_TOKEN": ""}
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, env=environment) as process:
        yield process
        process.kill()


def port_of(process: subprocess.Popen[str]) -> int:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("http://127.0.0.1:"), line
    return int(line.removeprefix("http://127.0.0.1:").split()[0])


@pytest.mark.slow
def test_requests_in_flight_are_answered_on_sigterm(process: subprocess.Popen[str]) -> None:
    port = port_of(process)
    alone, crowd = (measure(port, clients, 0.5, 16) for clients in (1, 16))
    assert set(alone.statuses) == set(crowd.statuses) == {200}
    assert crowd.rate > 0.5 * alone.rate and crowd.p99 < 20_000

    # A request whose body has not arrived yet is accepted, so it must be answered.
    late = socket.create_connection(("127.0.0.1", port))
    late.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
    load = Load(port, 16)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    load.join()
    with pytest.raises(OSError):
        http.client.HTTPConnection("127.0.0.1", port, timeout=5).request("GET", "/healthz")
    assert process.poll() is None, "it waits for accepted requests"
    late.sendall(b"{}")
    assert late.recv(100).startswith(b"HTTP/1.1 415 ")

    out, error = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0 and "Traceback" not in error and "Cancel" not in error
    statuses = Counter(load.statuses)
    assert set(statuses) <= {200, GONE} and statuses[GONE] == 16, "each client sends until the server is gone"
    answers = sum(alone.statuses.values()) + sum(crowd.statuses.values()) + statuses[200] + 1
    assert out == f"stopped after {answers:,} requests, all of them answered\n"


@pytest.mark.skipif(os.name != "posix", reason="signals are sent to this process")
@pytest.mark.parametrize(("times", "code"), [(1, 0), (2, 130)])
def test_interrupt(call: Call, run: Path, times: int, code: int) -> None:
    with running.listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]

    def interrupt() -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5) as taken:
                # Its socket listens before the server handles signals.
                taken.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                taken.settimeout(PATIENCE)
                while not taken.recv(1000).endswith(b"}"):
                    pass
                # Half a request, which the server waits for unless it is told twice.
                taken.sendall(b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n")
                time.sleep(0.5)
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
                    time.sleep(0.5)
                if times == 1:
                    taken.sendall(b"{}")
                    assert taken.recv(100).startswith(b"HTTP/1.1 415 ")
                return
            time.sleep(0.05)

    thread = Thread(target=interrupt)
    thread.start()
    before = signal.getsignal(signal.SIGINT)
    found, out, error = call("serve", run, "--port", port, "--device", "cpu")
    thread.join()
    assert signal.getsignal(signal.SIGINT) == before
    assert found == code and "Traceback" not in error
    assert ("stopped after 2 requests," in out) is (times == 1)


def test_port_in_use_is_an_error(call: Call, run: Path) -> None:
    with running.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        code, out, error = call("serve", run, "--port", port)
    assert (code, out) == (2, "")
    assert f" {port} is in use; choose another" in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], "is reachable from other machines, which needs a --token"),
        (["--host", ""], "is reachable from other machines"),
        (["--host", "example.org"], "is reachable from other machines"),
        (["--allow-edit"], "--allow-edit needs a --token; set VLPROMPT_TOKEN"),
        (["--host", "0.0.0.0", "--token", "short"], "must have at least 16 printable ASCII"),
        (["--token", "sixteen letters and more"], "no spaces"),
        (["--host", "192.0.2.1", "--token", TOKEN], "must be an address of this machine"),
        (["--host", "no such host", "--token", TOKEN], "must be an address of this machine"),
        (["--port", "70000"], "--port must be at most 65535, got 70000"),
        (["--batch-size", "0"], "--batch-size must be at least 1, got 0"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options_are_one_line_errors(call: Call, run: Path, words: list[str], said: str) -> None:
    code, out, error = call("serve", run, *words)
    assert code == 2 and out == "" and said in error and error.count("\n") == 1


def test_missing_run_is_an_error(call: Call, tmp_path: Path) -> None:
    code, _, error = call("serve", tmp_path, "--port", 0)
    assert code == 2 and "is not a run" in error


def test_missing_extra_is_an_error(call: Call, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("uvicorn", "vlprompt.serve."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, _, error = call("serve", run)
    assert code == 2 and error == 'error: serve needs uvicorn; run `pip install "vlprompt[serve]"`\n'


def test_help(call: Call) -> None:
    code, out, _ = call("serve", "--help")
    assert code == 0 and "vlprompt serve runs/mine" in out and "VLPROMPT_TOKEN" in out


def test_socket_disables_nagles_algorithm() -> None:
    with running.listen("127.0.0.1", 0) as listening:
        # asyncio asks for this before it turns off Nagle's algorithm.
        assert listening.proto == socket.IPPROTO_TCP
        assert running.address_of(listening, "::1").startswith("http://[::1]:")
