"""A server in a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import uvicorn

from vlprompt import Classifier
from vlprompt.serve.app import create_app
from vlprompt.serve.limits import Limits
from vlprompt.serve.server import HeadTimeoutProtocol, listen
from vlprompt.serve.service import Service


@contextmanager
def server(classifier: Classifier, *, token: str | None = None, editable: bool = False) -> Iterator[str]:
    """Serve a classifier; yields the address."""
    service = Service(classifier, Limits(), editable=editable)
    config = uvicorn.Config(
        create_app(service, token=token), http=HeadTimeoutProtocol, lifespan="off", log_level="error"
    )
    with listen("127.0.0.1", 0) as listening:
        running = uvicorn.Server(config)
        thread = Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join()
    service.close()
