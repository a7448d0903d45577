"""The command `vlprompt serve`."""

from typing import Annotated

import typer

from vlprompt.cli.options import (
    Device,
    Quiet,
    Run,
    RunBackbone,
    Runtime,
    RuntimePrecision,
    Verbose,
    loading,
    set_up_logging,
)
from vlprompt.errors import VLPromptError
from vlprompt.utils.strings import counted

NEEDED = {"fastapi", "prometheus_client", "python_multipart", "starlette", "uvicorn"}


def serve(
    run: Run,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="Address to listen on; a public one requires a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", min=0, max=65535, help="Port to listen on; 0 chooses a free one.")
    ] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            metavar="TOKEN",
            envvar="VLPROMPT_TOKEN",
            help="Token that requests must send; the variable keeps it out of process lists.",
        ),
    ] = None,
    allow_edit: Annotated[
        bool, typer.Option("--allow-edit", help="Allow requests with the token to add classes for everyone.")
    ] = False,
    batch_size: Annotated[int, typer.Option(metavar="N", min=1, help="Maximum number of images per batch.")] = 16,
    queue: Annotated[
        int, typer.Option(metavar="N", min=1, help="Maximum number of requests in flight; further ones get 429.")
    ] = 64,
    timeout: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=0.1, help="Time limit for a request to arrive, and again for its answer."),
    ] = 30.0,
    max_megabytes: Annotated[
        float, typer.Option(metavar="MB", min=0.001, help="Maximum size of a request body.")
    ] = 20.0,
    max_megapixels: Annotated[
        float, typer.Option(metavar="MP", min=0.001, max=178.0, help="Maximum size of an image.")
    ] = 50.0,
    backbone: RunBackbone = None,
    device: Device = "auto",
    runtime: Runtime = "torch",
    precision: RuntimePrecision = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Serve a run over HTTP, with a web page to try it.

    Ctrl-C or SIGTERM stops it after all requests in flight are answered.

    Examples:
        vlprompt serve runs/mine
        vlprompt serve runs/mine --runtime onnx --precision int8
        curl -F image=@holiday.jpg http://127.0.0.1:8000/v1/predict
        VLPROMPT_TOKEN=$(cat token.txt) vlprompt serve runs/mine \\
            --host 0.0.0.0 --port 8080 --allow-edit
    """
    set_up_logging(quiet, verbose)
    try:
        with loading("loading PyTorch", quiet):
            from vlprompt.serve.middleware import is_loopback
            from vlprompt.serve.server import address_of, check_access, listen
            from vlprompt.serve.server import run as run_service
            from vlprompt.serve.service import Service
    except ModuleNotFoundError as error:
        if error.name not in NEEDED:
            raise
        raise VLPromptError(f'serve needs {error.name}; run `pip install "vlprompt[serve]"`') from error
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
        classifier = load_classifier(run, device=device, backbone=backbone, runtime=runtime, precision=precision)
        service = Service(classifier, limits, editable=allow_edit)
        if not quiet:
            print(f"{address_of(listening, host)}   API docs at /docs; Ctrl-C stops the server", flush=True)
        aborted = run_service(service, listening, token=token, loopback=is_loopback(host))
    if not quiet:
        end = f"{counted(aborted, 'connection')} aborted" if aborted else "all of them answered"
        print(f"stopped after {counted(service.metrics.answered, 'request')}, {end}")
