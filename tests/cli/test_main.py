"""Features that all commands share: help, suggestions, formats, completion and no torch import."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from tests.helpers.command_line import Call, commands
from vlprompt.cli import complete
from vlprompt.config.protocols import PROTOCOLS
from vlprompt.data.loading import list_datasets
from vlprompt.methods.base import METHODS

COMMANDS = commands()
PRINTING = ["tune", "evaluate", "predict", "inspect", "run", "table", "import", "list", "info"]
PRINTING += ["data list", "data check", "data verify"]


def test_version(call: Call) -> None:
    assert call("--version") == (0, f"{version('vlprompt')}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_fits_80_columns(command: str, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = call(*command.split(), "-h")
    assert code == 0
    assert f"\n      vlprompt {command}" in out.split("Examples:")[1]
    assert out.startswith(f"Usage: vlprompt {command} ")
    assert all(len(line) <= 80 for line in out.splitlines())
    for option in COMMANDS[command].params:
        assert option.help, option.name
        assert (
            option.required
            or option.multiple
            or getattr(option, "is_flag", False)
            or "[default: " in " ".join(out.split())
        )


def test_command_summaries_are_not_truncated(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for words in ([], ["data"]):
        out = call(*words, "--help")[1]
        assert all(line.endswith(".") for line in out.split("Commands:\n")[1].splitlines())


@pytest.mark.parametrize("command", PRINTING)
def test_json_is_a_format(command: str) -> None:
    by_name = {name: one for one in COMMANDS[command].params for name in one.opts}
    assert by_name["--format"].help.startswith("Print results as table")
    assert "json" in by_name["--format"].help
    assert by_name["--json"].help == "Print one JSON document on stdout; same as --format json."
    assert by_name["--format"].default == "table"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tun"], "no command 'tun'; did you mean 'tune'?"),
        (["TUNE"], "no command 'TUNE'; did you mean 'tune'?"),
        (["frobnicate"], "no command 'frobnicate'; see vlprompt --help"),
        (["data", "chek"], "no command 'chek'; did you mean 'check'?"),
        (["--versoin"], "no option --versoin; did you mean --version?"),
        (["table", "runs", "--Compare", "a,b"], "no option --Compare; did you mean --compare?"),
        (["serve", "runs", "--port", "70000"], "--port must be at most 65535, got 70000"),
        (["list"], "KIND is missing; see vlprompt list --help"),
        (
            ["export", "runs", "--precision", "FP16"],
            "--precision must be fp32, fp16, bf16 or int8, got 'FP16'; did you mean 'fp16'?",
        ),
    ],
)
def test_usage_errors_are_one_line_with_a_hint(words: list[str], message: str, call: Call) -> None:
    assert call(*words) == (2, "", f"error: {message}\n")


def test_group_without_command_shows_help(call: Call) -> None:
    for words in ([], ["data"]):
        code, out, err = call(*words)
        assert (code, out) == (2, "")
        assert err.startswith("Usage: vlprompt")


@pytest.mark.parametrize(
    ("line", "some", "others"),
    [
        ("vlprompt tune --method co", {"coop", "cocoop"}, {"dapt"}),
        ("vlprompt tune --recipe dapt/", {"dapt/few-shot", "dapt/base-to-new"}, {"unified"}),
        ("vlprompt tune --protocol ", set(PROTOCOLS), set()),
        ("vlprompt tune open", {"openmoji", "openmoji-line"}, {"dtd"}),
        ("vlprompt list ", {"methods", "datasets", "backbones", "recipes"}, set()),
        ("vlprompt table runs --format ", {"table", "json", "csv", "markdown", "latex"}, {"terminal"}),
        ("vlprompt ta", {"table"}, {"tune"}),
    ],
)
def test_completion_does_not_import_torch(line: str, some: set[str], others: set[str]) -> None:
    code = (
        "import sys\nfrom vlprompt.cli.main import main\n"
        "try:\n    main()\nfinally:\n    assert 'torch' not in sys.modules, 'torch was imported'"
    )
    shell = {"COMP_WORDS": line, "COMP_CWORD": str(line.count(" ")), "_VLPROMPT_COMPLETE": "complete_bash"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **shell}, capture_output=True, text=True, check=False
    )
    assert "torch was imported" not in done.stderr
    found = set(done.stdout.split())
    assert some <= found and not others & found


def test_completed_names_exist() -> None:
    assert set(complete.methods("")) <= set(METHODS.names())
    assert complete.datasets("") == list_datasets()
    assert tuple(PROTOCOLS) == complete.PROTOCOLS


def test_help_does_not_import_torch() -> None:
    code = "import sys, vlprompt.cli.main; sys.exit(any(slow in sys.modules for slow in ('torch', 'rich', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
