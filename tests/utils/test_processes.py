"""Child processes: messages, answers and exits."""

import queue
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vlprompt.utils.processes import Child, Message

CODE = """
import os, sys, time
from pathlib import Path

print("imported")

def echo(messages, answer):
    for message in messages:
        print("noise")
        os.write(1, b"more noise\\n")
        answer({"echo": message, "color": os.environ["COLOR"], "stdin": sys.stdin.isatty()})

def patient(messages, answer):
    try:
        answer({"ready": next(messages)})
        time.sleep(60)
    except KeyboardInterrupt:
        answer({"interrupted": True})
        time.sleep(1)
        answer({"done": True})
        raise

def talk(messages, answer):
    try:
        while True:
            answer({"step": 1})
            time.sleep(0.05)
    except KeyboardInterrupt:
        Path(next(messages)["file"]).write_text("interrupted")
        raise
"""


@pytest.fixture
def start(tmp_path: Path) -> Any:
    (tmp_path / "given.py").write_text(CODE)
    answers: queue.SimpleQueue[tuple[Child, Message | None]] = queue.SimpleQueue()

    def started(function: str) -> tuple[Child, Any]:
        child = Child(f"given:{function}", answers, {"PYTHONPATH": str(tmp_path), "COLOR": "red"})
        return child, lambda: answers.get(timeout=60)[1]

    return started


def test_child_answers_and_exits(start: Any) -> None:
    child, answer = start("echo")
    for number in range(3):
        child.tell({"number": number, "umlaut": "ä\n"})
        assert answer() == {"echo": {"number": number, "umlaut": "ä\n"}, "color": "red", "stdin": False}
    assert child.join(timeout=60)
    assert answer() is None
    assert child.end == "it ended with exit code 0"


def test_second_interrupt_is_ignored(start: Any) -> None:
    child, answer = start("patient")
    child.tell({})
    assert answer() == {"ready": {}}
    child.interrupt()
    assert answer() == {"interrupted": True}
    child.interrupt()
    assert answer() == {"done": True}
    assert answer() is None
    assert child.end == "it ended with exit code 130"


def test_killed_child_is_reported(start: Any) -> None:
    child, answer = start("patient")
    child.tell({})
    assert answer() == {"ready": {}}
    child.kill()
    assert answer() is None
    assert child.end == "it was killed by SIGKILL"
    child.tell({})
    assert child.join()


PARENT = """
import os, queue, sys
from vlprompt.utils.processes import Child
answers = queue.SimpleQueue()
child = Child("given:talk", answers, {"PYTHONPATH": sys.argv[1]})
child.tell({"file": sys.argv[2]})
answers.get()
os.kill(os.getpid(), 9)
"""


def test_orphaned_child_is_interrupted(start: Any, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    done = subprocess.run([sys.executable, "-c", PARENT, str(tmp_path), str(marker)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    for _ in range(600):
        if marker.exists() and marker.read_text():
            return
        time.sleep(0.1)
    raise AssertionError("the child goes on")
