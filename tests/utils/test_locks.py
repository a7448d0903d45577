import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from vlprompt.utils.locks import holder, lock, try_lock

HOLD = "import sys; from pathlib import Path; from vlprompt.utils.locks import lock; held = lock(Path(sys.argv[1])); "
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no flock")


def test_lock_is_exclusive(tmp_path: Path) -> None:
    path = tmp_path / "made" / "a.lock"
    first = try_lock(path)
    assert first is not None
    assert try_lock(path) is None
    assert holder(path).startswith(f"process {os.getpid()} on ")
    first.release()
    assert not path.exists()
    with lock(path):
        assert try_lock(path) is None
    again = try_lock(path)
    assert again is not None
    again.release()


def test_waiting_processes_acquire_in_turn(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "a.lock", [0], [0]

    def work() -> None:
        for _ in range(50):
            with lock(path):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert not path.exists()


def test_killed_process_releases_its_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    command = [sys.executable, "-c", HOLD + "print('held', flush=True); sys.stdin.read()", str(path)]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    assert try_lock(path) is None
    assert holder(path).startswith(f"process {other.pid} on ")
    other.send_signal(signal.SIGKILL)
    other.communicate()
    held = try_lock(path)
    assert held is not None
    assert holder(path).startswith(f"process {os.getpid()} on ")
    held.release()


def test_locking_is_skipped_where_unsupported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "a.lock"
    with lock(path):
        assert try_lock(path) is not None
    assert holder(path) == "another process"
