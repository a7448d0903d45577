"""The HTTP application: the API's routes, its OpenAPI document, and the page."""

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
from vlprompt.serve.middleware import ServiceMiddleware
from vlprompt.serve.parsing import FORM, JSON, AddClassesBody, PredictBody, PredictOptions, media_type
from vlprompt.serve.schemas import Classes, Health, PredictResponse, Problem, Refusal
from vlprompt.serve.service import Service

TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
REASONS = {
    400: "The body is malformed.",
    401: "The token is missing or wrong.",
    403: "The request comes from another origin, or the server does not allow adding classes.",
    408: "The body took too long to arrive.",
    409: "A class already exists, or the method cannot name new classes.",
    413: "The body is too large.",
    415: "The body has an unsupported media type.",
    421: "The server accepts only requests to its own machine's names.",
    422: "A value is invalid, or none of the images can be read.",
    429: "Too many requests in flight; `Retry-After` says when to try again.",
    504: "The response took too long.",
}
ABOUT = "Classify images with tuned prompts, and with classes that you name."


def create_app(service: Service, *, token: str | None = None, loopback: bool = True) -> FastAPI:
    """Create the application of a service.

    Args:
        service: service to expose.
        token: bearer token that every route under /v1 and /metrics requires; None for none.
        loopback: whether the server listens on the loopback interface; without a token it then accepts only loopback
            names in the Host header.
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
    # With a token, any Host is accepted: DNS rebinding does not reveal the token, and a proxy may use another name.
    app.add_middleware(ServiceMiddleware, loopback=loopback and token is None, metrics=service.metrics)
    dependencies = [] if token is None else [Depends(HTTPBearer(auto_error=False)), Depends(_token_check(token))]
    _add_api(app, service, dependencies)
    _add_page(app)
    return app


def _add_api(app: FastAPI, service: Service, secured: list[Any]) -> None:
    """Add the API. Handlers read bodies themselves, since FastAPI would read them before checking token and limits."""
    refusals = (*((401,) if secured else ()), 421)

    @app.get("/v1/classes", dependencies=secured, responses=_refusals(*refusals))
    async def list_classes() -> Classes:
        """List the classes that compete for every image, and the capabilities of the server."""
        return service.classes

    posted = (*refusals, 400, 403, 408, 409, 413, 415, 422, 429, 504)

    @app.post(
        "/v1/classes",
        dependencies=secured,
        responses=_refusals(*posted),
        openapi_extra=_body_of({JSON: AddClassesBody.model_json_schema()}),
    )
    async def add_classes(request: Request) -> Classes:
        """Add classes by name for all users, until the server stops; all of them or none."""
        if not service.editable:
            raise Problem(403, "this server does not allow adding classes")
        if media_type(request.headers.get("content-type", "")) != JSON:
            raise Problem(415, f"unsupported media type; send {JSON}")
        async with service.slot():
            return await service.add(await _read_body(request, service.limits))

    @app.post(
        "/v1/predict",
        dependencies=secured,
        responses=_refusals(*posted),
        response_model_exclude_none=True,
        openapi_extra=_body_of({FORM: _form_schema(), JSON: PredictBody.model_json_schema()}),
    )
    async def predict(request: Request) -> PredictResponse:
        """Classify images. An unreadable image gets its error as result; if none can be read, the status is 422."""
        async with service.slot():
            body = await _read_body(request, service.limits)
            return await service.predict(request.headers.get("content-type", ""), body)

    @app.get("/healthz", responses=_refusals(421))
    async def healthz() -> Health:
        """Check that the server responds."""
        return Health()

    text: dict[str, Any] = {"content": {"text/plain": {"schema": {"type": "string"}}}}

    @app.get("/metrics", dependencies=secured, response_class=Response, responses={200: text, **_refusals(*refusals)})
    async def metrics() -> Response:
        """Return metrics in Prometheus' text format."""
        return Response(service.metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    """Add the page and the API's reference; all their files are part of the package."""
    pages = {
        file.name: (file.read_bytes(), TYPES[PurePath(file.name).suffix])
        for file in files("vlprompt.serve").joinpath("page").iterdir()
    }

    def page(name: str) -> Response:
        if name not in pages:
            raise HTTPException(404)
        content, page_type = pages[name]
        return Response(content, media_type=page_type, headers={"Cache-Control": "no-cache"})

    @app.api_route("/", methods=["GET", "HEAD"], include_in_schema=False)
    async def index() -> Response:
        return page("index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return page("docs.html")

    @app.get("/page/{name}", include_in_schema=False)
    async def part(name: str) -> Response:
        return page(name)


def _token_check(token: str) -> Callable[[Request], Awaitable[None]]:
    """Return a dependency that refuses requests without the token, comparing in constant time."""
    expected = token.encode()

    async def check(request: Request) -> None:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not secrets.compare_digest(given.strip().encode(), expected):
            headers = {"WWW-Authenticate": "Bearer"}
            raise Problem(401, "send the server's token: Authorization: Bearer TOKEN", headers)

    return check


async def _read_body(request: Request, limits: Limits) -> bytes:
    """Read the body with limits on its size and time, which Starlette does not have.

    Raises:
        Problem: 413 if it is too large, by its header or as it arrives; 408 if it is too slow; 400 if the client
            disconnects.
    """
    limit, body = limits.request_bytes, bytearray()
    too_large = Problem(413, f"the body is larger than the limit of {limit / 1e6:g} MB; send less, or a smaller copy")
    length = request.headers.get("content-length", "")
    if length.isdecimal() and (len(length) > 18 or int(length) > limit):
        raise too_large
    try:
        async with asyncio.timeout(limits.timeout):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limit:
                    raise too_large
                body += chunk
    except TimeoutError as error:
        raise Problem(408, f"the body took longer than {limits.timeout:g} s") from error
    except ClientDisconnect as error:
        raise Problem(400, "the body broke off") from error
    return bytes(body)


def _refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return {status: {"model": Refusal, "description": REASONS[status]} for status in sorted(statuses)}


def _body_of(schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    content = {kind: {"schema": schema} for kind, schema in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def _form_schema() -> dict[str, Any]:
    file = {"type": "string", "format": "binary"}
    about = f"An image file; up to {IMAGES} fields of this name."
    images = {"type": "array", "items": file, "minItems": 1, "maxItems": IMAGES, "description": about}
    schema = PredictOptions.model_json_schema()
    return {**schema, "properties": {"image": images, **schema["properties"]}, "required": ["image"]}


async def _problem(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, Problem)
    return error.response


async def _http_problem(request: Request, error: Exception) -> JSONResponse:
    """Respond to an unknown path (404) or method (405, with the methods of all routes of that path)."""
    assert isinstance(error, HTTPException)
    if error.status_code != 405:
        return Problem(error.status_code, error.detail).response
    routes = [route for route in request.app.routes if getattr(route, "path", None) == request.url.path]
    allowed = sorted(method for route in routes for method in route.methods)
    return Problem(405, error.detail, {"Allow": ", ".join(allowed)}).response
