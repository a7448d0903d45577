"""Free memory within containers, and the number of processes that read images."""

from pathlib import Path

import pytest

from vlprompt.utils import machine


@pytest.fixture
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    monkeypatch.delenv(machine.SHARE, raising=False)
    return tmp_path


def test_free_memory_follows_the_container(cgroup: Path) -> None:
    free = machine.free_memory()
    assert free > 10**6
    (cgroup / "memory.max").write_text("max\n")
    (cgroup / "memory.current").write_text("5000\n")
    (cgroup / "memory.stat").write_text("anon 4000\ninactive_file 800\n")
    assert machine.free_memory() == pytest.approx(free, rel=0.2)
    (cgroup / "memory.max").write_text("9000\n")
    assert machine.free_memory() == 9000 - 5000 + 800
    (cgroup / "memory.current").write_text("99999\n")
    assert machine.free_memory() == 0


def test_processes_divide_the_machine(cgroup: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"max": "9000", "current": "1000", "stat": "inactive_file 0"}.items():
        (cgroup / f"memory.{name}").write_text(value)
    monkeypatch.setattr(machine.os, "sched_getaffinity", lambda process: range(12))
    assert (machine.free_memory(), machine.reader_count(None, "cuda")) == (8000, 8)
    monkeypatch.setenv(machine.SHARE, "4")
    assert (machine.free_memory(), machine.reader_count(None, "cuda")) == (2000, 2)
    monkeypatch.setenv(machine.SHARE, "12")
    assert machine.reader_count(None, "cuda") == 0


def test_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.reader_count(None, "cpu") == 0
    assert machine.reader_count(3, "cpu") == 3
    assert machine.reader_count(0, "cuda") == 0
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert machine.reader_count(None, "mps") == 0
