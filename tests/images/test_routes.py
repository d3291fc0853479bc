import io

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image

from pixmo import http
from pixmo.accounts import sessions
from pixmo.context import Context
from pixmo.images import routes
from pixmo.images.formats import BLOBS
from tests import fill
from tests.images.conftest import encoded, picture


@pytest.fixture
def browser(context: Context) -> TestClient:
    """A browser in which nobody is signed in."""
    app = FastAPI(responses=http.PROBLEMS)
    app.state.pixmo = context
    http.install(app, context.settings)
    app.include_router(routes.router)
    return TestClient(app, base_url="http://localhost")


@pytest.fixture
def signed_in(context: Context, browser: TestClient) -> TestClient:
    with context.db.write() as session:
        (person,) = fill.people(session, 1)
        browser.cookies.set("pixmo_session", sessions.start(session, person, 1))
    return browser


@pytest.mark.parametrize(("kind", "media_type"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_an_image_is_served_once_and_for_all(
    context: Context, signed_in: TestClient, kind: str, media_type: str
) -> None:
    data = encoded(picture(), kind)
    sha256 = context.storage.put(BLOBS, data)
    response = signed_in.get(f"/api/images/{sha256}")
    assert response.content == data
    assert Image.open(io.BytesIO(response.content)).size == (160, 120)
    assert response.headers["content-type"] == media_type
    assert response.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["etag"] == f'"{sha256}"'
    again = signed_in.get(f"/api/images/{sha256}", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == response.headers["etag"]
    other = signed_in.get(f"/api/images/{sha256}", headers={"If-None-Match": '"something else"'})
    assert other.status_code == 200


def test_only_for_people(context: Context, browser: TestClient) -> None:
    sha256 = context.storage.put(BLOBS, encoded(picture()))
    response = browser.get(f"/api/images/{sha256}")
    assert (response.status_code, response.json()["code"]) == (401, "not_signed_in")


def test_only_images(context: Context, signed_in: TestClient) -> None:
    speech = context.storage.put("audio", b"a take")
    stray = context.storage.put(BLOBS, b"<svg onload='alert(1)'>")
    for sha256 in (speech, stray, "0" * 64):
        response = signed_in.get(f"/api/images/{sha256}")
        assert (response.status_code, response.json()["code"]) == (404, "image_unknown")


@pytest.mark.parametrize("name", ["A" * 64, "0" * 63, "0" * 65, "..%2f..%2fpixmo.db", "0" * 63 + "%0a", "%00"])
def test_only_hashes(signed_in: TestClient, name: str) -> None:
    response = signed_in.get(f"/api/images/{name}")
    assert response.status_code in {404, 422}
    assert response.headers["content-type"] == "application/problem+json"
