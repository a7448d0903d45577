"""The `vlprompt` program: commands, exit codes and error reporting."""

import atexit
import gc
import io
import os
import signal
import sys
import traceback
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from typing import Annotated, Any

import typer

from vlprompt.cli import data
from vlprompt.cli.commands import Command, Commands, former_name
from vlprompt.cli.errors import UsageError, describe_usage_error
from vlprompt.utils.clean_output import CleanStream, as_line

# In the order of --help. Each command is a function in the module of the same name, with a trailing underscore if the
# name is a keyword or builtin. No module imports torch at the top, which takes seconds and would slow down --help.
COMMANDS = (
    "tune",
    "evaluate",
    "predict",
    "serve",
    "export",
    "inspect",
    "run",
    "table",
    "plot",
    "report",
    "import",
    "list",
    "info",
    "quickstart",
)

app = typer.Typer(
    name="vlprompt",
    cls=Commands,
    help="Prompt tuning of vision-language models: from a few images per class to a classifier.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Plain help: rich's panels take longer to import than everything else, and break lines of examples.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "token_normalize_func": former_name},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("vlprompt"))
        raise typer.Exit


@app.callback()
def _options(
    version_: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None: ...


for _name in COMMANDS:
    _module: Any = import_module(f"vlprompt.cli.{'import_' if _name == 'import' else _name}")
    app.command(_name, cls=Command)(getattr(_module, _name, None) or getattr(_module, f"{_name}_"))
app.add_typer(data.app)


def main() -> None:
    """Run the command line.

    Exit codes: 0 success, or stdout was closed by its reader; 1 some images or cells failed; 2 wrong usage; 130
    interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names may contain bytes that are not UTF-8
        sys.stdout.reconfigure(errors="backslashreplace")
    # Or Python searches all of PyTorch's objects for cycles when it ends, which takes a second or more.
    atexit.register(gc.freeze)
    with redirect_stdout(CleanStream(sys.stdout)), redirect_stderr(CleanStream(sys.stderr)):
        _run()


def _run() -> None:
    try:
        code = app(standalone_mode=False, prog_name="vlprompt")
        sys.stdout.flush()
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            print(error.format_message(), file=sys.stderr)
            sys.exit(2)
        _fail(describe_usage_error(error))
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):  # click turns one into exit code 1
            raise
        sys.exit(0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails when it flushes the rest
        sys.exit(0)
    except OSError as error:  # a file or folder that cannot be read or written
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except Exception:  # here, where standard error is cleaned: its text may hold names of files, too
        traceback.print_exc()
        sys.exit(1)
    if code == 130:  # some versions of typer turn an interrupt into an exit code
        print("interrupted", file=sys.stderr)
    sys.exit(code or 0)


def _fail(message: str) -> None:
    print(as_line(f"error: {message}"), file=sys.stderr)
    sys.exit(2)
