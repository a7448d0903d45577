"""The command line: one thin function per command."""

import json
import logging
import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

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

# typer carries click inside or beside it, as its version has it; this is click's UsageError in both.
UsageError: Any = typer.BadParameter.__base__

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors only: no progress, no summary.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Say more about what is read and done.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, for scripts.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run's folder, as `tune` leaves it.")]


class Listed(StrEnum):
    """What `vlprompt list` knows."""

    methods = "methods"
    datasets = "datasets"
    backbones = "backbones"
    recipes = "recipes"


class TableFormat(StrEnum):
    """How `vlprompt table` prints."""

    terminal = "terminal"
    markdown = "markdown"
    csv = "csv"


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 some images or cells failed, 2 a wrong call, 130 interrupted."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        code = app(standalone_mode=False)
    except VLPromptError as error:
        _fail(str(error))
    except UsageError as error:
        _fail(error.format_message())
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)
    sys.exit(code or 0)


@app.command()
def tune(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A dataset's name, a folder, or a .csv/.parquet file.")],
    method: Annotated[str, typer.Option(help="See `vlprompt list methods`.")] = "dapt",
    protocol: Annotated[str, typer.Option(help="few-shot (all classes) or base-to-new (half of them).")] = "few-shot",
    recipe: Annotated[
        str | None,
        typer.Option(help="Settings to start from; default METHOD/PROTOCOL. A name, `unified`, or a .yaml file."),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="embedded, an open_clip pair like ViT-B-16/openai, or a path.")
    ] = None,
    shots: Annotated[int | None, typer.Option(help="Training images of each class.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws the shots and everything else that is random.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/DATA-METHOD-SHOTS-SEED.")] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="File (.json, .yaml, .csv) that maps folder names to words.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, such as optim.epochs=20.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved run and stop.")] = False,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn prompts for the classes of DATA, test them, and leave a run's folder.

    Examples:

        vlprompt tune openmoji

        vlprompt tune pictures/ --shots 8 --out runs/mine

        vlprompt tune openmoji --method coop --protocol base-to-new --set optim.epochs=20
    """
    _logging(quiet, verbose)
    from vlprompt.config import parse_config
    from vlprompt.progress import Reporter
    from vlprompt.protocols.run import open_task
    from vlprompt.protocols.run import tune as run_tune
    from vlprompt.settings import resolve

    flags = {
        "backbone.source": backbone,
        "data.source": data,
        "data.shots": shots,
        "data.class_names": None if class_names is None else str(class_names),
        "seed": seed,
        "runtime.device": device,
    }
    config = parse_config(resolve(method, protocol, recipe, flags, set_ or []))
    folder = out or Path("runs") / f"{Path(data).stem}-{config.method.name}-{config.data.shots}-{config.seed}"
    if dry_run:
        task = open_task(config)
        task.check(task.method())
        if not quiet:
            shots_, dataset = task.shots, task.dataset
            print(
                f"# {dataset.name}: {len(dataset.class_names)} classes; trains on {len(shots_.train)} images of "
                f"{len(shots_.class_names)} classes, tests on up to {len(dataset.test)}; would write {folder}"
            )
        print(yaml.safe_dump(task.config.model_dump(mode="json"), sort_keys=False), end="")
        return
    try:
        record = run_tune(config, folder, resume=resume, reporter=Reporter(quiet=quiet))
    except KeyboardInterrupt:
        print(f"interrupted; go on with the same command and --resume (--out {folder})", file=sys.stderr)
        sys.exit(130)
    if as_json:
        print(json.dumps({"run": str(folder), "metrics": record.metrics, "timings": record.timings}))
    elif not quiet:
        from vlprompt.results.terminal import print_metrics

        print_metrics(record.metrics, title=f"{config.method.name} on {data}")
        print(f"run: {folder}   next: vlprompt predict {folder} IMAGES...")


@app.command()
def run(
    protocol: Annotated[str, typer.Argument(help="few-shot or base-to-new.")],
    methods: Annotated[str, typer.Option(help="Names with commas between them, options in brackets: `coop,dapt`.")],
    datasets: Annotated[str, typer.Option(help="Names or paths, with commas between them.")],
    out: Annotated[Path, typer.Option(help="The grid's folder, with a run's folder for each cell.")],
    shots: Annotated[str, typer.Option(help="Training images of each class.")] = "16",
    seeds: Annotated[str, typer.Option(help="A run for each.")] = "1,2,3",
    recipe: Annotated[
        str,
        typer.Option(help="paper (each method's own), unified (one for all), or a .yaml file without a method."),
    ] = "paper",
    backbone: Annotated[
        str | None, typer.Option(help="embedded, an open_clip pair like ViT-B-16/openai, or a path.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, for every cell.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and stop.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run every method on every dataset with every number of shots and every seed, then print the table.

    Cells that are finished are skipped and interrupted ones go on, so the same command again completes a grid.

    Examples:

        vlprompt run few-shot --methods zero-shot,coop,dapt --datasets openmoji --shots 1,4,16 --out runs/grid

        vlprompt run base-to-new --methods "dapt,dapt[beta_text=0]" --datasets openmoji,fontawesome --out runs/betas

        vlprompt run few-shot --methods coop,maple --datasets pictures/ --recipe unified --out runs/unified
    """
    _logging(quiet, verbose, usual=logging.WARNING)
    from vlprompt.progress import Reporter
    from vlprompt.protocols import grid

    reporter = Reporter(quiet=quiet)
    planned = grid.plan(
        protocol,
        grid.split_list(methods),
        grid.split_list(datasets),
        shots=grid.numbers("--shots", shots),
        seeds=grid.numbers("--seeds", seeds),
        out=out,
        recipe=recipe,
        flags={"backbone.source": backbone, "runtime.device": device},
        settings=set_,
    )
    if dry_run:
        for cell in planned.cells:
            print(f"{cell.folder}  {planned.state(cell)}")
        reporter.say(planned.summary())
        return
    reporter.say(planned.summary())
    try:
        failed = planned.run(reporter)
    except KeyboardInterrupt:
        print(f"interrupted; go on with the same command (--out {out})", file=sys.stderr)
        sys.exit(130)
    if planned.finished and not quiet:
        from vlprompt.results.collect import find_runs
        from vlprompt.results.tables import make_tables, print_tables

        print_tables(make_tables(find_runs(cell.folder for cell in planned.cells if cell.folder.is_dir())[0]))
    if failed:
        print(f"{len(failed)} of {len(planned.cells)} cells failed", file=sys.stderr)
        raise typer.Exit(1)


@app.command()
def table(
    runs: Annotated[list[Path], typer.Argument(metavar="RUNS...", help="Folders with runs, at any depth.")],
    format_: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.terminal,
    intervals: Annotated[
        bool, typer.Option("--intervals", help="Add 95% intervals by bootstrap over images and seeds.")
    ] = False,
) -> None:
    """Tables of all finished runs under RUNS, from their records alone.

    Runs of different protocols, recipes, splits or backbone weights never share a cell, and a cell whose seeds are not
    all finished says so in place of a number.

    Examples:

        vlprompt table runs/grid

        vlprompt table runs/unified runs/paper --format markdown --intervals > results.md

        vlprompt table runs/grid --format csv > results.csv
    """
    from vlprompt.results.collect import find_runs
    from vlprompt.results.tables import make_tables, print_tables, to_csv, to_markdown

    found, problems = find_runs(runs)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    tables = make_tables(found, intervals=intervals)
    if format_ is TableFormat.terminal:
        print_tables(tables, intervals=intervals)
    else:
        text = to_csv(tables) if format_ is TableFormat.csv else to_markdown(tables, intervals=intervals)
        print(text, end="")


@app.command()
def evaluate(
    run: Run,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Another dataset or folder; default the run's own tests.")
    ] = None,
    class_names: Annotated[Path | None, typer.Option(help="File that maps DATA's folder names to words.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Test a run's prompts, on its own test images or on other data with other classes.

    Examples:

        vlprompt evaluate runs/mine

        vlprompt evaluate runs/mine openmoji-line --json
    """
    _logging(quiet, verbose)
    from vlprompt.progress import Reporter
    from vlprompt.protocols.run import evaluate as run_evaluate
    from vlprompt.results.terminal import print_metrics

    names = None if class_names is None else str(class_names)
    found = run_evaluate(run, data, class_names=names, device=device, reporter=Reporter(quiet=quiet or as_json))
    if as_json:
        print(json.dumps(found))
        return
    about = ("run", "dataset", "method")
    metrics = {name: value for name, value in found.items() if name not in about}
    print_metrics(metrics, title=f"{found['method']} on {found['dataset']}")


@app.command()
def predict(
    run: Run,
    images: Annotated[list[Path], typer.Argument(metavar="IMAGES...", help="Image files.")],
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Classify images with a run's prompts, a line each. Exit code 1 if one of them could not be read.

    Examples:

        vlprompt predict runs/mine holiday.jpg

        vlprompt predict runs/mine *.png --json > answers.jsonl
    """
    _logging(quiet, verbose)
    from vlprompt.deploy.classifier import load

    classifier = load(run, device=device)
    failed = False
    for image in images:
        try:
            guess = classifier.predict(image)
        except VLPromptError as error:
            failed = True
            reason = str(error)
            print(json.dumps({"image": str(image), "error": reason}) if as_json else f"{image}: error: {reason}")
            continue
        if as_json:
            answer = {"image": str(image), "label": guess.label, "probability": guess.probability}
            print(json.dumps({**answer, "probabilities": guess.probabilities}), flush=True)
        else:
            print(f"{image}: {guess.label} ({guess.probability:.1%})", flush=True)
    if failed:
        raise typer.Exit(1)


@app.command(name="import")
def import_(
    method: Annotated[str, typer.Argument(help="coop, cocoop, maple, promptsrc, dapt or mudpt.")],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The authors' file, such as model.pth.tar-50.")],
    backbone: Annotated[str, typer.Option(help="The model they were tuned on, as in `tune`.")],
    class_names: Annotated[
        Path, typer.Option(help="The classes in order: .txt (one a line), .json or .yaml (a list), or as in `tune`.")
    ],
    out: Annotated[Path, typer.Option(help="The run's folder.")],
    device: Device = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="What FILE cannot tell, such as method.ctx_init=a photo of a."),
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn prompts that a paper's own program saved into a run's folder, for `evaluate` and `predict`.

    Examples:

        vlprompt import coop model.pth.tar-50 --backbone ViT-B-16/openai --class-names classes.txt --out runs/theirs

        vlprompt import maple model.pth.tar-5 --backbone ViT-B-16.pt --class-names classes.json --out runs/maple
    """
    from vlprompt.importing import import_prompts
    from vlprompt.settings import put_settings

    values: dict[str, Any] = {}
    put_settings(values, set_ or [])
    options = values.pop("method", {})
    if values or not isinstance(options, dict):
        raise VLPromptError("--set: an import takes options of the method only, as method.KEY=VALUE")
    record = import_prompts(
        method, file, backbone=backbone, class_names=class_names, out=out, options=options, device=device
    )
    if as_json:
        print(record.model_dump_json())
    elif not quiet:
        from vlprompt.results.terminal import print_record

        print_record(record, out)


@app.command(name="list")
def list_(what: Annotated[Listed, typer.Argument(help="What to list.")], as_json: Json = False) -> None:
    """List methods with their options, datasets, backbones or recipes.

    Examples:

        vlprompt list methods

        vlprompt list recipes --json
    """
    from vlprompt.results.terminal import listing

    entries = listing(what.value)
    if as_json:
        print(json.dumps(entries))
        return
    for entry in entries:
        print(entry["name"] + (f"  {entry['about']}" if entry.get("about") else ""))
        for option in entry.get("options", []):
            print(f"    {option['name']} = {option['default']}  {option['about']}")


@app.command()
def info(run: Run, as_json: Json = False) -> None:
    """Show what a run is: its settings, status, history and metrics.

    Examples:

        vlprompt info runs/mine

        vlprompt info runs/mine --json
    """
    from vlprompt.results.terminal import print_record
    from vlprompt.training.record import read_record

    record = read_record(run)
    if as_json:
        print(record.model_dump_json())
    else:
        print_record(record, run)


@app.command()
def quickstart(
    out: Annotated[Path, typer.Option(help="Folder of the runs and the picture.")] = Path("runs/quickstart"),
    quiet: Quiet = False,
) -> None:
    """Compare zero-shot, CoOp and DAPT on real pictures, offline, in minutes.

    Examples:

        vlprompt quickstart
    """
    _logging(quiet, False)
    from vlprompt.progress import Reporter
    from vlprompt.quickstart import run_quickstart

    run_quickstart(out, Reporter(quiet=quiet))


def _logging(quiet: bool, verbose: bool, usual: int = logging.INFO) -> None:
    level = logging.ERROR if quiet else logging.DEBUG if verbose else usual
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("vlprompt")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(level)


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
