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


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 some images failed, 2 a mistake in the call, 130 interrupted."""
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
        str | None, typer.Option(help="Settings to start from; default METHOD/PROTOCOL. A name or a .yaml file.")
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

    flags = {
        "backbone.source": backbone,
        "data.source": data,
        "data.shots": shots,
        "data.class_names": None if class_names is None else str(class_names),
        "seed": seed,
        "runtime.device": device,
    }
    config = parse_config(_resolved(method, protocol, recipe, flags, set_ or []))
    folder = out or Path("runs") / f"{Path(data).stem}-{config.method.name}-{config.data.shots}-{config.seed}"
    if dry_run:
        task = open_task(config)
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


def _resolved(
    method: str, protocol: str, recipe: str | None, flags: dict[str, Any], settings: list[str]
) -> dict[str, Any]:
    """The run's values: the recipe, then flags that were given, then --set."""
    from vlprompt.methods import METHODS
    from vlprompt.recipes import list_recipes, read_recipe

    if recipe is None:
        METHODS.get(method)
        recipe = f"{method}/{protocol}"
        if recipe not in list_recipes():
            values: dict[str, Any] = {"protocol": protocol, "method": {"name": method}}
        else:
            values = read_recipe(recipe)
    else:
        values = read_recipe(recipe)
    for key, value in flags.items():
        if value is not None:
            _put(values, key, value)
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals:
            raise VLPromptError(f"--set {setting}: write it as KEY=VALUE, such as --set optim.epochs=20")
        _put(values, key, _value(text))
    return values


def _value(text: str) -> Any:
    """A value as YAML reads it, or the text itself where that is not YAML, as "{} texture." is not."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _put(values: dict[str, Any], key: str, value: Any) -> None:
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise VLPromptError(f"--set {key}: {section!r} is a value, not a section")
    values[last] = value


def _logging(quiet: bool, verbose: bool) -> None:
    level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
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
