"""Allowed hosts, origins and tokens, and the headers of every response."""

import re
from importlib.resources import files

import pytest
from fastapi.testclient import TestClient

from tests.helpers.client import TOKEN, Serve, ask, png
from vlprompt.serve.service import Service

RED = png((200, 20, 20))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:9", "LOCALHOST", "[::1]:8000", "127.8.8.8"])
def test_loopback_hosts_are_accepted(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:8000", "192.168.1.2", "[::2]", "", "localhos"]
)
def test_foreign_hosts_are_refused(client: TestClient, serve: Serve, host: str) -> None:
    for path in ("/", "/healthz", "/v1/classes", "/nothing"):
        assert client.get(path, headers={"Host": host}).status_code == 421
    for loopback in (True, False):
        answer = serve(loopback=loopback, token=TOKEN).get("/v1/classes", headers={"Host": host})
        assert answer.status_code == 200, "with the token any host is accepted"


def test_posts_of_foreign_origins_are_refused(client: TestClient) -> None:
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        client.headers["Sec-Fetch-Site"] = site
        assert ask(client, RED).status_code == status
        assert client.get("/").status_code == 200, "links to the page work"
    response = client.options("/v1/predict", headers={"Origin": "http://evil.example"})
    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:8000", 200),
        ("https://127.0.0.1:8000", 200),  # a proxy speaks TLS
        ("http://127.0.0.1:9000", 403),
        ("http://localhost:8000", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
        (None, 200),
    ],
)
def test_posts_of_foreign_origins_are_refused_without_sec_fetch_site(
    client: TestClient, origin: str | None, status: int
) -> None:
    headers = {"Host": "127.0.0.1:8000"} | ({} if origin is None else {"Origin": origin})
    files = [("image", ("a.png", RED))]
    assert client.post("/v1/predict", files=files, headers=headers).status_code == status
    headers["Sec-Fetch-Site"] = "same-origin"
    assert client.post("/v1/predict", files=files, headers=headers).status_code == 200


def test_requests_require_the_token(serve: Serve) -> None:
    client = serve(token=TOKEN)
    assert client.get("/v1/classes").status_code == client.get("/metrics").status_code == 200
    for wrong in (
        "",
        f"Bearer {TOKEN}x",
        f"Bearer {TOKEN[:-1]}",
        f"Basic {TOKEN}",
        TOKEN,
        "Bearer",
    ):
        client.headers["Authorization"] = wrong
        for response in (client.get("/v1/classes"), client.get("/metrics"), ask(client, RED)):
            assert response.status_code == 401 and response.headers["WWW-Authenticate"] == "Bearer"
    del client.headers["Authorization"]
    assert client.get("/v1/classes", headers=[(b"Authorization", b"Bearer \xff\xfe")]).status_code == 401
    for path in ("/", "/docs", "/healthz", "/openapi.json"):
        assert client.get(path).status_code == 200
    client.headers["Authorization"] = f"bearer {TOKEN}"
    assert ask(client, RED).status_code == 200


def test_every_response_has_the_security_headers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError("a secret")

    ok = client.get("/")
    answers = [ok, client.get("/nothing"), client.put("/v1/predict"), ask(client, b""), client.get("/v1/classes")]
    answers.append(client.get("/", headers={"Host": "evil.example"}))
    monkeypatch.setattr(Service, "predict", fail)
    answers.append(ask(client, RED))
    assert [answer.status_code for answer in answers] == [200, 404, 405, 422, 200, 421, 500]
    assert answers[-1].json() == {"error": "internal error; see the server's log"}
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Cache-Control"] == ("no-cache" if answer is ok else "no-store")
    assert all(set(answer.json()) == {"error"} for answer in answers[1:4])


def test_metrics(client: TestClient) -> None:
    ask(client, RED, b"")
    client.get("/nothing/of/the/kind")
    client.request("BREW", "/healthz")
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'vlprompt_requests_total{method="POST",route="/v1/predict",status="200"} 1.0',
        'vlprompt_requests_total{method="GET",route="other",status="404"} 1.0',
        'vlprompt_images_total{result="answered"} 1.0',
        'vlprompt_images_total{result="unreadable"} 1.0',
        "vlprompt_batch_images_count 1.0",
        "vlprompt_classes 4.0",
    ):
        assert line in lines
    assert any('method="other"' in line for line in lines)
    assert not any("kind" in line or "BREW" in line for line in lines), "clients cannot create time series"


def test_page_supports_head_requests(client: TestClient) -> None:
    asked = client.head("/")
    assert (asked.status_code, asked.headers["content-type"]) == (200, client.get("/").headers["content-type"])


def test_the_pages_load_nothing_from_other_hosts(client: TestClient) -> None:
    seen, queue = {}, ["/", "/docs"]
    while queue:
        path = queue.pop()
        response = client.get(path)
        assert response.status_code == 200, path
        seen[path] = response
        for link in re.findall(r'(?:href|src)="([^"#]+)"|from "\./([^"]+)"', response.text):
            found = link[0] or f"page/{link[1]}"
            if found != "./" and f"/{found}" not in seen:
                queue.append(f"/{found}")
    assert {f"/page/{file.name}" for file in files("vlprompt.serve").joinpath("page").iterdir()} == {
        path for path in seen if path.startswith("/page/")
    } | {"/page/index.html", "/page/docs.html"}
    for path, response in seen.items():
        assert not re.search(
            r"(?<!\w)(?:https?:)?//(?!www\.w3\.org/2000/svg)[\w.]", response.text.replace("// ", "")
        ), path
    assert seen["/page/app.js"].headers["Content-Type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/nothing.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/x%00", "/docs/", "/v1/classes/"],
)
def test_unknown_paths_are_not_served(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 404 and set(response.json()) == {"error"}


def test_openapi_describes_bodies_and_refusals(client: TestClient, serve: Serve) -> None:
    document = client.get("/openapi.json").json()
    predict = document["paths"]["/v1/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {"multipart/form-data", "application/json"}
    assert {"200", "400", "413", "422", "429", "504"} <= set(predict["responses"])
    assert "securitySchemes" not in document["components"]
    locked = serve(token=TOKEN).get("/openapi.json").json()
    assert locked["paths"]["/v1/predict"]["post"]["security"] == [{"HTTPBearer": []}]
