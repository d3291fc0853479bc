"""What every request passes before it reaches a route, and the form in which every error leaves.

Errors are problem documents (RFC 9457). Requests are checked for their host (DNS rebinding), their origin (cross-site
request forgery) and the size of their body; responses carry the security headers. It is one plain ASGI layer, because
every piece of a take passes through it while somebody speaks.
"""

import ipaddress
import json
import logging
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pixmo.errors import Conflict, Forbidden, Gone, NotFound, NotSignedIn, PixmoError, TooLarge, Unprocessable
from pixmo.settings import Settings

BODY_LIMIT: Final = 2**20
"""Bytes of a request body, other than the raw bytes of a chunk (`Settings.max_chunk_bytes`)."""

ERRORS_SHOWN: Final = 20
"""Faulty fields named in one answer, so that a hostile request does not get a longer answer than it is itself."""

# Styles set by script (`element.style`) are not inline styles, so that no 'unsafe-inline' is needed.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)

SECURITY_HEADERS: Final = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"permissions-policy", b"microphone=(self), camera=(), geolocation=(), display-capture=()"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
HSTS: Final = (b"strict-transport-security", b"max-age=31536000")
NO_STORE: Final = (b"cache-control", b"no-store")

PROBLEMS: Final[dict[int | str, dict[str, Any]]] = {
    "default": {
        "description": "A problem document (RFC 9457); `code` is the stable word to branch on.",
        "content": {
            "application/problem+json": {
                "schema": {
                    "title": "Problem",
                    "type": "object",
                    "required": ["type", "title", "status", "detail", "code"],
                    "properties": {
                        "type": {"type": "string"},
                        "title": {"type": "string"},
                        "status": {"type": "integer"},
                        "detail": {"type": "string"},
                        "code": {"type": "string"},
                    },
                }
            }
        },
    }
}
"""The `responses` of a FastAPI application in which every error is a problem document."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
_BY_STATUS: dict[int, type[PixmoError]] = {
    error.status: error for error in (NotSignedIn, Forbidden, NotFound, Conflict, Gone, TooLarge, Unprocessable)
}

logger = logging.getLogger("pixmo.http")


class CrossOrigin(Forbidden):
    code = "cross_origin"


class HostError(PixmoError):
    status = 421
    code = "unknown_host"
    title = "This server does not answer under that name"


class UnexpectedError(PixmoError):
    status = 500
    code = "unexpected"
    title = "Something went wrong inside pixmo"


def problem_response(error: PixmoError) -> Response:
    """`error` as a problem document, with the headers that its status asks for (RFC 9110)."""
    headers = {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after" in error.extra:
        headers["Retry-After"] = str(error.extra["retry_after"])
    return _document(error.problem(), headers)


def _document(problem: dict[str, Any], headers: Mapping[str, str] | None = None) -> Response:
    # Escaped to ASCII: a text with a lone surrogate has no UTF-8 form.
    return Response(json.dumps(problem), problem["status"], headers, media_type="application/problem+json")


def _from_validation(error: RequestValidationError) -> PixmoError:
    """The fields at fault and why, without what was sent."""
    fields = [
        {"in": fault["loc"][0], "field": ".".join(map(str, fault["loc"][1:]))[:100], "detail": fault["msg"]}
        for fault in error.errors()[:ERRORS_SHOWN]
    ]
    detail = "; ".join(f"{field['field'] or field['in']}: {field['detail']}" for field in fields[:3])
    return Unprocessable(detail, code="invalid_input", errors=fields)


def _from_http_exception(error: HTTPException) -> dict[str, Any]:
    """The problem of an error that FastAPI or Starlette raised: no such route, wrong method, broken JSON."""
    kind = _BY_STATUS.get(error.status_code)
    if kind is not None:
        return kind(error.detail).problem()
    title = HTTPStatus(error.status_code).phrase
    problem = PixmoError(error.detail, code=re.sub(r"[^a-z]+", "_", title.lower())).problem()
    return problem | {"title": title, "status": error.status_code}


class Guard:
    """The outermost layer: checks requests, adds security headers and a request id, answers unexpected errors."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app = app
        self.chunk_limit = settings.max_chunk_bytes
        public = urlsplit(settings.public_url or "")
        self.https = public.scheme == "https"
        self.public_netloc = public.netloc.lower()
        self.hosts = {"localhost", "127.0.0.1", settings.host.lower(), public.hostname or "localhost"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(8).encode()
        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = self._response_headers(scope, message.get("headers", ()), request_id)
            await send(message)

        try:
            self._check_host(headers)
            self._check_origin(scope["method"], headers)
            await self.app(scope, self._limited(scope, headers, receive), send_guarded)
        except PixmoError as error:
            response = problem_response(error)
        except Exception:
            logger.exception("request %s: %s %r", request_id.decode(), scope["method"], scope["path"])
            if started:
                raise
            detail = "The error was logged. Try again; if it stays, tell an admin the request id."
            response = problem_response(UnexpectedError(detail, request_id=request_id.decode()))
        else:
            return
        await response(scope, receive, send_guarded)

    def _check_host(self, headers: Mapping[bytes, bytes]) -> None:
        """Refuse names that are not ours: a page elsewhere can point its own name at this machine (DNS rebinding).

        An address instead of a name is always let in, since it cannot be pointed anywhere.
        """
        host = headers.get(b"host", b"").decode("latin-1").lower()
        name = re.sub(r":\d*$", "", host)
        if name in self.hosts:
            return
        try:
            ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
        except ValueError:
            raise HostError(
                "Open pixmo under the address that it was started with, or set public_url (PIXMO_PUBLIC_URL) to this one."
            ) from None

    def _check_origin(self, method: str, headers: Mapping[bytes, bytes]) -> None:
        """Refuse writes that another site makes a browser send, by Fetch Metadata, else by Origin.

        A request with a bearer token and no cookie carries nothing that a browser would add by itself. Requests with
        neither header do not come from a browser of these days. The algorithm is F. Valsorda's, "Cross-Site Request
        Forgery" (2025).
        """
        if method in _SAFE_METHODS:
            return
        if headers.get(b"authorization", b"")[:7].lower() == b"bearer " and b"cookie" not in headers:
            return
        site = headers.get(b"sec-fetch-site")
        if site is not None:
            if site in (b"same-origin", b"none"):
                return
        else:
            origin = headers.get(b"origin", b"").decode("latin-1").lower()
            host = headers[b"host"].decode("latin-1").lower()
            # The scheme may differ behind a proxy that ends TLS.
            netloc = origin.partition("://")[2]
            if not origin or (netloc and netloc in (host, self.public_netloc)):
                return
        raise CrossOrigin("This request came from another site. Open pixmo itself and try again.")

    def _limited(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> Receive:
        """`receive` for this request, or `TooLarge` if its declared length is over the limit."""
        declared = headers.get(b"content-length")
        if declared is None and scope["method"] in _SAFE_METHODS:
            return receive
        is_chunk = headers.get(b"content-type") == b"application/octet-stream"
        limit = self.chunk_limit if is_chunk else BODY_LIMIT
        explanation = f"At most {limit:,} bytes are accepted here."
        if declared is not None:
            # The server itself holds a body to its declared length.
            if not declared.isdigit():
                raise PixmoError("Content-Length must be a number.")
            if len(declared) > 18 or int(declared) > limit:
                raise TooLarge(explanation, limit=limit)
            return receive
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                # FastAPI hands on only its own kind of error while it reads a body.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, explanation)
            return message

        return receive_counted

    def _response_headers(
        self, scope: Scope, headers: list[tuple[bytes, bytes]], request_id: bytes
    ) -> list[tuple[bytes, bytes]]:
        """The response's own headers, and ours where it has none of that name."""
        present = {name for name, _ in headers}
        ours = [*SECURITY_HEADERS, (b"x-request-id", request_id)]
        if self.https or scope["scheme"] == "https":
            ours.append(HSTS)
        if scope["path"].startswith("/api/"):
            ours.append(NO_STORE)
        return [*headers, *(header for header in ours if header[0] not in present)]


def install(app: FastAPI, settings: Settings) -> None:
    """Put the guard around `app` and make its errors problem documents."""

    @app.exception_handler(PixmoError)
    async def on_error(_: Request, error: PixmoError) -> Response:
        return problem_response(error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(_: Request, error: RequestValidationError) -> Response:
        return problem_response(_from_validation(error))

    @app.exception_handler(HTTPException)
    async def on_http_exception(_: Request, error: HTTPException) -> Response:
        return _document(_from_http_exception(error), error.headers)

    app.add_middleware(Guard, settings=settings)
