"""Child processes that get commands and send answers as lines of JSON.

They are fresh interpreters: nothing is pickled, a script needs no main guard, and Ctrl-C reaches only the parent, which
then interrupts them. A child whose parent has died ends as if it had been interrupted.
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

Message = dict[str, Any]


class Child:
    """A child process that runs a function of this package.

    Args:
        function: "package.module:name". It is called with an iterator of the messages that the child is told, and a
            function that sends an answer.
        answers: gets (child, message) for every answer, and (child, None) when the process has ended.
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
        """Send a message. One to a process that has ended is lost; `answers` has its end."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in the process."""
        self._process.terminate()

    def kill(self) -> None:
        """End the process at once."""
        self._process.kill()

    def join(self, timeout: float | None = None) -> bool:
        """Let the process end after its last message, and wait for that; return whether it has ended."""
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
        """How the process ended, in a few words, such as "it was killed by SIGKILL"."""
        code = self._process.wait()
        if code < 0:
            return f"it was killed by {signal.Signals(-code).name}"
        return f"it ended with exit code {code}"

    def _listen(self, answers: "queue.SimpleQueue[tuple[Child, Message | None]]") -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # otherwise it was killed while it wrote
                answers.put((self, json.loads(line)))
        self._process.stdout.close()
        answers.put((self, None))


def serve(function: str) -> None:
    """Run the function, in a child. All that it and its imports print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
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
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once, so that its cleanup is not interrupted
    raise KeyboardInterrupt
