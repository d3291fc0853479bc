"""Whatever is sent, the answer is a problem document, never a fault of the server."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pixmo.accounts.models import Role
from tests.accounts.conftest import answer

ROUTES = [
    ("POST", "/api/invites/inspect"),
    ("POST", "/api/invites/accept"),
    ("POST", "/api/login"),
    ("POST", "/api/logout"),
    ("PATCH", "/api/me"),
    ("POST", "/api/me/consent"),
    ("POST", "/api/admin/invites"),
]
FIELDS = [
    "token", "display_name", "email", "password", "locale", "consent_version", "version", "role", "campaign", "days",
]  # fmt: skip
ODD_TEXT = st.one_of(
    # Every character, lone surrogates included: JSON can carry them as escapes.
    st.text(st.characters(codec=None)),
    st.sampled_from(
        [
            "\x00", "\ud800", "a\x00@example.org", "\ud800@example.org", "'; DROP TABLE users; --", "%s{0}",
            "x" * 5000, "\u202e", "ﬁ", "İ", "1" * 400, "-1", "null", "en", "admin", "speaker@example.org",
        ]
    ),
)  # fmt: skip
ODD_VALUE = st.recursive(
    st.one_of(
        ODD_TEXT,
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.sampled_from([2**63, -(2**63) - 1, 10**400, 1e308, float("nan"), float("inf")]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ODD_TEXT, inner, max_size=3),
    max_leaves=5,
)
ODD_BODY = st.one_of(
    ODD_VALUE.map(json.dumps).map(str.encode),
    st.dictionaries(st.sampled_from(FIELDS) | ODD_TEXT, ODD_VALUE, max_size=7).map(json.dumps).map(str.encode),
    st.binary(max_size=200),
    st.sampled_from(
        [b"", b"{", b"[" * 100_000, b'{"token": 1' + b"0" * 5000 + b"}", b"\xff\xfe{}", b'{"token":"\\ud800"}']
    ),
)


def check(response: Any) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert problem["status"] == response.status_code
        assert len(response.content) < 10_000


@pytest.fixture
def admin(join: Callable[..., TestClient]) -> TestClient:
    return join(Role.admin)


same_store = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize(("method", "path"), ROUTES)
@same_store
@given(body=ODD_BODY)
def test_any_body(admin: TestClient, method: str, path: str, body: bytes) -> None:
    check(admin.request(method, path, content=body, headers={"Content-Type": "application/json"}))


@same_store
@given(
    body=ODD_BODY,
    content_type=st.sampled_from(["", "text/plain", "application/octet-stream", "multipart/form-data", "\xff"]),
)
def test_any_kind_of_body(admin: TestClient, body: bytes, content_type: str) -> None:
    check(admin.post("/api/login", content=body, headers={b"Content-Type": content_type.encode("latin-1")}))


HEADER = st.binary(max_size=100).filter(lambda value: not {10, 13} & set(value))


@same_store
@given(name=st.sampled_from([b"Cookie", b"Authorization", b"Accept-Language", b"X-Request-ID"]), value=HEADER)
def test_any_header(admin: TestClient, name: bytes, value: bytes) -> None:
    for prefix in (b"", b"Bearer ", b"pixmo_session="):
        check(admin.post("/api/invites/inspect", json={"token": "guess"}, headers={name: prefix + value}))
        check(admin.get("/api/me", headers={name: prefix + value}))


@same_store
@given(email=ODD_TEXT, password=ODD_TEXT)
def test_any_sign_in(admin: TestClient, email: str, password: str) -> None:
    body = json.dumps({"email": email, "password": password})
    check(admin.post("/api/login", content=body, headers={"Content-Type": "application/json"}))


@same_store
@given(field=st.sampled_from(["display_name", "email", "password", "locale", "consent_version"]), odd=ODD_VALUE)
def test_any_answer_to_a_link(admin: TestClient, invite: Callable[..., str], field: str, odd: Any) -> None:
    body = json.dumps(answer(invite(), **{field: odd}))
    check(admin.post("/api/invites/accept", content=body, headers={"Content-Type": "application/json"}))


@same_store
@given(field=st.sampled_from(["role", "display_name", "campaign", "days"]), odd=ODD_VALUE)
def test_any_invite(admin: TestClient, field: str, odd: Any) -> None:
    body = json.dumps({"role": "annotator", "days": 1, field: odd})
    check(admin.post("/api/admin/invites", content=body, headers={"Content-Type": "application/json"}))
