"""Grids in several processes: results, kills, interrupts and concurrent grids."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.command_line import Call
from vlprompt.config.schema import RunConfig, RuntimeConfig
from vlprompt.errors import VLPromptError
from vlprompt.experiments.engines import local, worker
from vlprompt.experiments.engines.cluster import Cluster
from vlprompt.experiments.engines.engine import RETRIES, Job
from vlprompt.experiments.engines.local import Processes
from vlprompt.experiments.grid import Grid
from vlprompt.experiments.plan import plan_grid
from vlprompt.runs.record import read_record
from vlprompt.utils.locks import lock
from vlprompt.utils.machine import SHARE
from vlprompt.utils.progress import Reporter

# Long enough for at least one progress message, of which there are five per second.
EPOCHS = 120


@pytest.fixture
def make(weights: Path, pictures: Path, tmp_path: Path) -> Any:
    def planned(methods: list[str], seeds: list[int], out: str, epochs: int = EPOCHS) -> Grid:
        settings = {
            "backbone.source": str(weights),
            "data.views": 1,
            "optim.epochs": epochs,
            "optim.batch_size": 4,
            "runtime.device": "cpu",
            "runtime.threads": 1,
        }
        return plan_grid(
            "few-shot", methods, [str(pictures)], shots=[1], seeds=seeds, out=tmp_path / out, settings=settings
        )

    return planned


@pytest.fixture
def quick_children(popen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Start children without their import of libraries, which takes several times as long as their work."""
    monkeypatch.setattr(subprocess, "Popen", popen)


class Watching(Reporter):
    """Reporter that keeps its messages, and acts once training continues after an epoch was saved."""

    def __init__(self, folder: Path | None = None, act: Callable[[], None] = lambda: None) -> None:
        super().__init__(quiet=True)
        self.lines: list[str] = []
        self.notes: list[str] = []
        self._state = None if folder is None else folder / "state.safetensors"
        self._act = act

    def say(self, line: str) -> None:
        self.lines.append(line)

    warn = say

    @contextmanager
    def bar(self, title: str, *, clock: bool = True) -> Any:
        def move(done: int, total: int, note: str = "") -> None:
            self.notes.append(note)
            if self._state is not None and note.endswith("train") and self._state.exists():
                self._state = None
                self._act()

        yield move


def prompts(grid: Grid) -> list[bytes]:
    return [(cell.folder / "prompts.safetensors").read_bytes() for cell in grid.cells]


@pytest.mark.usefixtures("quick_children")
def test_processes_match_one_process_after_a_kill(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = make(["zero-shot", "coop"], [1], "alone")
    assert alone.run(Watching()) == {}

    grid = make(["kgcoop", "zero-shot", "coop"], [1], "grid")
    broken, _, cut = [cell.folder for cell in grid.cells]
    broken.mkdir(parents=True)
    (broken / "run.json").write_text("{")
    children: list[local.Child] = []

    class Child(local.Child):
        def tell(self, message: dict[str, Any]) -> None:
            super().tell(message)
            children.append(self)
            jobs.append(Path(message["folder"]))

    jobs: list[Path] = []
    monkeypatch.setattr(local, "Child", Child)
    reporter = Watching(cut, lambda: children[jobs.index(cut)].kill())
    failed = grid.run(reporter, Processes(2, RuntimeConfig()))

    assert list(failed) == [broken]
    assert "run.json cannot be read" in failed[broken]
    assert jobs.count(cut) == 2
    lost = "pictures0, coop, 1 shot, seed 1: its process was lost (it was killed by SIGKILL); restarting it"
    assert lost in reporter.lines
    assert "2 running" in reporter.notes
    assert sum(line.split("/")[0] in "123" and "test " in line for line in reporter.lines) == 2
    assert prompts(alone) == prompts(make(["zero-shot", "coop"], [1], "grid"))
    assert not list(grid.cells[0].folder.parents[2].rglob("*.lock"))


def test_interrupt_stops_processes_without_losing_epochs(make: Any) -> None:
    whole = make(["coop"], [1], "whole")
    whole.run(Watching())

    def interrupt() -> None:
        raise KeyboardInterrupt

    cut = make(["coop"], [1], "cut")
    folder = cut.cells[0].folder
    with pytest.raises(KeyboardInterrupt):
        cut.run(Watching(folder, interrupt), Processes(1, RuntimeConfig()))
    record = read_record(folder)
    assert record.status == "interrupted"
    assert 0 < len(record.history) < EPOCHS
    again = make(["coop"], [1], "cut")
    assert again.run(Watching()) == {}
    assert prompts(whole) == prompts(again)


class Dead:
    """Stand-in for a process that dies immediately."""

    end = "it was killed by SIGKILL"

    def __init__(self, function: str, answers: Any, environment: dict[str, str]) -> None:
        self._answers = answers

    def tell(self, message: dict[str, Any]) -> None:
        self._answers.put((self, {"warn": "features are not cached"}))
        self._answers.put((self, None))

    def join(self, timeout: float | None = None) -> bool:
        return True


def test_cell_fails_after_repeated_process_losses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "Child", Dead)
    jobs = [Job(label=name, config="", folder=name, prompts_from=None) for name in "abc"]
    reporter = Watching()
    ended = list(Processes(2, RuntimeConfig()).run(iter(jobs), reporter))
    assert sorted(job["label"] for job, _ in ended) == ["a", "b", "c"]
    reason = "its process was lost (it was killed by SIGKILL), after 3 attempts; use fewer `workers` if memory ran out"
    assert {error for _, error in ended} == {reason}
    assert len(reporter.lines) == 1 + 3 * RETRIES
    assert reporter.lines.count("features are not cached") == 1


def test_processes_share_threads_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    assert Processes(3, RuntimeConfig()).environment(0) == {"OMP_NUM_THREADS": "2", SHARE: "3"}
    assert Processes(3, RuntimeConfig(threads=5)).environment(0) == {"OMP_NUM_THREADS": "5", SHARE: "3"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    three = [Processes(3, RuntimeConfig()).environment(number)["CUDA_VISIBLE_DEVICES"] for number in range(3)]
    assert three == ["4", "6", "4"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Processes(3, RuntimeConfig()).environment(1)["CUDA_VISIBLE_DEVICES"] == "1"
    for runtime in (RuntimeConfig(device="cuda:1"), RuntimeConfig(devices=2)):
        assert "CUDA_VISIBLE_DEVICES" not in Processes(3, runtime).environment(1)


@pytest.mark.usefixtures("quick_children")
@pytest.mark.parametrize("parallel", [1, 2])
def test_cell_locked_by_another_process_is_waited_for(make: Any, parallel: int) -> None:
    grid = make(["zero-shot", "coop"], [1], "grid", epochs=1)
    held, reporter, failed = grid.cells[0].folder, Watching(), list[dict[Path, str]]()
    engine = None if parallel == 1 else Processes(parallel, grid.cells[0].config.runtime)
    with lock(held.parent / ".seed-1.lock"):
        thread = threading.Thread(target=lambda: failed.append(grid.run(reporter, engine)))
        thread.start()
        while not any(line.startswith("waiting for process ") for line in reporter.lines):
            assert thread.is_alive()
            time.sleep(0.05)
        assert grid.finished == grid.cells[1:]
    thread.join()
    assert failed == [{}]
    assert grid.finished == grid.cells


def test_two_grids_on_one_folder_share_the_work(popen: Any, pictures: Path, weights: Path, tmp_path: Path) -> None:
    words = ["run", "few-shot", "--methods", "zero-shot,coop", "--datasets", pictures, "--shots", "1", "--seeds", "1"]
    words += ["--backbone", weights, "--epochs", "1", "--set", "data.views=1", "--out", tmp_path / "grid", "--json"]
    command = [sys.executable, "-m", "vlprompt.cli", *map(str, words)]
    both = [popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    ended = [(*process.communicate(), process.returncode) for process in both]
    assert [code for _, _, code in ended] == [0, 0], ended
    tables = [json.loads(out) for out, _, _ in ended]
    assert tables[0] == tables[1]
    statuses = [read_record(path.parent).status for path in (tmp_path / "grid").rglob("run.json")]
    assert statuses == ["finished"] * 2


def test_unexpected_error_fails_only_its_cell(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("out of\nmemory")

    grid = make(["zero-shot", "coop"], [1], "grid", epochs=1)
    monkeypatch.setattr(worker, "run_experiment", fail)
    assert set(grid.run(Watching()).values()) == {"RuntimeError: out of memory"}


def below(parent: int) -> Iterator[tuple[int, str]]:
    """Return id and command of all descendant processes."""
    parents, commands = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # the process has ended
            parents[folder.name] = (folder / "stat").read_text().rpartition(")")[2].split()[1]
            commands[folder.name] = (folder / "cmdline").read_text()
    for number, command in commands.items():
        above = number
        while above in parents and above != str(parent):
            above = parents[above]
        if above == str(parent):
            yield int(number), command


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra `sweep` is not installed")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="workers are found in /proc")
def test_ray_matches_one_process_after_a_kill(make: Any) -> None:
    alone = make(["coop"], [1, 2], "alone")
    alone.run(Watching())
    grid = make(["coop"], [1, 2], "grid")
    cluster, killed, addresses = Cluster(None, 1, 0), [], set()

    def kill() -> None:
        while not any((cell.folder / "state.safetensors").exists() for cell in grid.cells):
            time.sleep(0.02)
        addresses.update(node["NodeManagerAddress"] for node in cluster._ray.nodes())
        killed.extend(number for number, command in below(os.getpid()) if command.startswith("ray::run_remotely"))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    reporter = Watching()
    assert grid.run(reporter, cluster) == {}
    assert killed
    assert [line for line in reporter.lines if line.endswith("was lost (WorkerCrashedError); restarting it")]
    assert len(grid.finished) == 2
    assert prompts(alone) == prompts(grid)
    assert addresses == {"127.0.0.1"}
    assert not any("raylet" in command for _, command in below(os.getpid()))


def test_missing_ray_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    job = Job(label="a", config="", folder="a", prompts_from=None)
    with pytest.raises(VLPromptError, match=r"`engine` ray needs Ray; run `pip install 'vlprompt\[sweep\]'`"):
        next(Cluster(None, 1, 0).run(iter([job]), Watching()))
    assert list(Cluster(None, 1, 0).run(iter([]), Watching())) == []


@pytest.mark.skipif(find_spec("ray") is None, reason="the extra `sweep` is not installed")
@pytest.mark.parametrize("address", ["127.0.0.1:1", "nonsense"])
def test_unreachable_ray_cluster_raises(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(label="a", config="", folder="a", prompts_from=None)
    for option in (address, "auto"):
        monkeypatch.setenv("RAY_ADDRESS", address)
        with pytest.raises(VLPromptError, match=rf"no Ray cluster responds at `address` {option} \(.*\); check it"):
            next(Cluster(option, 1, 0).run(iter([job]), Watching()))


def test_remote_cell_returns_its_warnings(make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    loaded: list[str] = []

    def run_experiment(config: RunConfig, folder: str, *, pools: dict[str, Any], **_: object) -> None:
        worker.logger.warning("features are not %s", "cached")
        loaded.extend(pools)

    monkeypatch.setattr(worker, "run_experiment", run_experiment)
    monkeypatch.setattr(worker, "_worker", worker.Worker())
    config = make(["zero-shot"], [1], "grid").cells[0].config
    job = Job(label="a", config=config.model_dump_json(), folder="a", prompts_from=None)
    for _ in range(2):
        said = worker.run_remotely(job, str(tmp_path), torch.get_num_threads())
        assert said == [{"warn": "features are not cached"}, {"ended": None}]
    assert loaded == [config.data.source] * 2


def test_remote_folder_that_is_missing_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(label="a", config="", folder="a", prompts_from=None)
    (message,) = worker.run_remotely(job, str(tmp_path / "no"), 1)
    assert "is not on this machine (No such file or directory); put `out` on shared storage" in message["ended"]


@pytest.fixture
def command(call: Call, weights: Path, pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Call `vlprompt run` with options; return the chosen engine or the error line."""
    engines: list[Any] = []
    monkeypatch.setattr(Grid, "run", lambda self, reporter, engine: engines.append(engine) or {})
    grid = ["--methods", "zero-shot", "--datasets", pictures, "--shots", 1, "--seeds", 1, "--out", tmp_path / "grid"]

    def run(*options: str) -> Any:
        code, _, err = call("run", "few-shot", *grid, "--backbone", weights, "--device", "cpu", *options)
        return err.splitlines()[-1] if code else engines.pop()

    return run


def test_options_choose_the_engine(command: Any) -> None:
    assert command() is command("--workers", "1") is None
    several = command("--workers", "3", "--set", "runtime.threads=2")
    assert (several.parallel, several.environment(0)) == (3, {"OMP_NUM_THREADS": "2", SHARE: "3"})
    cluster = command("--engine", "ray", "--address", "auto", "--gpus-per-cell", "0.5")
    assert (cluster._address, cluster._shares) == ("auto", {"CPU": 1, "GPU": 0.5})
    assert command("--address", "auto") == (
        "error: --address auto requires --engine ray; add it, or leave --address out"
    )
    assert "--workers 2 requires --engine local" in command("--engine", "ray", "--workers", "2")
    assert "--workers" in command("--workers", "0")
