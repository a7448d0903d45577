"""The command that lets others use a run: serve."""

from typing import Annotated

import typer

from vlprompt.cli.options import Device, Quiet, Run, RunBackbone, Verbose, set_up_logging
from vlprompt.errors import VLPromptError

NEEDED = {"fastapi", "prometheus_client", "python_multipart", "starlette", "uvicorn"}


def serve(
    run: Run,
    host: Annotated[str, typer.Option(help="Address to listen at; another than this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free.")] = 8000,
    token: Annotated[
        str | None,
        typer.Option(envvar="VLPROMPT_TOKEN", help="What requests have to bring; the variable keeps it out of `ps`."),
    ] = None,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Let requests with the token add classes for everyone.")
    ] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Most images in the model at a time; 1 for one by one.")] = 16,
    queue: Annotated[int, typer.Option(min=1, help="Most predictions inside; one more is told to come back.")] = 64,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that an answer may take.")] = 30.0,
    max_megabytes: Annotated[float, typer.Option(min=0.001, help="Most of a request.")] = 20.0,
    max_megapixels: Annotated[float, typer.Option(min=0.001, max=178.0, help="Most of an image.")] = 50.0,
    backbone: RunBackbone = None,
    device: Device = "auto",
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Answer over HTTP with a run's prompts, and serve a page to try them on. Ctrl-C or SIGTERM ends it.

    Examples:

        vlprompt serve runs/mine

        curl -F image=@holiday.jpg http://127.0.0.1:8000/v1/predict

        VLPROMPT_TOKEN=$(cat token.txt) vlprompt serve runs/mine --host 0.0.0.0 --port 80 --allow-edit
    """
    set_up_logging(quiet, verbose)
    try:
        from vlprompt.serve.middleware import is_loopback
        from vlprompt.serve.server import address_of, check_access, listen
        from vlprompt.serve.server import run as run_service
        from vlprompt.serve.service import Service
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        raise VLPromptError(f'serve needs {error.name}: pip install "vlprompt[serve]"') from error
    from vlprompt.classifier.classifier import load_classifier
    from vlprompt.serve.limits import Limits

    check_access(host, token, allow_edit=allow_edit)
    limits = Limits(
        batch_size=batch_size,
        queue=queue,
        timeout=timeout,
        request_bytes=int(max_megabytes * 1e6),
        pixels=int(max_megapixels * 1e6),
    )
    with listen(host, port) as listening:
        service = Service(load_classifier(run, device=device, backbone=backbone), limits, editable=allow_edit)
        if not quiet:
            print(f"{address_of(listening, host)}   page, API at /docs; Ctrl-C ends it", flush=True)
        if not run_service(service, listening, token=token, loopback=is_loopback(host)):
            raise typer.Exit(130)
    if not quiet:
        count = service.metrics.answered
        print(f"stopped after {count:,} request{'s' * (count != 1)}, all of them answered")
