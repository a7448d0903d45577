"""The service over HTTP."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import PurePath
from typing import Any

from fastapi import Depends, FastAPI, Request, Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from vlprompt.serve.limits import IMAGES, Limits
from vlprompt.serve.middleware import Gate
from vlprompt.serve.parsing import FORM, JSON, Encoded, NewClasses, Wishes
from vlprompt.serve.schemas import Classes, Health, Predictions, Problem, Refusal
from vlprompt.serve.service import Service

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
WHY = {
    400: "The body is broken.",
    401: "There is no token, or another.",
    403: "Not allowed: to pages of other hosts, or at all.",
    408: "The body took too long to arrive.",
    409: "What is there stands against it.",
    413: "The body is too large.",
    415: "The body is of another type.",
    421: "The server is for its own machine, and was asked by another name.",
    422: "The body says what cannot be, or none of its pictures can be read.",
    429: "Too many at a time; `Retry-After` says when to try again.",
    504: "The answer took too long.",
}
ABOUT = "Classify pictures with prompts that were tuned, and with classes that you name."


def create_app(service: Service, *, token: str | None = None, loopback: bool = True) -> FastAPI:
    """The application of a service.

    Args:
        service: what answers.
        token: that all requests under /v1 and to /metrics have to bring, if any.
        loopback: whether it is for its own machine, and so, without a token, answers to no other name.
    """
    app = FastAPI(
        title="vlprompt",
        description=ABOUT,
        version=version("vlprompt"),
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={Problem: _problem, HTTPException: _http_problem},
    )
    # With a token, a foreign name is of no use to who has none, and a proxy may go by one.
    app.add_middleware(Gate, loopback=loopback and token is None, counts=service.counts)
    lock = [] if token is None else [Depends(HTTPBearer(auto_error=False)), Depends(_lock(token))]
    _add_api(app, service, lock)
    _add_page(app)
    return app


def _add_api(app: FastAPI, service: Service, lock: list[Any]) -> None:
    refusals = (*((401,) if lock else ()), 421)

    @app.get("/v1/classes", dependencies=lock, responses=_refusals(*refusals))
    async def list_classes() -> Classes:
        """The classes that compete, and what else the server knows."""
        return service.classes

    posted = (*refusals, 400, 403, 408, 409, 413, 415, 422, 429, 504)

    @app.post(
        "/v1/classes",
        dependencies=lock,
        responses=_refusals(*posted),
        openapi_extra=_body_of({JSON: NewClasses.model_json_schema()}),
    )
    async def add_classes(request: Request) -> Classes:
        """Add classes for everyone, by their names alone, all of them or none; until the server stops."""
        if not service.editable:
            raise Problem(403, "classes are added only where the server was started with --allow-edit")
        if _kind(request) != JSON:
            raise Problem(415, f"send {JSON}")
        async with service.place():
            return await service.add(await _read(request, service.limits))

    @app.post(
        "/v1/predict",
        dependencies=lock,
        responses=_refusals(*posted),
        response_model_exclude_none=True,
        openapi_extra=_body_of({FORM: _form_schema(), JSON: Encoded.model_json_schema()}),
    )
    async def predict(request: Request) -> Predictions:
        """Classify pictures. One that cannot be read among others has its reason in its place; with none left, 422."""
        async with service.place():
            body = await _read(request, service.limits)
            return await service.predict(request.headers.get("content-type", ""), body)

    @app.get("/healthz", responses=_refusals(421))
    async def healthz() -> Health:
        """Whether the server is there."""
        return Health()

    text: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/metrics", dependencies=lock, response_class=Response, responses={200: text, **_refusals(*refusals)})
    async def metrics() -> Response:
        """Counters, as Prometheus reads them."""
        return Response(service.counts.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    """The page, and the one of the API: every file is part of the package, and none comes from elsewhere."""
    pages = {
        file.name: (file.read_bytes(), TYPES[PurePath(file.name).suffix])
        for file in files("vlprompt.serve").joinpath("page").iterdir()
    }

    def page(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404)
        content, media_type = pages[name]
        return Response(content, media_type=media_type, headers={"Cache-Control": "no-cache"})

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return page("index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return page("docs.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return page(name)


def _lock(token: str) -> Callable[[Request], Awaitable[None]]:
    """Problem, 401, for a request without the token. Comparing takes the same time whatever is wrong with it."""
    right = token.encode()

    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), right):
            raise Problem(401, "send the server's token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"})

    return check


async def _read(request: Request, limits: Limits) -> bytes:
    """The body. Problem where it is too large, which its header tells before it arrives, or too slow."""
    most, body = limits.request_bytes, bytearray()
    too_large = Problem(413, f"a request has at most {most / 1e6:g} MB; send less, or a smaller copy")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > most):
        raise too_large
    try:
        async with asyncio.timeout(limits.timeout):
            async for chunk in request.stream():
                if len(body) + len(chunk) > most:
                    raise too_large
                body += chunk
    except TimeoutError as error:
        raise Problem(408, f"the body took longer than {limits.timeout:g} s") from error
    except ClientDisconnect as error:
        raise Problem(400, "the body broke off") from error
    return bytes(body)


def _kind(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal, "description": WHY[status]} for status in sorted(statuses)}


def _body_of(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _form_schema() -> dict[str, Any]:
    picture = {"type": "string", "format": "binary"}
    about = f"A picture's file; up to {IMAGES} fields of this name."
    images = {"type": "array", "items": picture, "minItems": 1, "maxItems": IMAGES, "description": about}
    schema = Wishes.model_json_schema()
    return {**schema, "properties": {"image": images, **schema["properties"]}, "required": ["image"]}


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response


async def _http_problem(request: Request, error: Exception) -> JSONResponse:
    """A path that is not there, or not for this method; then, which ones there are for it, of all its routes."""
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return Problem(error.status_code, error.detail).response
    routes = [route for route in request.app.routes if getattr(route, "path", None) == request.url.path]
    allowed = sorted(method for route in routes for method in route.methods)
    return Problem(405, error.detail, {"Allow": ", ".join(allowed)}).response
