"""The command `vlprompt evaluate`."""

from typing import Annotated

import typer

from vlprompt.cli import complete
from vlprompt.cli.options import (
    Device,
    Exclude,
    Json,
    NameMap,
    Quiet,
    Root,
    Run,
    RunBackbone,
    Verbose,
    chosen_format,
    loading,
    output_format,
    set_up_logging,
)
from vlprompt.cli.output import print_json


def evaluate(
    run: Run,
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="DATA",
            autocompletion=complete.datasets,
            help="Another dataset, as in `vlprompt tune`.  [default: the run's own tests]",
        ),
    ] = None,
    name_map: NameMap = None,
    root: Root = None,
    exclude: Exclude = None,
    backbone: RunBackbone = None,
    device: Device = "auto",
    form: Annotated[str, output_format("table", "json")] = "table",
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Test a run on its own test images, or on another dataset.

    The other dataset may have other classes: the learned prompts are applied to its class names. All images of a folder
    without a test split are tested, except those that the run learned from.

    Examples:
        vlprompt evaluate runs/mine
        vlprompt evaluate runs/mine openmoji-line --json
        vlprompt evaluate runs/mine photos/ --exclude '*_mask.png'
    """
    set_up_logging(quiet, verbose)
    form = chosen_format(form, as_json)
    with loading("loading PyTorch", quiet):
        from vlprompt.experiments.run import evaluate as evaluate_run
        from vlprompt.results.summary import print_metrics
        from vlprompt.utils.progress import Reporter

    found = evaluate_run(
        run,
        data,
        name_map=None if name_map is None else str(name_map),
        root=root,
        exclude=exclude or (),
        device=device,
        backbone=backbone,
        reporter=Reporter(quiet=quiet or form != "table"),
    )
    if form == "json":
        print_json(found)
        return
    metrics = {name: value for name, value in found.items() if name not in ("run", "dataset", "method")}
    print_metrics(metrics, title=f"{found['method']} on {found['dataset']}")
