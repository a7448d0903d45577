from pathlib import Path

import pytest

from tests.helpers.grids import write_grid
from vlprompt.results.collect import find_runs
from vlprompt.results.report import make_report


@pytest.fixture(scope="session")
def grid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folders that cover all parts of plots and reports."""
    folder = tmp_path_factory.mktemp("grid")
    write_grid(folder)
    return folder


@pytest.fixture(scope="session")
def report(grid: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Report file of the grid."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(make_report(find_runs([grid])[0]))
    return path
