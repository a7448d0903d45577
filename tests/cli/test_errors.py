"""Parameters in library messages become flags on the command line."""

from pathlib import Path

import pytest

from tests.helpers.command_line import commands
from vlprompt.cli.errors import as_flags, flags_of

COMMANDS = commands()
SOURCES = Path(__file__).parents[2] / "src" / "vlprompt"


@pytest.mark.parametrize(
    ("command", "message", "shown"),
    [
        ("tune", "`out` runs/mine already holds a run", "--out runs/mine already holds a run"),
        ("tune", "pass `resume=True` to continue", "pass --resume to continue"),
        ("tune", "`name_map` has no entry for 'dog'", "--name-map has no entry for 'dog'"),
        ("tune", "`data` pets does not exist", "DATA pets does not exist"),
        ("tune", "`source` pets does not exist", "DATA pets does not exist"),
        ("tune", "`settings` must be KEY=VALUE", "--set must be KEY=VALUE"),
        ("tune", "use `device='cpu'`", "use --device cpu"),
        ("tune", "use `shots=4`, or `optim.batch_size=8`", "use --shots 4, or --set optim.batch_size=8"),
        ("tune", "`optim.lr` must be positive", "optim.lr must be positive"),
        ("tune", "`temperature` must be positive", "temperature must be positive"),
        ("tune", 'run `pip install "vlprompt[heif]"`', 'run `pip install "vlprompt[heif]"`'),
        ("run", "`resume=True` has no flag here", "resume=True has no flag here"),
        ("run", "`methods` coop,vpt cannot name new classes", "--methods coop,vpt cannot name new classes"),
        ("run", "`data` pets does not exist", "--datasets pets does not exist"),
        ("import", "`name_map` names.txt cannot be read", "--class-names names.txt cannot be read"),
        ("inspect", "the run has no images; pass `data`", "the run has no images; pass --data"),
        ("evaluate", "the run has no images; pass `data`", "the run has no images; pass DATA"),
        ("import", "`class_names` has 3 names for 4 classes", "--class-names has 3 names for 4 classes"),
        ("import", "`options` has no ctx_init", "--set has no ctx_init"),
        ("predict", "`backbone` has other weights", "--backbone has other weights"),
        ("export", "pass `overwrite=True`, or another `out`", "pass --overwrite, or another --out"),
        ("serve", "`allow_edit` needs a `token`", "--allow-edit needs a --token"),
        ("data fetch", "`name` must be a dataset", "NAME must be a dataset"),
    ],
)
def test_parameters_become_flags(command: str, message: str, shown: str) -> None:
    assert as_flags(message, flags_of(COMMANDS[command])) == shown
