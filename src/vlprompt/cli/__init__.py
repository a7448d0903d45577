"""The command line: one thin function per command."""

import io
import os
import signal
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Any

import typer

from vlprompt.cli import data
from vlprompt.cli import export as exporting
from vlprompt.cli import inspect as inspecting
from vlprompt.cli import list as showing
from vlprompt.cli import predict as using
from vlprompt.cli import run as grids
from vlprompt.cli import serve as serving
from vlprompt.cli import split as splits
from vlprompt.cli import table as results
from vlprompt.cli import tune as tuning
from vlprompt.errors import VLPromptError

# torch and open_clip take seconds to import, so every command imports what it runs, and --help is instant.

app = typer.Typer(
    name="vlprompt",
    help="Prompt tuning of vision-language models: from a handful of images per class to a classifier.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _say_version(wanted: bool) -> None:
    if wanted:
        print(version("vlprompt"))
        raise typer.Exit


@app.callback()
def _options(
    version_: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None: ...


# In the order that --help shows.
COMMANDS: dict[str, Callable[..., None]] = {
    "tune": tuning.tune,
    "evaluate": tuning.evaluate,
    "predict": using.predict,
    "serve": serving.serve,
    "export": exporting.export,
    "inspect": inspecting.inspect,
    "run": grids.run,
    "table": results.table,
    "plot": results.plot,
    "report": results.report,
    "import": tuning.import_,
    "list": showing.list_,
    "info": showing.info,
    "quickstart": tuning.quickstart,
}
for name, command in COMMANDS.items():
    app.command(name)(command)
data.app.command()(splits.split)
data.app.command()(splits.verify)
app.add_typer(data.app)

# typer carries click inside or beside it, as its version has it; this is click's UsageError in both.
UsageError: Any = typer.BadParameter.__base__


def main() -> None:
    """Run the command line.

    Exit codes: 0 done, or nobody reads on, 1 some images or cells failed, 2 a wrong call, 130 interrupted.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files can be what no terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()
    except VLPromptError as error:
        _fail(str(error))
    except UsageError as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except SystemExit as stop:
        if not isinstance(stop.__context__, BrokenPipeError):  # of which click makes exit code 1
            raise
        sys.exit(0)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python would flush what is left, and fail
        sys.exit(0)
    except OSError as error:  # of a disk or a folder, whose state is the user's
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    if code == 130:  # some versions of typer make an exit code of an interrupt
        print("interrupted", file=sys.stderr)
    sys.exit(code or 0)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)
