import logging
import pathlib
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from fastapi import FastAPI, HTTPException, Path, Request
from fastapi.responses import PlainTextResponse, Response, StreamingResponse
from fastapi.testclient import TestClient
from pydantic import BaseModel, Field

from pixmo import http
from pixmo.errors import Conflict, Gone, NotSignedIn, TooManyRequests
from pixmo.settings import Settings

ORIGIN = "http://localhost:8000"


class Sheet(BaseModel):
    name: Annotated[str, Field(max_length=5)]
    pages: list[int] = []


def make_app(**settings: Any) -> FastAPI:
    app = FastAPI(responses=http.PROBLEMS)
    http.install(app, Settings(**settings))

    @app.get("/api/fine")
    def fine() -> dict[str, str]:
        return {"fine": "\u2713"}

    @app.get("/api/empty", status_code=204)
    def empty() -> None: ...

    @app.get("/api/cached")
    def cached() -> Response:
        return PlainTextResponse("sound", headers={"Cache-Control": "private, max-age=60"})

    @app.get("/page")
    def page() -> PlainTextResponse:
        return PlainTextResponse("page")

    @app.get("/api/errors/{kind}")
    def error(kind: str) -> None:
        raise {
            "lost": Conflict("Somebody else has it now.", code="lease_lost", fence=7),
            "gone": Gone("Too late.\ud800"),
            "nobody": NotSignedIn("Sign in."),
            "slow": TooManyRequests("Wait.", retry_after=42),
            "teapot": HTTPException(418, "short and stout", headers={"X-Kind": "teapot"}),
            "bug": RuntimeError("the password is swordfish"),
        }[kind]

    @app.get("/api/half")
    def half() -> StreamingResponse:
        def pieces() -> Iterator[bytes]:
            yield b"half"
            raise RuntimeError("the disk is gone")

        return StreamingResponse(pieces())

    @app.post("/api/sheets")
    def sheets(sheet: Sheet) -> Sheet:
        return sheet

    @app.api_route(
        "/api/write", methods=["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"], include_in_schema=False
    )
    async def write(request: Request) -> dict[str, int]:
        return {"bytes": len(await request.body())}

    @app.get("/api/pages/{number}")
    def numbered(number: Annotated[int, Path(ge=1)]) -> int:
        return number

    return app


def browse(**settings: Any) -> TestClient:
    return TestClient(make_app(**settings), base_url=ORIGIN)


@pytest.fixture(autouse=True)
def no_configuration(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def client() -> TestClient:
    return browse()


# Errors


def test_errors_are_problem_documents(client: TestClient) -> None:
    response = client.get("/api/errors/lost")
    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "urn:pixmo:problem:lease_lost",
        "title": "This no longer fits what is stored",
        "status": 409,
        "detail": "Somebody else has it now.",
        "code": "lease_lost",
        "fence": 7,
    }


def test_any_text_can_be_a_detail(client: TestClient) -> None:
    assert client.get("/api/errors/gone").json()["detail"] == "Too late.\ud800"


@pytest.mark.parametrize(
    ("method", "path", "status", "code", "header"),
    [
        ("GET", "/api/errors/nobody", 401, "not_signed_in", ("www-authenticate", "Bearer")),
        ("GET", "/api/errors/slow", 429, "too_many_attempts", ("retry-after", "42")),
        ("GET", "/api/errors/teapot", 418, "i_m_a_teapot", ("x-kind", "teapot")),
        ("GET", "/api/nothing", 404, "not_found", ("cache-control", "no-store")),
        ("DELETE", "/api/fine", 405, "method_not_allowed", ("allow", "GET")),
    ],
)
def test_errors_carry_the_headers_of_their_status(
    client: TestClient, method: str, path: str, status: int, code: str, header: tuple[str, str]
) -> None:
    response = client.request(method, path)
    problem = response.json()
    assert (response.status_code, problem["status"], problem["code"]) == (status, status, code)
    assert response.headers[header[0]] == header[1]


def test_invalid_input_names_the_fields_and_does_not_repeat_them(client: TestClient) -> None:
    response = client.post("/api/sheets", json={"name": "my secret", "pages": [1, "two"]})
    assert response.status_code == 422
    problem = response.json()
    assert problem["code"] == "invalid_input"
    assert [(error["in"], error["field"]) for error in problem["errors"]] == [("body", "name"), ("body", "pages.1")]
    assert problem["detail"].startswith("name: String should have at most 5 characters; pages.1: ")
    assert "secret" not in response.text
    assert "two" not in response.text


def test_invalid_input_elsewhere(client: TestClient) -> None:
    assert client.get("/api/pages/0").json()["errors"][0]["in"] == "path"
    assert client.post("/api/sheets").json()["errors"] == [{"in": "body", "field": "", "detail": "Field required"}]


@pytest.mark.parametrize(
    ("body", "status"),
    [(b"{", 422), (b"", 422), (b"[" * 100_000, 400), (b"\xff", 400), (b'{"name": ' + b"1" * 5000 + b"}", 400)],
)
def test_broken_json(client: TestClient, body: bytes, status: int) -> None:
    response = client.post("/api/sheets", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == response.json()["status"] == status


def test_many_faults_get_a_short_answer(client: TestClient) -> None:
    response = client.post("/api/sheets", json={"name": "me", "pages": ["x"] * 10_000})
    assert len(response.json()["errors"]) == http.ERRORS_SHOWN
    assert len(response.content) < 5_000


def test_faults_of_the_server_are_logged_and_not_told(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        response = client.get("/api/errors/bug")
    problem = response.json()
    assert (response.status_code, problem["code"]) == (500, "unexpected")
    assert "swordfish" not in response.text
    assert problem["request_id"] == response.headers["x-request-id"]
    (record,) = [record for record in caplog.records if record.name == "pixmo.http"]
    assert problem["request_id"] in record.message
    assert record.exc_info is not None
    assert "swordfish" in str(record.exc_info[1])


def test_a_fault_in_the_middle_of_an_answer_breaks_it_off(client: TestClient) -> None:
    with pytest.raises(RuntimeError, match="the disk is gone"):
        client.get("/api/half")


def test_the_api_document_says_that_errors_are_problems() -> None:
    operations = make_app().openapi()["paths"]["/api/sheets"]["post"]["responses"]
    assert sorted(operations) == ["200", "default"]
    assert list(operations["default"]["content"]) == ["application/problem+json"]


# Headers

EVERY_KIND = [
    ("GET", "/api/fine", {}, 200),
    ("GET", "/api/empty", {}, 204),
    ("GET", "/page", {}, 200),
    ("GET", "/api/errors/nobody", {}, 401),
    ("POST", "/api/write", {"Sec-Fetch-Site": "cross-site"}, 403),
    ("GET", "/api/nothing", {}, 404),
    ("PUT", "/api/fine", {}, 405),
    ("POST", "/api/write", {"Content-Length": "9999999"}, 413),
    ("GET", "/api/fine", {"Host": "evil.example"}, 421),
    ("POST", "/api/sheets", {}, 422),
    ("GET", "/api/errors/bug", {}, 500),
]


@pytest.mark.parametrize(("method", "path", "headers", "status"), EVERY_KIND)
def test_every_response_has_the_security_headers(
    client: TestClient, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    response = client.request(method, path, headers=headers)
    assert response.status_code == status
    for name, value in http.SECURITY_HEADERS:
        assert response.headers.get_list(name.decode()) == [value.decode()]
    assert len(response.headers["x-request-id"]) == 16
    assert "strict-transport-security" not in response.headers
    assert response.headers.get("cache-control") == ("no-store" if path.startswith("/api/") else None)


def test_the_policy_lets_scripts_in_from_nowhere_else() -> None:
    policy = dict(part.split(" ", 1) for part in http.CONTENT_SECURITY_POLICY.split("; "))
    assert policy["default-src"] == "'self'"
    assert "script-src" not in policy
    assert "unsafe" not in http.CONTENT_SECURITY_POLICY
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"


def test_a_response_may_set_its_own_caching(client: TestClient) -> None:
    assert client.get("/api/cached").headers.get_list("cache-control") == ["private, max-age=60"]


@pytest.mark.parametrize(
    ("public_url", "url"),
    [("https://speak.example.org", "http://speak.example.org/page"), (None, "https://localhost/page")],
)
def test_strict_transport_under_https(public_url: str | None, url: str) -> None:
    response = browse(public_url=public_url).get(url)
    assert response.headers["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("sent", "kept"), [("proxy-1234", True), ("short", False), ("a" * 65, False), ("line\\nbreak", False)]
)
def test_request_ids_of_a_proxy_are_kept_if_they_are_harmless(client: TestClient, sent: str, kept: bool) -> None:
    assert (client.get("/page", headers={"X-Request-ID": sent}).headers["x-request-id"] == sent) is kept


# Host


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:1",
        "192.168.1.20:8000",
        "[::1]:8000",
        "[2001:db8::1]",
        "speak.example.org",
    ],
)
def test_our_names_and_any_address_are_answered(host: str) -> None:
    client = browse(public_url="https://speak.example.org/base")
    assert client.get("/api/fine", headers={"Host": host}).status_code == 200


def test_the_configured_host_is_answered() -> None:
    client = browse(host="Annotate.lan")
    assert client.get("/api/fine", headers={"Host": "annotate.lan:8000"}).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "evil.example:8000", "127.0.0.1.evil.example", "", "[", ":8000", "\xe4"],
)
def test_other_names_are_not(client: TestClient, host: str) -> None:
    response = client.get("/api/fine", headers={b"Host": host.encode("latin-1")})
    assert (response.status_code, response.json()["code"]) == (421, "unknown_host")
    assert "PIXMO_PUBLIC_URL" in response.json()["detail"]


# Origin

BEARER = {"Authorization": "Bearer pixmo_token"}
COOKIE = {"Cookie": "pixmo_session=token"}


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        (COOKIE, True),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": ORIGIN}, False),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, True),
        ({"Origin": ORIGIN}, True),
        ({"Origin": "https://localhost:8000"}, True),
        ({"Origin": "https://speak.example.org"}, True),
        ({"Origin": "http://localhost:9000"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost:8000.evil.example"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "://"}, False),
        (BEARER | {"Sec-Fetch-Site": "cross-site"}, True),
        (BEARER | {"Origin": "http://evil.example"}, True),
        (BEARER | COOKIE | {"Sec-Fetch-Site": "cross-site"}, False),
        ({"Authorization": "Basic eDp5", "Sec-Fetch-Site": "cross-site"}, False),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_writes_from_other_sites_are_refused(headers: dict[str, str], allowed: bool, method: str) -> None:
    response = browse(public_url="https://speak.example.org").request(method, "/api/write", headers=headers)
    if allowed:
        assert response.status_code == 200
    else:
        assert (response.status_code, response.json()["code"]) == (403, "cross_origin")


@pytest.mark.parametrize("origin", ["null", "://", "http://"])
def test_an_origin_without_a_host_is_another_site(client: TestClient, origin: str) -> None:
    assert client.post("/api/write", headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_reads_from_other_sites_are_the_browsers_business(client: TestClient, method: str) -> None:
    assert client.request(method, "/api/write", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


# Size

RAW = {"Content-Type": "application/octet-stream"}


def pieces(total: int) -> Iterator[bytes]:
    """A body without a declared length."""
    for start in range(0, total, 65_536):
        yield b"x" * min(65_536, total - start)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("headers", "limit"), [({}, http.BODY_LIMIT), ({"Content-Type": "application/json"}, http.BODY_LIMIT), (RAW, 2**21)]
)
def test_bodies_up_to_the_limit(client: TestClient, headers: dict[str, str], limit: int, declared: bool) -> None:
    def send(total: int) -> Any:
        content = b"x" * total if declared else pieces(total)
        return client.put("/api/write", content=content, headers=headers)

    assert send(limit).json() == {"bytes": limit}
    response = send(limit + 1)
    assert (response.status_code, response.json()["code"]) == (413, "too_large")


def test_the_limit_of_chunks_is_a_setting() -> None:
    client = browse(max_chunk_bytes=4096)
    assert client.put("/api/write", content=b"x" * 4096, headers=RAW).status_code == 200
    assert client.put("/api/write", content=b"x" * 4097, headers=RAW).status_code == 413


@pytest.mark.parametrize(("length", "status"), [("many", 400), ("-1", 400), ("9" * 5000, 413)])
def test_odd_lengths(client: TestClient, length: str, status: int) -> None:
    assert client.post("/api/write", headers={"Content-Length": length}).status_code == status
