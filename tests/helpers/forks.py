"""Python processes that start at once: forks of one that has imported the libraries, which takes seconds.

They import vlprompt themselves, as a new interpreter does.
"""

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from threading import Timer
from typing import IO, Self

from benchmarks.processes import LIBRARIES

ROOT = Path(__file__).parents[2]


class Fork:
    """What the tests need of `subprocess.Popen`, for a process that is not a child of this one.

    Args:
        report: file descriptor of a pipe that holds the id of the process, and its exit code once it has ended.
        streams: standard input, output and error, where they are pipes.
    """

    def __init__(self, report: int, streams: list[IO[str] | None]) -> None:
        self._report = os.fdopen(report)
        self.pid = int(self._report.readline())
        self.stdin, self.stdout, self.stderr = streams
        self.returncode: int | None = None

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._report], [], [], 0)[0]:
            self.returncode = int(self._report.readline())
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None and not select.select([self._report], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.poll() or 0

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Return standard output and error; kill the process if it takes longer than `timeout` seconds."""
        limit = Timer(timeout, self.kill)
        limit.start()
        if self.stdin:
            self.stdin.close()
        with ThreadPoolExecutor(2) as pool:
            out, err = pool.map(lambda stream: stream.read() if stream else "", (self.stdout, self.stderr))
        self.wait()
        limit.cancel()
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream:
                stream.close()
        self.wait()


class Forks:
    """Process that starts the others; close its socket to end it."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair()
        code = f"from tests.helpers.forks import serve; exec(serve({theirs.fileno()}))"
        self._process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()

    def popen(
        self,
        command: list[str],
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        env: Mapping[str, str] | None = None,
        text: bool = True,
        start_new_session: bool = False,
    ) -> Fork:
        """Start `[sys.executable, "-c" or "-m", ...]`, as `subprocess.Popen` does; streams are inherited or pipes."""
        assert command[0] == sys.executable and text
        ours: list[IO[str] | None] = []
        theirs = []
        for number, stream in enumerate((stdin, stdout, stderr)):
            assert stream in (None, subprocess.PIPE)
            if stream is None:
                ours.append(None)
                theirs.append(os.dup(number))
                continue
            read, write = os.pipe()
            ours.append(os.fdopen(write, "w") if number == 0 else os.fdopen(read))
            theirs.append(read if number == 0 else write)
        report, reported = os.pipe()
        request, asked = os.pipe()
        socket.send_fds(self._socket, [b"."], [request, reported, *theirs])
        for number in (request, reported, *theirs):
            os.close(number)
        values = {"words": command[1:], "env": dict(env or os.environ), "own": start_new_session}
        with os.fdopen(asked, "w") as file:
            json.dump(values | {"cwd": str(Path.cwd())}, file)
        return Fork(report, ours)

    def close(self) -> None:
        self._socket.close()
        self._process.wait()


def serve(channel: int) -> str:
    """Import the libraries and fork for every request; return the code that the forked process is to run."""
    for library in LIBRARIES:
        import_module(library)
    requests = socket.socket(fileno=channel)
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1, 5)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # ended ones do not stay zombies
                pass
        if not message:
            return ""
        if os.fork() == 0:
            requests.close()
            return _begin(*descriptors)
        for number in descriptors:
            os.close(number)


def _begin(request: int, reported: int, *streams: int) -> str:
    """Fork once more, so that this process can wait for the other one and report how it ended."""
    with os.fdopen(request) as file:
        values = json.load(file)
    child = os.fork()
    if child:
        for number in streams:
            os.close(number)
        os.write(reported, f"{child}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(reported, f"{code}\n".encode())
        os._exit(0)
    os.close(reported)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # Those of this process know the files behind their descriptors until now.
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace")
    if values["own"]:
        os.setsid()
    os.chdir(values["cwd"])
    os.environ.clear()
    os.environ.update(values["env"])
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    words = values["words"]
    if words[0] == "-P":
        words.pop(0)
        sys.path.remove("")
    option, code, *sys.argv[1:] = words
    return code if option == "-c" else f"import runpy; runpy.run_module({code!r}, run_name='__main__', alter_sys=True)"
