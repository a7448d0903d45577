"""The command `vlprompt tune`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vlprompt.cli import complete
from vlprompt.cli.options import (
    Backbone,
    BatchSize,
    Data,
    Epochs,
    Exclude,
    Json,
    LearningRate,
    NameMap,
    Quiet,
    Root,
    RunDevice,
    Settings,
    Targets,
    Verbose,
    chosen_format,
    listed,
    loading,
    one_of,
    output_format,
    set_up_logging,
)
from vlprompt.cli.output import print_json

if TYPE_CHECKING:
    from vlprompt.config.schema import RunConfig


def tune(
    data: Data,
    method: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete.methods,
            help="Method; see `vlprompt list methods`.  [default: the recipe's, or dapt; coop on photos]",
        ),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            callback=one_of(*complete.PROTOCOLS),
            autocompletion=complete.protocols,
            help=f"{listed(complete.PROTOCOLS)}.  [default: the recipe's, or few-shot]",
        ),
    ] = None,
    targets: Targets = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete.recipes,
            help="Settings to start from: `paper`, `photos`, `unified`, another name in `vlprompt list recipes`, or a "
            ".yaml file.  [default: the method's own for the backbone: photos, or paper]",
        ),
    ] = None,
    backbone: Backbone = None,
    shots: Annotated[
        int | None, typer.Option(metavar="N", help="Training images per class.  [default: the recipe's, or 16]")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", help="Seed of everything random.  [default: the recipe's, or 1]")
    ] = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Run folder.  [default: runs/DATA-METHOD-SHOTS-SEED]"),
    ] = None,
    name_map: NameMap = None,
    root: Root = None,
    exclude: Exclude = None,
    device: RunDevice = None,
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Number of devices to train on; they share each batch.  [default: the recipe's, or 1]"
        ),
    ] = None,
    set_: Settings = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved settings and exit.")] = False,
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Learn prompts for the classes of a dataset.

    Draws the shots, trains, tests, and writes a run folder. Compares the result with chance, zero-shot and a linear
    probe on the same shots. Settings come from the recipe, then from options, then
    from --set; `vlprompt list methods` shows the options of each method.

    Examples:
        vlprompt tune images/
        vlprompt tune images/ --shots 8 --epochs 20 --out runs/mine
        vlprompt tune openmoji --backbone embedded --protocol base-to-new
        vlprompt tune images/ --method dapt --set method.beta_text=0.1 --dry-run
        vlprompt tune images/ --protocol cross-dataset --targets others/
    """
    set_up_logging(quiet, verbose)
    form = chosen_format(form, as_json)
    with loading("loading PyTorch", quiet):
        from vlprompt.config.resolve import parse_names, parse_settings, resolve_config
        from vlprompt.experiments.run import run_experiment
        from vlprompt.experiments.task import say_backbone
        from vlprompt.utils.progress import Reporter

    reporter = Reporter(quiet=quiet)
    settings = {
        "backbone.source": backbone,
        "data.source": data,
        "data.targets": None if targets is None else parse_names("targets", targets),
        "data.shots": shots,
        "data.name_map": None if name_map is None else str(name_map),
        "data.root": root,
        "data.exclude": exclude or None,
        "seed": seed,
        "optim.epochs": epochs,
        "optim.batch_size": batch_size,
        "optim.lr": lr,
        "runtime.device": device,
        "runtime.devices": devices,
        **parse_settings(set_ or []),
    }
    config = resolve_config(method=method, protocol=protocol, recipe=recipe, settings=settings)
    say_backbone(reporter, recipe, settings)
    name = f"{Path(config.data.source).stem}-{config.method.name}-{config.data.shots}-{config.seed}"
    folder = out or Path("runs") / name
    if dry_run:
        _print_plan(config, folder, form, quiet)
        return
    try:
        record = run_experiment(config, folder, resume=resume, reporter=reporter, baselines=True)
    except KeyboardInterrupt:
        print(f"interrupted; continue with the same command and --resume (--out {folder})", file=sys.stderr)
        sys.exit(130)
    if form == "json":
        results = {"metrics": record.metrics, "baselines": record.baselines, "timings": record.timings}
        print_json({"run": str(folder), **results})
    elif not quiet:
        from vlprompt.results.summary import print_baselines, print_metrics

        if record.learning:
            print(record.learning.summary)
        if record.metrics:
            print_metrics(record.metrics, title=f"{config.method.name} on {data}")
            print_baselines(record)
        print(f"run: {folder}   next: vlprompt predict {folder} IMAGES...")


def _print_plan(config: "RunConfig", folder: Path, form: str, quiet: bool) -> None:
    """Run all checks of a run, then print its resolved settings as JSON or as YAML for `--recipe`."""
    import yaml

    from vlprompt.experiments.task import open_task

    task = open_task(config)
    task.check(task.method())
    resolved = task.config.model_dump(mode="json")
    if form == "json":
        print_json(resolved)
        return
    if not quiet:
        shots, dataset = task.shots, task.dataset
        tests = ", ".join(f"{test.images} ({name})" for name, test in task.tests.items()) or "nothing"
        print(
            f"# {dataset.name}: {len(dataset.class_names)} classes; trains on {len(shots.train)} images of "
            f"{len(shots.class_names)} classes; tests on {tests}; would write {folder}"
        )
    print(yaml.safe_dump(resolved, sort_keys=False), end="")
