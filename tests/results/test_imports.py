"""Tables, plots and reports do not import training dependencies."""

import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = ("torch", "torchvision", "open_clip", "lightning", "torchmetrics", "sklearn", "scipy.optimize")
SCRIPT = """
import sys
from pathlib import Path
from vlprompt.results.collect import find_runs
runs, _ = find_runs([Path(sys.argv[1])])
{body}
print([name for name in {names} if name in sys.modules])
"""
TABLE = "from vlprompt.results import formats, tables; formats.to_markdown(tables.make_tables(runs))"
PLOT = "from vlprompt.results.rendering import write_plots; write_plots(runs, Path(sys.argv[2]), 'svg')"
REPORT = "from vlprompt.results.report import make_report; make_report(runs)"
INFO = "from vlprompt.results.summary import print_record; print_record(runs[0].record, runs[0].folder)"


@pytest.mark.parametrize(
    ("body", "names"),
    [
        (TABLE, (*TRAINING, "polars", "matplotlib")),
        (INFO, (*TRAINING, "polars", "matplotlib")),
        (PLOT, TRAINING),
        (REPORT, TRAINING),
    ],
    ids=["table", "info", "plot", "report"],
)
def test_results_do_not_import_torch(body: str, names: tuple[str, ...], grid: Path, tmp_path: Path) -> None:
    script = SCRIPT.format(body=body, names=names)
    command = [sys.executable, "-c", script, grid, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
