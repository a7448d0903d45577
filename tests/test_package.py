"""The wheel holds what the package needs, and runs where it was not developed."""

import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

import vlprompt

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "vlprompt"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built without isolation, since isolation would fetch the build backend."""
    out = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", out, ROOT)
    (built,) = out.glob("vlprompt-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment with the wheel, which borrows our dependencies, not our checkout.

    A path file of a borrowed folder is not followed, and the editable install is one, so `vlprompt` there can
    only come from the wheel.
    """
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, symlinks=sys.platform != "win32")
    where = {"base": str(home), "platbase": str(home)}
    python = Path(sysconfig.get_path("scripts", "venv", where)) / Path(sys.executable).name
    options = ["--no-deps", "--no-index", "--disable-pip-version-check"]
    run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel)
    site = Path(sysconfig.get_path("purelib", "venv", where))
    borrowed = [entry for entry in sys.path if Path(entry).name in {"site-packages", "dist-packages"}]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n")
    return python.parent


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("vlprompt/")}
    sources = {
        path.relative_to(PACKAGE.parent).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    }
    assert packed == sources


@pytest.mark.parametrize(
    "pattern", ["py.typed", "config/recipes/*/*.yaml", "assets/*.safetensors", "data/datasets/tables/*.csv"]
)
def test_package_data_is_there(wheel: Path, pattern: str) -> None:
    names = map(PurePosixPath, zipfile.ZipFile(wheel).namelist())
    assert [name for name in names if name.match(f"vlprompt/{pattern}")]


def test_wheel_states_version_license_and_lower_bounds_only(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = Parser().parsestr(archive.read(name).decode())
    assert metadata["Version"] == vlprompt.__version__
    assert f"\nversion: {vlprompt.__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert metadata["License-Expression"] == "Apache-2.0"
    assert set(metadata.get_all("License-File", [])) == {"LICENSE", "NOTICE"}
    requirements = [line.split(";")[0] for line in metadata.get_all("Requires-Dist", [])]
    assert requirements
    assert not [line for line in requirements if re.search("[<~]|==", line)]


def test_wheel_imports_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    where = run(
        environment / Path(sys.executable).name,
        "-I",  # whatever PYTHONPATH says
        "-c",
        "import vlprompt; print(vlprompt.__file__)",
        cwd=tmp_path,
    )
    assert Path(where.strip()).is_relative_to(environment.parent)


def test_command_line_runs_in_an_empty_environment(environment: Path, tmp_path: Path) -> None:
    assert "tune" in run(environment / "vlprompt", "--help", cwd=tmp_path)


def test_the_public_names_are_there_and_torch_is_not_until_one_is_used() -> None:
    for name in vlprompt.__all__:
        assert getattr(vlprompt, name) is not None
        assert name in dir(vlprompt)
    with pytest.raises(AttributeError, match="has no attribute 'load'"):
        vlprompt.load  # noqa: B018
    run(sys.executable, "-c", "import sys, vlprompt; vlprompt.VLPromptError; assert 'torch' not in sys.modules")
