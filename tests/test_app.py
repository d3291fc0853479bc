"""The server as a whole: the page at every address of its own, problems at the others."""

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from pixmo.app import create_app
from pixmo.errors import SetupError
from pixmo.settings import Settings


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with TestClient(create_app(settings), base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/join", "/login", "/c/street", "/admin"])
def test_the_page_is_at_all_its_addresses(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 200
    assert "<title>pixmo</title>" in reply.text
    assert reply.headers["cache-control"] == "no-cache"


def test_parts_of_the_page_are_compressed(client: TestClient) -> None:
    script = next(part for part in client.get("/").text.split('"') if part.startswith("/assets/index"))
    reply = client.get(script, headers={"Accept-Encoding": "gzip"})
    assert reply.headers["content-encoding"] == "gzip"
    assert "javascript" in reply.headers["content-type"]
    assert "immutable" in reply.headers["cache-control"]


@pytest.mark.parametrize("path", ["/api/nothing", "/api/", "/api/campaigns/x/y"])
def test_an_unknown_address_of_the_api_is_a_problem(client: TestClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["/../pyproject.toml", "/%2e%2e/pyproject.toml", "/assets/../../app.py"])
def test_no_path_leads_out(client: TestClient, path: str) -> None:
    assert "pixmo" not in client.get(path).text or "<title>pixmo</title>" in client.get(path).text
    assert "create_app" not in client.get(path).text


def test_a_folder_without_a_store_says_what_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(SetupError, match="pixmo init"):
        create_app(Settings(data_dir=tmp_path_factory.mktemp("empty")))
