from threading import Event, Thread
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.helpers.client import TOKEN, Serve, ask, png, results

RED = png((200, 20, 20))
OURS = ["blue sky", "green leaf", "night", "red apple"]


@pytest.fixture
def client(serve: Serve) -> TestClient:
    return serve(token=TOKEN, editable=True)


def add(client: TestClient, *names: Any) -> tuple[int, Any]:
    response = client.post("/v1/classes", json={"names": names})
    return response.status_code, response.json()


def test_list(client: TestClient) -> None:
    assert client.get("/v1/classes").json() == {
        "classes": OURS,
        "method": "coop",
        "backbone": "tiny",
        "open_vocabulary": True,
        "editable": True,
        "comparable": True,
    }


def test_add(client: TestClient) -> None:
    status, found = add(client, "a_zebra", "night owl")
    assert status == 200 and found["classes"] == [*OURS, "a zebra", "night owl"]
    assert client.get("/v1/classes").json() == found
    names = {rank["label"] for rank in results(client, RED, top="9", compare="true")[0]["top"]}
    assert names == {*OURS, "a zebra", "night owl"}


def test_class_from_a_request_can_be_added(client: TestClient) -> None:
    results(client, RED, classes="a zebra", compare="true")
    assert add(client, "a zebra")[0] == 200
    assert len(results(client, RED, top="9")[0]["top"]) == 5


def test_adding_classes_requires_allow_edit(serve: Serve) -> None:
    status, found = add(serve(), "a zebra")
    assert status == 403 and "does not allow adding classes" in found["error"]


def test_adding_classes_requires_the_token(client: TestClient) -> None:
    del client.headers["Authorization"]
    assert add(client, "a zebra")[0] == 401


BAD = {
    "there already": (409, ["night"], "already"),
    "there by another spelling": (409, ["red_apple"], "already"),
    "one of two is there": (409, ["a zebra", "night"], "already"),
    "there in other case": (409, ["Night"], "the model reads class 'Night' as 'night'"),
    "one name in two cases": (409, ["a zebra", "A Zebra"], "reads class 'A Zebra' as 'a zebra'"),
    "twice": (422, ["a zebra", "a_zebra"], "must be unique"),
    "no names": (422, [], "names: "),
    "empty": (422, [""], "names.1: "),
    "spaces": (422, ["a", " _ "], "names.2: "),
    "no text": (422, [3], "names.1: "),
    "null": (422, [None], "names.1: "),
    "a list in it": (422, [["a"]], "names.1: "),
    "over-long": (422, ["a" * 101], "at most 100"),
    "of too many tokens": (422, ["a zebra", "水火" * 45], "shorten"),
    "nothing but a space in HTML": (422, ["&nbsp;"], "names.1: a class name must contain letters"),
    "the same, escaped twice": (422, ["&amp;nbsp;"], "names.1: a class name must contain letters"),
    "nothing but a joiner": (422, ["\u200d"], "names.1: a class name must contain letters"),
    "a byte order mark": (422, ["\ufeff"], "invisible"),
    "a space without width": (422, ["\u200b"], "invisible"),
    "letters turned around": (422, ["\u202egnp.exe"], "invisible"),
    "letters turned around in HTML": (422, ["&#x202e;gnp.exe"], "invisible"),
    "a zero": (422, ["a\0b"], "control"),
    "a line break": (422, ["a\nb"], "control"),
    "10,000 of them": (422, [f"class {number}" for number in range(10_000)], "at most 256"),
}


@pytest.mark.parametrize(("status", "names", "said"), BAD.values(), ids=BAD)
def test_invalid_class_names_are_refused(client: TestClient, status: int, names: list[Any], said: str) -> None:
    found = add(client, *names)
    assert found[0] == status and said in found[1]["error"]
    assert client.get("/v1/classes").json()["classes"] == OURS
    assert len(results(client, RED, top="9")[0]["top"]) == 4


def test_wrong_media_type_or_body_is_refused(client: TestClient) -> None:
    for body, kind in ((b'{"names": ["a"]}', "text/plain"), (b"names=a", "application/x-www-form-urlencoded")):
        assert client.post("/v1/classes", content=body, headers={"Content-Type": kind}).status_code == 415
    for body in (b"", b"[", b'{"names": "\xff"}', b'{"names": ["\\ud800"]}'):
        response = client.post("/v1/classes", content=body, headers={"Content-Type": "application/json; charset=utf-8"})
        assert response.status_code == 400


def test_class_names_may_use_any_script(client: TestClient) -> None:
    names = [
        "猫",
        "قطة",
        "👩‍🚀 astronaut",
        "e\u0301clair",
        "<b>bold</b>",
        "<end_of_text>",
        "'; DROP TABLE classes; --",
        "می\u200cخواهم",
        "{}",
        "a\u00a0b",
    ]
    status, found = add(client, *names)
    assert status == 200 and found["classes"][4:7] == names[:3]
    assert found["classes"][7] == "éclair", "composed, so that it is found again"
    assert add(client, "éclair")[0] == 409
    top = results(client, RED, top="100", compare="true", classes=["<start_of_text>", "ﷺ"])[0]
    assert len(top["top"]) == len(top["zero_shot"]["top"]) == 4 + len(names) + 2


def test_adding_many_classes_does_not_block_the_server(client: TestClient) -> None:
    done = Event()

    def fill() -> None:
        for part in range(3):
            assert add(client, *(f"class {part} {number}" for number in range(256)))[0] == 200
        done.set()

    thread = Thread(target=fill)
    thread.start()
    while not done.wait(0.01):
        assert client.get("/healthz").elapsed.total_seconds() < 1
    thread.join()
    assert len(client.get("/v1/classes").json()["classes"]) == 4 + 3 * 256
    assert len(results(client, RED, top="100")[0]["top"]) == 100


def test_number_of_classes_is_limited(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vlprompt.serve.model_thread.CLASSES", 6)
    assert add(client, "a", "b", "c")[0] == 409
    assert add(client, "a", "b")[0] == 200
    assert add(client, "c")[0] == 409
    assert ask(client, RED, classes="c").status_code == 200


def test_requests_with_names_that_read_the_same_do_not_meet(client: TestClient) -> None:
    shares = [results(client, RED, classes=name, compare="true")[0]["top"] for name in ("a zebra", "A Zebra")]
    first, second = ({rank["label"].lower(): rank["probability"] for rank in top} for top in shares)
    assert first == second
    response = ask(client, RED, classes=["a zebra", "A Zebra"])
    assert response.status_code == 409 and "reads class 'A Zebra' as 'a zebra'" in response.json()["error"]
    assert ask(client, RED, classes="NIGHT").status_code == 409
    assert add(client, "A ZEBRA")[0] == 200
    assert "A ZEBRA" in {rank["label"] for rank in results(client, RED, top="9")[0]["top"]}
