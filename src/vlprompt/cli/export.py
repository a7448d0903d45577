"""The command `vlprompt export`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vlprompt.cli.options import Json, Quiet, Run, RunBackbone, Verbose, loading, one_of, set_up_logging
from vlprompt.cli.output import print_json


def export(
    run: Run,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            callback=one_of("onnx", "openvino"),
            help="Format: onnx, for onnxruntime, or openvino (an .xml and a .bin file).",
        ),
    ] = "onnx",
    precision: Annotated[
        str,
        typer.Option(
            metavar="TYPE",
            callback=one_of("fp32", "fp16", "bf16", "int8"),
            help="Precision: fp32, fp16 (onnx), bf16 (openvino) or int8.",
        ),
    ] = "fp32",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File to write.  [default: model-PRECISION.onnx or .xml in RUN]")
    ] = None,
    images: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGES",
            help="Files, folders or patterns to compare on; repeatable.  [default: the run's test images]",
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
    backbone: RunBackbone = None,
    as_json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Export a run for onnxruntime or OpenVINO.

    The file needs neither torch nor vlprompt. Its predictions are compared with PyTorch's before it is written: nothing
    is written if they differ in fp32 or if, in another precision, fewer than 95% of the images get the same class.

    Examples:
        vlprompt export runs/mine
        vlprompt export runs/mine --precision int8 --images holiday/
        vlprompt export runs/mine --format openvino --precision int8
    """
    set_up_logging(quiet, verbose)
    with loading("loading PyTorch", quiet):
        from vlprompt.export.exporting import export_run

    written = export_run(
        run,
        out,
        format=form,
        precision=precision,
        images=images or (),
        overwrite=overwrite,
        backbone=backbone,
        quiet=quiet,
    )
    if as_json:
        print_json(asdict(written))
    elif not quiet:
        print(
            f"{written.file}: {written.size / 1e6:.1f} MB, {precision}, {written.speed:.1f} times PyTorch's speed here"
        )
        print(f"{written.agreement}")
        if written.fastest:
            runtime, best = written.fastest
            options = "" if runtime == "torch" else f" --runtime {runtime} --precision {best}"
            print(f"fastest here: vlprompt serve {run}{options}")
