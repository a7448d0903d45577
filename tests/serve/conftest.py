from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

import vlprompt
from tests.helpers.client import Serve
from vlprompt import Backbone, Classifier
from vlprompt.serve.app import create_app
from vlprompt.serve.limits import Limits
from vlprompt.serve.service import Service

FAST = {"optim.epochs": 1, "method.n_ctx": 2}


@pytest.fixture(scope="session")
def backbone(weights: Path) -> Backbone:
    return vlprompt.load_backbone(str(weights), device="cpu")


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory, backbone: Backbone, pictures: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    vlprompt.tune(pictures, method="coop", backbone=backbone, shots=2, settings=FAST, out=folder, quiet=True)
    return folder


@pytest.fixture
def classifier(run: Path, backbone: Backbone) -> Classifier:
    return vlprompt.load_classifier(run, backbone=backbone)


@pytest.fixture
def serve(classifier: Classifier) -> Iterator[Serve]:
    """Return an in-process client of the application; keywords are those of `create_app` and `Limits`."""
    with ExitStack() as stack:

        def start(
            *,
            served: Classifier = classifier,
            token: str | None = None,
            editable: bool = False,
            loopback: bool = True,
            **limits: float,
        ) -> TestClient:
            service = Service(served, Limits(**limits), editable=editable)
            stack.callback(service.close)
            app = create_app(service, token=token, loopback=loopback)
            app.state.service = service
            headers = {"Authorization": f"Bearer {token}"} if token else None
            client = TestClient(app, base_url="http://127.0.0.1", headers=headers)
            return stack.enter_context(client)

        yield start


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve()
