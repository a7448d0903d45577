"""Commands of one run: tune, evaluate, import, quickstart."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from vlprompt.cli.options import (
    PROTOCOLS,
    Backbone,
    Data,
    Device,
    Json,
    Quiet,
    Root,
    Run,
    RunBackbone,
    RunDevice,
    Targets,
    Verbose,
    set_up_logging,
)
from vlprompt.errors import VLPromptError


def tune(
    data: Data,
    method: Annotated[
        str | None, typer.Option(help="See `vlprompt list methods`; default that of the recipe, or dapt.")
    ] = None,
    protocol: Annotated[
        str | None, typer.Option(help=f"{PROTOCOLS[:-1]}; default that of the recipe, or few-shot.")
    ] = None,
    targets: Targets = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Settings to start from; default METHOD/PROTOCOL. A name (`unified`, `dapt/published`), or a file."
        ),
    ] = None,
    backbone: Backbone = None,
    shots: Annotated[int | None, typer.Option(help="Training images of each class.")] = None,
    seed: Annotated[int | None, typer.Option(help="Draws the shots and everything else that is random.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run's folder; default runs/DATA-METHOD-SHOTS-SEED.")] = None,
    class_names: Annotated[
        Path | None, typer.Option(help="File (.json, .yaml, .csv) that maps folder names to words.")
    ] = None,
    root: Root = None,
    device: RunDevice = None,
    devices: Annotated[int | None, typer.Option(help="How many to train on, each with its share of a batch.")] = None,
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

        vlprompt tune openmoji --protocol cross-dataset --targets fontawesome,pictures/
    """
    set_up_logging(quiet, verbose)
    from vlprompt.config.resolve import parse_settings, resolve_config, split_list
    from vlprompt.experiments.run import run_experiment
    from vlprompt.experiments.task import open_task
    from vlprompt.utils.progress import Reporter

    flags = {
        "backbone.source": backbone,
        "data.source": data,
        "data.targets": None if targets is None else split_list(targets),
        "data.shots": shots,
        "data.name_map": None if class_names is None else str(class_names),
        "data.root": root,
        "seed": seed,
        "runtime.device": device,
        "runtime.devices": devices,
    }
    settings = {**flags, **parse_settings(set_ or [])}
    config = resolve_config(method=method, protocol=protocol, recipe=recipe, settings=settings)
    name = f"{Path(config.data.source).stem}-{config.method.name}-{config.data.shots}-{config.seed}"
    folder = out or Path("runs") / name
    if dry_run:
        task = open_task(config)
        task.check(task.method())
        if not quiet:
            shots_, dataset = task.shots, task.dataset
            tests = ", ".join(f"{test.images} ({name})" for name, test in task.tests.items())
            print(
                f"# {dataset.name}: {len(dataset.class_names)} classes; trains on {len(shots_.train)} images of "
                f"{len(shots_.class_names)} classes; tests on {tests}; would write {folder}"
            )
        print(yaml.safe_dump(task.config.model_dump(mode="json"), sort_keys=False), end="")
        return
    try:
        record = run_experiment(config, folder, resume=resume, reporter=Reporter(quiet=quiet))
    except KeyboardInterrupt:
        print(f"interrupted; go on with the same command and --resume (--out {folder})", file=sys.stderr)
        sys.exit(130)
    if as_json:
        print(json.dumps({"run": str(folder), "metrics": record.metrics, "timings": record.timings}))
    elif not quiet:
        from vlprompt.results.summary import print_metrics

        if record.metrics:
            print_metrics(record.metrics, title=f"{config.method.name} on {data}")
        print(f"run: {folder}   next: vlprompt predict {folder} IMAGES...")


def evaluate(
    run: Run,
    data: Annotated[
        str | None, typer.Argument(metavar="[DATA]", help="Another dataset or folder; default the run's own tests.")
    ] = None,
    class_names: Annotated[Path | None, typer.Option(help="File that maps DATA's folder names to words.")] = None,
    root: Root = None,
    backbone: RunBackbone = None,
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
    set_up_logging(quiet, verbose)
    from vlprompt.experiments.run import evaluate as run_evaluate
    from vlprompt.results.summary import print_metrics
    from vlprompt.utils.progress import Reporter

    found = run_evaluate(
        run,
        data,
        name_map=None if class_names is None else str(class_names),
        root=root,
        device=device,
        backbone=backbone,
        reporter=Reporter(quiet=quiet or as_json),
    )
    if as_json:
        print(json.dumps(found))
        return
    about = ("run", "dataset", "method")
    metrics = {name: value for name, value in found.items() if name not in about}
    print_metrics(metrics, title=f"{found['method']} on {found['dataset']}")


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
    from vlprompt.config.resolve import parse_settings
    from vlprompt.runs.importing import import_prompts

    settings = parse_settings(set_ or [])
    options: dict[str, Any] = {key.removeprefix("method."): value for key, value in settings.items()}
    if not all(key.startswith("method.") for key in settings):
        raise VLPromptError("--set: an import takes options of the method only, as method.KEY=VALUE")
    record = import_prompts(
        method, file, backbone=backbone, class_names=class_names, out=out, options=options, device=device
    )
    if as_json:
        print(record.model_dump_json())
    elif not quiet:
        from vlprompt.results.summary import print_record

        print_record(record, out)


def quickstart(
    out: Annotated[Path, typer.Option(help="Folder of the runs and the picture.")] = Path("runs/quickstart"),
    quiet: Quiet = False,
) -> None:
    """Compare zero-shot, CoOp and DAPT on real pictures, offline, in minutes.

    Examples:

        vlprompt quickstart
    """
    set_up_logging(quiet, False)
    from vlprompt.cli.quickstart import run_quickstart
    from vlprompt.utils.progress import Reporter

    run_quickstart(out, Reporter(quiet=quiet))
