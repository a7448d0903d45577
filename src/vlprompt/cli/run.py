"""The command `vlprompt run`."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlprompt.cli import complete
from vlprompt.cli.options import (
    Backbone,
    BatchSize,
    Epochs,
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
from vlprompt.cli.output import TABLE_FORMATS, TERMINAL, print_json, print_tables
from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.experiments.engines.engine import Engine
    from vlprompt.experiments.grid import Grid


def run(
    protocol: Annotated[
        str,
        typer.Argument(
            metavar="PROTOCOL",
            callback=one_of(*complete.PROTOCOLS),
            autocompletion=complete.protocols,
            help=f"{listed(complete.PROTOCOLS)}.",
        ),
    ],
    methods: Annotated[
        str, typer.Option(metavar="A,B", help="Methods, separated by commas; options in brackets: dapt[n_text=8].")
    ],
    datasets: Annotated[
        str, typer.Option(metavar="X,Y", help="Datasets, separated by commas, each as DATA, or a group: pictobench.")
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Grid folder; each cell is a run folder in it.")],
    shots: Annotated[
        str | None,
        typer.Option(
            metavar="K,L", help="Training images per class.  [default: 1,2,4,8,16 for few-shot, 16 for the others]"
        ),
    ] = None,
    seeds: Annotated[str, typer.Option(metavar="S,T", help="Seeds, one run each.")] = "1,2,3",
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    lr: LearningRate = None,
    targets: Targets = None,
    name_map: NameMap = None,
    root: Root = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            autocompletion=complete.recipes,
            help="Settings to start from: `paper` (each method's own), `photos` (its own for that backbone), `unified` "
            "(one for all), another name in `vlprompt list recipes`, or a .yaml file.  [default: each method's own for "
            "the backbone: photos, or paper]",
        ),
    ] = None,
    backbone: Backbone = None,
    device: RunDevice = None,
    set_: Settings = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            callback=one_of("local", "ray"),
            help="What runs the cells: local (this machine) or ray (a Ray cluster).",
        ),
    ] = "local",
    workers: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="local: number of cells to run in parallel.  [default: 1]")
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="ray: the cluster, or auto.  [default: a new one on this machine]"),
    ] = None,
    cpus_per_cell: Annotated[
        float | None, typer.Option(metavar="N", min=1, help="ray: cores per cell.  [default: 1]")
    ] = None,
    gpus_per_cell: Annotated[
        float | None,
        typer.Option(metavar="N", min=0, help="ray: GPUs per cell; 0.5 runs two on one.  [default: 0]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the cells and exit.")] = False,
    form: Annotated[str, output_format(*TABLE_FORMATS, former=(TERMINAL,))] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run a grid: methods x datasets x shots x seeds.

    Prints the table of the results. Finished cells are skipped and interrupted ones continue, so the same command
    completes a grid.

    Examples:
        vlprompt run few-shot --methods zero-shot,coop,dapt \\
            --datasets openmoji --backbone embedded --shots 1,4,16 --out runs/grid
        vlprompt run base-to-new --methods "dapt,dapt[beta_text=0]" \\
            --datasets openmoji,fontawesome --backbone embedded --out runs/betas
        vlprompt run few-shot --methods coop,kgcoop --datasets images/ \\
            --recipe unified --epochs 20 --out runs/unified
        vlprompt run cross-dataset --methods coop,maple \\
            --backbone embedded --datasets openmoji,fontawesome --out runs/a
        vlprompt run few-shot --methods coop,dapt --datasets openmoji \\
            --backbone embedded --engine ray --address auto --out runs/grid
    """
    set_up_logging(quiet, verbose, usual=logging.WARNING)
    form = chosen_format(form, as_json)
    _check_engine(
        engine,
        {"--workers": workers},
        {"--address": address, "--cpus-per-cell": cpus_per_cell, "--gpus-per-cell": gpus_per_cell},
    )
    with loading("loading PyTorch", quiet):
        from vlprompt.config.resolve import parse_names, parse_numbers, parse_settings
        from vlprompt.experiments.plan import plan_grid
        from vlprompt.experiments.task import say_backbone
        from vlprompt.utils.progress import Reporter

    reporter = Reporter(quiet=quiet)
    settings = {
        "backbone.source": backbone,
        "data.name_map": None if name_map is None else str(name_map),
        "data.root": root,
        "optim.epochs": epochs,
        "optim.batch_size": batch_size,
        "optim.lr": lr,
        "runtime.device": device,
        **parse_settings(set_ or []),
    }
    say_backbone(reporter, recipe, settings)
    planned = plan_grid(
        protocol,
        parse_names("methods", methods),
        parse_names("datasets", datasets),
        shots=None if shots is None else parse_numbers("shots", shots),
        seeds=parse_numbers("seeds", seeds),
        out=out,
        recipe=recipe,
        targets=None if targets is None else parse_names("targets", targets),
        settings=settings,
    )
    if dry_run:
        _print_cells(planned, form)
    for line in planned.short_classes():
        reporter.warn(line)
    planned.rehearse(reporter)
    reporter.say(planned.summary(workers or 1))
    if dry_run:
        return
    try:
        is_ray = engine == "ray"
        chosen = _cluster(address, cpus_per_cell, gpus_per_cell) if is_ray else _processes(workers, planned)
        failed = planned.run(reporter, chosen)
    except KeyboardInterrupt:
        print(f"interrupted; continue with the same command (--out {out})", file=sys.stderr)
        sys.exit(130)
    if (planned.finished and not quiet) or form != "table":
        from vlprompt.results.collect import find_runs

        print_tables(find_runs(cell.folder for cell in planned.cells)[0], form)
    if failed:
        print(f"{len(failed)} of {len(planned.cells)} cells failed", file=sys.stderr)
        raise typer.Exit(1)


def _print_cells(planned: "Grid", form: str) -> None:
    """Print the folder and the state of each cell."""
    cells = [{"folder": str(cell.folder), "state": planned.state(cell)} for cell in planned.cells]
    if form == "json":
        print_json(cells)
        return
    for cell in cells:
        print(f"{cell['folder']}  {cell['state']}")


def _cluster(address: str | None, cpus: float | None, gpus: float | None) -> "Engine":
    from vlprompt.experiments.engines.cluster import Cluster

    return Cluster(address, 1 if cpus is None else cpus, gpus or 0)


def _processes(workers: int | None, planned: "Grid") -> "Engine | None":
    """Return the engine of several processes; None for this process."""
    if workers is None or workers == 1:
        return None
    from vlprompt.experiments.engines.local import Processes

    return Processes(workers, planned.cells[0].config.runtime)


def _check_engine(engine: str, of_local: dict[str, Any], of_ray: dict[str, Any]) -> None:
    """Raise VLPromptError if an option of the other engine was given."""
    others, right = (of_local, "local") if engine == "ray" else (of_ray, "ray")
    for option, value in others.items():
        if value is not None:
            raise VLPromptError(f"{option} {value} requires --engine {right}; add it, or leave {option} out")
