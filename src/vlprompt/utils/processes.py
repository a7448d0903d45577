"""Child processes that receive messages and send answers as JSON lines.

Each child is a fresh interpreter: nothing is pickled, scripts need no main guard, and Ctrl-C reaches only the parent,
which interrupts its children. A child whose parent has died exits as if interrupted.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any

from vlprompt.utils.clean_output import CleanStream

Message = dict[str, Any]


class Child:
    """Child process that runs a function of this package.

    Args:
        function: "package.module:name" of a function that takes an iterator over incoming messages and a function that
            sends an answer.
        answers: queue that receives (child, message) for every answer, and (child, None) when the process has ended.
        environment: environment variables, added to this process's own.
    """

    def __init__(
        self,
        function: str,
        answers: "queue.SimpleQueue[tuple[Child, Message | None]]",
        environment: Mapping[str, str],
    ) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", f"from vlprompt.utils.processes import serve; serve({function!r})"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **environment},
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=[answers], daemon=True).start()

    def tell(self, message: Message) -> None:
        """Send a message. It is dropped if the process has ended, which `answers` reports."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the process."""
        self._process.terminate()

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Close the process's input and wait up to `timeout` seconds; return whether the process has ended."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def end(self) -> str:
        """How the process ended, such as "it was killed by SIGKILL"."""
        code = self._process.wait()
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"

    def _listen(self, answers: "queue.SimpleQueue[tuple[Child, Message | None]]") -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # an incomplete line comes from a process killed while writing
                answers.put((self, json.loads(line)))
        self._process.stdout.close()
        answers.put((self, None))


def serve(function: str) -> None:
    """Run a function as the child process. Everything that it prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr = CleanStream(sys.stderr)
    signal.signal(signal.SIGTERM, _interrupt)

    def answer(message: Message) -> None:
        try:
            answers.write(json.dumps(message) + "\n")
            answers.flush()
        except OSError as error:
            raise KeyboardInterrupt from error  # the parent is gone

    module, name = function.split(":")
    try:
        getattr(import_module(module), name)(map(json.loads, sys.stdin), answer)
    except KeyboardInterrupt:
        sys.exit(130)


def _interrupt(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only once, so that cleanup is not interrupted
    raise KeyboardInterrupt
