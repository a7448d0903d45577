"""Commands of many runs: run."""

import logging
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vlprompt.cli.options import PROTOCOLS, Backbone, Quiet, Root, RunDevice, Targets, Verbose, set_up_logging
from vlprompt.errors import VLPromptError

if TYPE_CHECKING:
    from vlprompt.experiments.engines.engine import Engine


class EngineName(StrEnum):
    """What can run the cells of a grid."""

    local = "local"
    ray = "ray"


def run(
    protocol: Annotated[str, typer.Argument(help=PROTOCOLS)],
    methods: Annotated[str, typer.Option(help="Names with commas between them, options in brackets: `coop,dapt`.")],
    datasets: Annotated[str, typer.Option(help="Names or paths, with commas between them.")],
    out: Annotated[Path, typer.Option(help="The grid's folder, with a run's folder for each cell.")],
    shots: Annotated[
        str | None, typer.Option(help="Training images of each class; default 1,2,4,8,16 for few-shot, else 16.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="A run for each.")] = "1,2,3",
    targets: Targets = None,
    root: Root = None,
    recipe: Annotated[
        str,
        typer.Option(
            help="paper (each method's own), unified (one for all), the name of another or of a set with one for each "
            "dataset (dapt/published), or a .yaml file."
        ),
    ] = "paper",
    backbone: Backbone = None,
    device: RunDevice = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting, for every cell.")
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="What runs the cells: this machine, or a Ray cluster.")
    ] = EngineName.local,
    workers: Annotated[int | None, typer.Option(min=1, help="local: cells at a time, each in a process.")] = None,
    address: Annotated[
        str | None, typer.Option(help="ray: HOST:PORT of the cluster, or auto; default one on this machine.")
    ] = None,
    cpus_per_cell: Annotated[float | None, typer.Option(min=1, help="ray: cores of a cell; default 1.")] = None,
    gpus_per_cell: Annotated[float | None, typer.Option(min=0, help="ray: GPUs of a cell, 0.5 for two on one.")] = None,
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

        vlprompt run cross-dataset --methods coop,maple --datasets openmoji,fontawesome --out runs/transfer

        vlprompt run few-shot --methods coop,dapt --datasets openmoji --workers 4 --out runs/grid

        vlprompt run few-shot --methods coop,dapt --datasets openmoji --engine ray --address auto --out runs/grid
    """
    set_up_logging(quiet, verbose, usual=logging.WARNING)
    _check_engine(
        engine,
        {"--workers": workers},
        {"--address": address, "--cpus-per-cell": cpus_per_cell, "--gpus-per-cell": gpus_per_cell},
    )
    from vlprompt.config.resolve import parse_numbers, parse_settings, split_list
    from vlprompt.experiments.plan import plan_grid
    from vlprompt.utils.progress import Reporter

    reporter = Reporter(quiet=quiet)
    planned = plan_grid(
        protocol,
        split_list(methods),
        split_list(datasets),
        shots=None if shots is None else parse_numbers("shots", shots),
        seeds=parse_numbers("seeds", seeds),
        out=out,
        recipe=recipe,
        targets=None if targets is None else split_list(targets),
        settings={
            "backbone.source": backbone,
            "data.root": root,
            "runtime.device": device,
            **parse_settings(set_ or []),
        },
    )
    if dry_run:
        for cell in planned.cells:
            print(f"{cell.folder}  {planned.state(cell)}")
    for line in planned.short_classes():
        reporter.warn(line)
    planned.rehearse(reporter)
    reporter.say(planned.summary(workers or 1))
    if dry_run:
        return
    try:
        chosen: Engine | None = None
        if engine is EngineName.ray:
            from vlprompt.experiments.engines.cluster import Cluster

            chosen = Cluster(address, 1 if cpus_per_cell is None else cpus_per_cell, gpus_per_cell or 0)
        elif workers is not None and workers > 1:
            from vlprompt.experiments.engines.local import Processes

            chosen = Processes(workers, planned.cells[0].config.runtime)
        failed = planned.run(reporter, chosen)
    except KeyboardInterrupt:
        print(f"interrupted; go on with the same command (--out {out})", file=sys.stderr)
        sys.exit(130)
    if planned.finished and not quiet:
        from vlprompt.results.collect import find_runs
        from vlprompt.results.formats import print_tables
        from vlprompt.results.tables import make_tables

        print_tables(make_tables(find_runs(cell.folder for cell in planned.cells)[0]))
    if failed:
        print(f"{len(failed)} of {len(planned.cells)} cells failed", file=sys.stderr)
        raise typer.Exit(1)


def _check_engine(engine: EngineName, of_local: dict[str, Any], of_ray: dict[str, Any]) -> None:
    """VLPromptError where an option of the other engine is given."""
    others, right = (of_local, EngineName.local) if engine is EngineName.ray else (of_ray, EngineName.ray)
    for option, value in others.items():
        if value is not None:
            raise VLPromptError(f"{option} {value} belongs to --engine {right}; add that, or leave {option} out")
