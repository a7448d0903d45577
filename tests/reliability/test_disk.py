"""Full and read-only disks."""

import errno
import os
import subprocess
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest

from tests.helpers.command_line import Call
from tests.helpers.faults import Disk
from tests.helpers.folders import check, content
from tests.reliability.conftest import Setting
from vlprompt.errors import VLPromptError
from vlprompt.utils.files import atomic_write

ERRORS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EIO)


def test_disk_error_at_any_step_is_one_line_and_loses_nothing(setting: Setting, tmp_path: Path) -> None:
    for at, (step, code) in enumerate(zip(setting.steps, cycle(ERRORS), strict=False), start=1):
        folder = tmp_path / f"{at}"
        with pytest.MonkeyPatch.context() as patch:
            Disk(patch, folder, at, code)
            if step.startswith("remove"):  # removal of files that are no longer needed
                setting.run_experiment(folder)
                continue
            with pytest.raises(VLPromptError) as caught:
                setting.run_experiment(folder)
        assert f"cannot be written ({os.strerror(code)})" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert not list(folder.glob(".*")), step
        check(folder, setting.images)
        setting.run_experiment(folder)
        assert content(folder) == setting.expected, step


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS])
def test_command_line_reports_a_disk_error_and_resumes(
    code: int, call: Call, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    at = setting.steps.index("rename state.safetensors") + 1
    with monkeypatch.context() as patch:
        Disk(patch, folder, at, code)
        status, out, err = call(*setting.words, folder)
    assert (status, out) == (2, "")
    assert (
        err == f"error: {folder}/state.safetensors cannot be written ({os.strerror(code)}); "
        "fix this or choose another path\n"
    )
    assert call(*setting.words, folder)[0] == 0
    assert content(folder) == setting.expected


def test_folder_cannot_be_created(
    call: Call, setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, *args: object, **words: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "mkdir", refuse)
        status, _, err = call(*setting.words, tmp_path / "new" / "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "run.json cannot be written (Read-only file system)" in err


def test_file_in_place_of_a_folder(call: Call, setting: Setting, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    status, _, err = call(*setting.words, tmp_path / "file" / "run")
    assert (status, err.count("\n")) == (2, 1)
    assert "run.json cannot be written (Not a directory)" in err
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A separate file system with room for a few files, which requires root."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "vlprompt", folder], capture_output=True, text=True
    )
    if made.returncode:
        pytest.skip(f"a file system cannot be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_read_only_and_full_file_system(call: Call, setting: Setting, small: Path) -> None:
    def remount(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", small], check=True)

    run = small / "run"
    remount("ro")
    status, out, err = call(*setting.words, run)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "cannot be written (Read-only file system)" in err
    remount("rw,size=16k")
    status, out, err = call(*setting.words, run)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "cannot be written (No space left on device)" in err
    assert check(run, setting.images) is not None
    assert not list(run.glob(".*"))
    remount("size=1m")
    assert call(*setting.words, run)[0] == 0
    assert content(run) == setting.expected


def test_file_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        atomic_write(tmp_path / "private", "mine")
        os.umask(0o022)
        atomic_write(tmp_path / "public", "ours")
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("private", "public")] == [0o600, 0o644]
