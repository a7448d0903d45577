"""Requests that are too large, too many or too slow."""

import asyncio
import time
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.helpers.client import TOKEN, Serve, ask, png, results
from vlprompt import Classifier
from vlprompt.data.images import ImageError
from vlprompt.serve import middleware, service

RED = png((200, 20, 20))


@pytest.fixture
def gate(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> Iterator[Event]:
    """An event that the model waits for before each batch."""
    opened, logits = Event(), classifier.logits

    def wait(*arguments: object, **options: object) -> object:
        assert opened.wait(20)
        return logits(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(classifier, "logits", wait)
    # It predicts when the server starts, before the gate opens.
    monkeypatch.setattr(service, "efficient_batch", lambda classifier, limit: limit)
    yield opened
    opened.set()


def test_body_over_the_limit_is_refused(serve: Serve) -> None:
    client = serve(request_bytes=5_000)
    assert len(results(client, RED)) == 1
    response = ask(client, RED, bytes(5_000))
    assert response.status_code == 413
    assert response.json() == {"error": "the body is larger than the limit of 0.005 MB; send less, or a smaller copy"}
    for path in ("/v1/predict", "/v1/classes"):
        for length in ("5001", "9" * 30):
            headers = {"Content-Length": length, "Content-Type": "application/json"}
            expected = 403 if path == "/v1/classes" else 413
            assert client.post(path, content=b"", headers=headers).status_code == expected


def send(client: TestClient, body: AsyncIterator[bytes]) -> tuple[int, str]:
    """Send a form's body in parts; returns status and body of the response."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/predict",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"multipart/form-data; boundary=x")],
    }
    answer: list[Any] = []

    async def receive() -> dict[str, Any]:
        async for part in body:
            return {"type": "http.request", "body": part, "more_body": True}
        return {"type": "http.disconnect"}

    async def take(message: Any) -> None:
        answer.append(message)

    asyncio.run(client.app(scope, receive, take))  # type: ignore[arg-type]
    return answer[0]["status"], answer[1]["body"].decode()


def test_chunked_body_over_the_limit_is_refused(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []
    monkeypatch.setattr(middleware, "DROPPED_BYTES", 10_000)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1000)
            yield bytes(1000)

    assert send(serve(request_bytes=5_000), endless())[0] == 413
    assert len(sent) == 6 + 10


def test_refusal_waits_only_briefly_for_the_body(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b"-"
            await asyncio.sleep(0.03)

    monkeypatch.setattr(middleware, "DROPPED_SECONDS", 0.2)
    client = serve(token=TOKEN)
    begun = time.monotonic()
    assert send(client, slow())[0] == 401
    assert time.monotonic() - begun < 5


def test_slow_body_gets_408(serve: Serve) -> None:
    async def slow() -> AsyncIterator[bytes]:
        while True:
            yield b"-"
            await asyncio.sleep(0.03)

    assert send(serve(timeout=0.2), slow()) == (408, '{"error":"the body took longer than 0.2 s"}')


def test_aborted_body_gets_400(serve: Serve) -> None:
    async def short() -> AsyncIterator[bytes]:
        yield b"--x"

    assert send(serve(), short())[0] == 400


def test_too_many_requests_get_429(serve: Serve, gate: Event) -> None:
    client = serve(queue=3)
    with ThreadPoolExecutor(3) as pool:
        waiting = [pool.submit(ask, client, RED) for _ in range(3)]
        wait_for(client, "vlprompt_requests_inside 3.0")
        refused = ask(client, RED)
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "1"
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/v1/classes").status_code == 200
        gate.set()
        assert [future.result().status_code for future in waiting] == [200] * 3
    assert ask(client, RED).status_code == 200
    assert 'vlprompt_requests_total{method="POST",route="/v1/predict",status="429"} 1.0' in metrics(client)


def test_request_with_a_long_wait_gets_429(serve: Serve, gate: Event) -> None:
    client = serve(timeout=20)
    gate.set()
    assert ask(client, RED).status_code == 200
    client.app.state.service._model.pace = 6.0  # type: ignore[attr-defined]
    gate.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, client, RED) for _ in range(2)]
        wait_for(client, "vlprompt_requests_inside 2.0")
        refused = ask(client, RED)
        assert refused.status_code == 429 and refused.headers["Retry-After"] == "12"
        gate.set()
        assert [future.result().status_code for future in waiting] == [200] * 2


def test_slow_response_gets_504(serve: Serve, gate: Event) -> None:
    client = serve(timeout=0.2)
    first = ask(client, RED)
    assert first.status_code == 504 and first.json()["error"].startswith("no response within 0.2 s")
    assert ask(client, RED).status_code == 504
    assert "vlprompt_requests_inside 0.0" in metrics(client)
    gate.set()
    wait_for(client, "vlprompt_waiting 0.0")
    time.sleep(0.1)
    assert "vlprompt_batch_images_count 1.0" in metrics(client), "canceled questions are not computed"


def test_slow_decoding_gets_429(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    release = Event()
    monkeypatch.setattr(service, "parse_image", lambda *_: release.wait(20))
    client = serve(timeout=0.2)
    assert ask(client, RED).status_code == 429
    release.set()


@pytest.mark.parametrize("kind", ["form", "JSON"])
def test_waiting_for_decoders_gets_429(serve: Serve, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    release = Event()
    monkeypatch.setattr(service, "READERS", 1)
    monkeypatch.setattr(service, "parse_image", lambda *_: release.wait(20))
    client = serve(timeout=2)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(ask, client, RED)
        time.sleep(0.3)
        body = {"json": {"image": b64encode(RED).decode()}} if kind == "JSON" else {"files": {"image": RED}}
        assert client.post("/v1/predict", **body).status_code == 429
        release.set()
        first.result()


def test_overload_by_decoding_gets_429(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    release, taken = Event(), []

    def decode(*arguments: object) -> object:
        taken.append(arguments)
        assert release.wait(20)
        raise ImageError("given up")

    monkeypatch.setattr(service, "parse_image", decode)
    client = serve(timeout=2)
    with ThreadPoolExecutor(8) as pool:
        waiting = [pool.submit(ask, client, RED, RED, RED, RED, RED) for _ in range(2)]
        time.sleep(1.3)
        release.set()
        responses = [future.result() for future in waiting]
    refused = [response for response in responses if response.status_code == 429]
    assert refused and {response.status_code for response in responses} <= {422, 429}
    assert all(int(response.headers["Retry-After"]) >= 1 for response in refused)
    assert len(taken) < 10, "what waits is given up"


def test_long_queue_of_images_gets_429_at_once(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    client = serve(timeout=20)
    monkeypatch.setattr(type(client.app.state.service._readers), "wait", 11.0)  # type: ignore[attr-defined]
    refused = ask(client, RED)
    assert refused.status_code == 429 and refused.headers["Retry-After"] == "11"


def metrics(client: TestClient) -> str:
    return client.get("/metrics").text


def wait_for(client: TestClient, line: str) -> None:
    deadline = time.monotonic() + 20
    while line not in metrics(client).splitlines():
        assert time.monotonic() < deadline
        time.sleep(0.01)
