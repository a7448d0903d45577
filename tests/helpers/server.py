"""A server in a thread."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

from vlprompt import Classifier
from vlprompt.serve.limits import Limits
from vlprompt.serve.server import listen, make_server
from vlprompt.serve.service import Service


@contextmanager
def server(
    classifier: Classifier, *, token: str | None = None, editable: bool = False, **limits: float
) -> Iterator[str]:
    """Serve a classifier; yields the address. Further keywords are those of `Limits`."""
    service = Service(classifier, Limits(**limits), editable=editable)
    with listen("127.0.0.1", 0) as listening:
        running = make_server(service, token=token)
        thread = Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.should_exit = True
        thread.join()
    service.close()
