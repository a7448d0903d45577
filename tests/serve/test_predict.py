import base64
import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

import vlprompt
from tests.helpers.client import TOKEN, Serve, ask, bomb, noisy, png, results, tiled
from vlprompt import Backbone, Classifier, create_method
from vlprompt.data import images

# The service has its own limit.
pytestmark = pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")

RED, BLUE, DARK = png((200, 20, 20)), png((20, 200, 20), (300, 20)), png((9, 9, 9), form="JPEG")


def shares(found: dict[str, Any]) -> dict[str, float]:
    return {rank["label"]: rank["probability"] for rank in found["top"]}


def test_predictions_match_the_classifier(client: TestClient, classifier: Classifier) -> None:
    files = [RED, BLUE, DARK]
    found = results(client, *files)
    expected = classifier.predict([Image.open(BytesIO(file)) for file in files])
    assert [each["label"] for each in found] == [guess.label for guess in expected]
    for each, guess in zip(found, expected, strict=True):
        assert each["probability"] == pytest.approx(guess.probability, abs=1e-6) == each["top"][0]["probability"]
        assert [rank["label"] for rank in each["top"]] == [label for label, _ in guess.top]
        assert set(each) == {"label", "probability", "top"}


def test_base64_matches_the_form(client: TestClient) -> None:
    encoded = [base64.b64encode(file).decode() for file in (RED, BLUE)]
    several = client.post("/v1/predict", json={"image": encoded, "top": 2}).json()["results"]
    one = client.post("/v1/predict", json={"image": encoded[1], "top": 2}).json()["results"]
    for found, same in zip((*several, *one), (*results(client, RED, BLUE, top="2"), several[1]), strict=True):
        assert shares(found) == pytest.approx(shares(same), abs=1e-6) and len(shares(found)) == 2


def test_base64_variants(client: TestClient) -> None:
    file = noisy()
    images = [base64.encodebytes(file).decode(), f"data:image/jpeg;base64,{base64.b64encode(file).decode()}"]
    found = client.post("/v1/predict", json={"image": images}).json()["results"]
    expected = shares(results(client, file)[0])
    assert [shares(each) for each in found] == [pytest.approx(expected, abs=1e-6)] * 2


def test_an_unreadable_image_gets_its_error_as_result(client: TestClient) -> None:
    found = results(client, RED, b"no image", BLUE, b"")
    assert [set(each) for each in found[::2]] == [{"label", "probability", "top"}] * 2
    assert found[1::2] == [{"error": "not an image, or of an unknown format"}, {"error": "the file is empty"}]
    response = ask(client, b"no image", b"")
    assert response.status_code == 422
    assert response.json() == {"error": "image 1: not an image, or of an unknown format; image 2: the file is empty"}


BAD_IMAGES = {
    "text": b"hello",
    "truncated JPEG": noisy()[:-400],
    "truncated PNG": png((1, 2, 3), (200, 200))[:60],
    "head of a PNG": png((1, 2, 3))[:20],
    "bomb": bomb(12_000, 12_000),
    "larger bomb": bomb(60_000, 60_000),
    "bomb in a tile": tiled(32_768, 24_576),
    "larger bomb in a tile": tiled(46_000, 46_000),
    "a tile of a type that Pillow skips": tiled(32_768, 24_576, kind=17),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "HTML": b"<!doctype html><img src=x onerror=alert(1)>",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "PDF": b"%PDF-1.7\n",
    "zeros": bytes(10_000),
    "empty": b"",
}


@pytest.mark.parametrize("file", BAD_IMAGES.values(), ids=BAD_IMAGES)
def test_unreadable_images_are_refused(client: TestClient, file: bytes) -> None:
    response = ask(client, file)
    assert response.status_code == 422 and response.json()["error"].startswith("image 1: ")
    assert results(client, file, RED)[1]["label"]


def test_a_decompression_bomb_is_refused_by_its_header(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def decode(*arguments: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr(images, "_decode", decode)
    for file in (bomb(12_000, 12_000), tiled(12_000, 12_000)):
        error = ask(client, file).json()["error"]
        assert error == "image 1: 12000 x 12000 is more than 50,000,000 pixels; use a smaller copy"
    assert "the size of its tiles is ambiguous" in ask(client, tiled(12_000, 12_000, kind=17)).json()["error"]


def test_extreme_aspect_ratio(client: TestClient, serve: Serve) -> None:
    for size in ((1_000_000, 1), (1, 1_000_000)):
        assert results(client, png((9, 9, 9), size))[0]["label"]
    assert ask(serve(pixels=999_999), png((9, 9, 9), (1_000_000, 1))).status_code == 422


def form(*parts: bytes, boundary: bytes = b"xx", end: bytes = b"--xx--\r\n") -> tuple[str, bytes]:
    body = b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + end
    return "multipart/form-data; boundary=xx", body


def part(name: str, value: bytes, more: str = "") -> bytes:
    return f'Content-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + value


IMAGE = part("image", RED, '; filename="a.png"')
CODED = base64.b64encode(RED).decode()


def as_json(**fields: Any) -> tuple[str, bytes]:
    return "application/json", json.dumps(fields).encode()


BAD_BODIES: dict[str, tuple[int, tuple[str, bytes], str]] = {
    "nothing at all": (415, ("", b""), "multipart/form-data"),
    "text": (415, ("text/plain", b"hello"), "multipart/form-data"),
    "a bare image": (415, ("image/png", RED), "multipart/form-data"),
    "empty form": (400, ("multipart/form-data; boundary=xx", b""), "too early"),
    "a form without boundary": (400, ("multipart/form-data", b"xx"), "boundary"),
    "another boundary": (400, ("multipart/form-data; boundary=yy", form(IMAGE)[1]), "cannot be read"),
    "endless boundary": (400, (f"multipart/form-data; boundary={'x' * 5000}", form(IMAGE)[1]), "cannot be read"),
    "a form cut off": (400, form(IMAGE, end=b""), "too early"),
    "no image": (422, form(part("top", b"3")), "no file `image`"),
    "an image of another name": (422, form(part("img", RED, '; filename="a.png"')), "curl: -F image=@FILE"),
    "an image that is not a file": (422, form(part("image", b"x")), "image: must be a file"),
    "a large image that is not a file": (400, form(part("image", noisy())), "curl: -F image=@FILE"),
    "a file as text": (422, form(IMAGE, part("classes", b"x", '; filename="a"')), "classes.1: must be text"),
    "a nameless part": (400, form(b"Content-Disposition: form-data\r\n\r\nx", IMAGE), '"name" must be'),
    "no headers": (400, form(b"\r\nx", IMAGE), "cannot be read"),
    "unknown field": (422, form(IMAGE, part("imgae", b"x")), "the fields are classes, compare, image, top"),
    "unknown field of JSON": (422, as_json(image=CODED, tpo=3), "the fields are classes, compare, image, top"),
    "too many images": (422, form(*[IMAGE] * 17), "at most 16 images"),
    "too many fields": (400, form(*[part("classes", b"x")] * 60), "number of fields is 44"),
    "too many files": (400, form(*[IMAGE] * 50), "number of files is 44"),
    "a long field": (400, form(IMAGE, part("classes", b"x" * 2000)), "maximum size of 1KB"),
    "not a number": (422, form(IMAGE, part("top", b"many")), "top: "),
    "none of them": (422, form(IMAGE, part("top", b"0")), "top: "),
    "neither true nor false": (422, form(IMAGE, part("compare", b"perhaps")), "compare: "),
    "a class without letters": (422, form(IMAGE, part("classes", b" _ ")), "classes.1: "),
    "a class with a line break": (422, form(IMAGE, part("classes", b"a\nb")), "control or invisible characters"),
    "a class of nothing": (
        422,
        form(IMAGE, part("classes", b"&nbsp;")),
        "classes.1: a class name must",
    ),
    "an invisible class": (422, form(IMAGE, part("classes", b"\xe2\x80\x8b")), "invisible"),
    "a class of 101 letters": (422, form(IMAGE, part("classes", b"a" * 101)), "at most 100"),
    "a class of too many tokens": (422, form(IMAGE, part("classes", "水火".encode() * 45)), "shorten"),
    "21 classes": (422, form(IMAGE, *[part("classes", b"c%d" % i) for i in range(21)]), "classes: "),
    "empty JSON": (400, ("application/json", b""), "not JSON"),
    "half a JSON": (400, ("application/json", b'{"image": "'), "not JSON"),
    "deep JSON": (400, ("application/json", b"[" * 100_000), "not JSON"),
    "a lone surrogate": (400, ("application/json", b'{"image": "", "classes": ["\\ud800"]}'), "not JSON"),
    "no UTF-8 in JSON": (400, ("application/json", b'{"image": "\xff"}'), "not JSON"),
    "a list": (422, ("application/json", b"[]"), "the body must be a JSON object"),
    "null": (422, ("application/json", b"null"), "the body must be a JSON object"),
    "no image in JSON": (422, as_json(top=3), "image: "),
    "no images": (422, as_json(image=[]), "or a list of 1 to 16"),
    "17 images": (422, as_json(image=[CODED] * 17), "or a list of 1 to 16"),
    "a list with a number": (422, as_json(image=[CODED, 3]), "or a list of 1 to 16"),
    "not base64": (422, as_json(image="héllo"), "not base64"),
    "a data: URL of no base64": (422, as_json(image="data:image/svg+xml,<svg/>"), "not base64"),
    "almost base64": (422, as_json(image=CODED[:-3]), "not base64"),
    "a million numbers": (422, ("application/json", b'{"image": [' + b"1," * 1_000_000 + b"1]}"), "too many"),
    "a number as image": (422, as_json(image=3), "or a list of 1 to 16"),
    "a number as text": (422, as_json(image=CODED, top="3"), "top: "),
    "a huge number": (422, as_json(image=CODED, top=10**30), "top: "),
}


@pytest.mark.parametrize(("status", "sent", "said"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_malformed_bodies_are_refused(client: TestClient, status: int, sent: tuple[str, bytes], said: str) -> None:
    kind, body = sent
    response = client.post("/v1/predict", content=body, headers={"Content-Type": kind} if kind else {})
    assert response.status_code == status, response.text
    assert set(response.json()) == {"error"}
    assert any(words in response.json()["error"] for words in said.split("|")), response.text


def test_request_classes_compete_only_in_their_request(client: TestClient, run: Path, backbone: Backbone) -> None:
    before = shares(results(client, RED, top="9")[0])
    found = shares(results(client, RED, top="9", classes=["a zebra", "blue_sky", "a zebra", "night owl"])[0])
    assert shares(results(client, RED, top="9")[0]) == pytest.approx(before, abs=1e-6)
    assert client.get("/v1/classes").json()["classes"] == ["blue sky", "green leaf", "night", "red apple"]
    other = vlprompt.load_classifier(run, backbone=backbone)
    other.add_classes(["a zebra", "night owl"])
    expected = dict(other.predict(Image.open(BytesIO(RED)), top=9)[0].top)
    assert found == pytest.approx(expected, abs=1e-6) and len(found) == 6


def test_request_classes_are_returned_at_any_rank(client: TestClient) -> None:
    classes = ["a zebra", "night owl", "red apple"]
    whole = results(client, RED, top="9", classes=classes, compare="true")[0]
    short = results(client, RED, top="1", classes=classes, compare="true")[0]
    for found, every in ((short, whole), (short["zero_shot"], whole["zero_shot"])):
        assert [rank["rank"] for rank in every["top"]] == [1, 2, 3, 4, 5, 6]
        expected = [
            (rank["label"], rank["rank"]) for rank in every["top"] if rank["rank"] == 1 or rank["label"] in classes
        ]
        assert [(rank["label"], rank["rank"]) for rank in found["top"]] == expected


def test_compare(client: TestClient, run: Path, backbone: Backbone) -> None:
    with_class = results(client, RED, BLUE, top="9", compare="true", classes="a zebra")
    frozen = vlprompt.load_classifier(run, backbone=backbone).zero_shot()
    frozen.add_classes(["a zebra"])
    for found, file in zip(with_class, (RED, BLUE), strict=True):
        expected = frozen.predict(Image.open(BytesIO(file)), top=9)[0]
        assert shares(found["zero_shot"]) == pytest.approx(dict(expected.top), abs=1e-6)
        assert found["zero_shot"]["label"] == expected.label
        assert shares(found) != pytest.approx(shares(found["zero_shot"]), abs=1e-6)
    assert "zero_shot" not in results(client, RED)[0]


def test_a_zero_shot_run_refuses_compare(serve: Serve, classifier: Classifier) -> None:
    client = serve(served=classifier.zero_shot())
    response = ask(client, RED, compare="true")
    assert (response.status_code, response.json()["error"].split(":")[0]) == (422, "compare")
    assert not client.get("/v1/classes").json()["comparable"]


def test_class_bound_method_refuses_request_classes(serve: Serve, classifier: Classifier, backbone: Backbone) -> None:
    method = create_method("coop", backbone, classifier.class_names, class_specific=True, n_ctx=2)
    client = serve(served=Classifier(classifier.record, method), token=TOKEN, editable=True)
    assert not client.get("/v1/classes").json()["open_vocabulary"]
    for response in (ask(client, RED, classes="a zebra"), client.post("/v1/classes", json={"names": ["a zebra"]})):
        assert response.status_code == 409
        assert "learns something for each class" in response.json()["error"]
    assert results(client, RED, classes="night"), "a class that is there needs nothing new"
