from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import event, select, update

from pixmo.accounts import sessions
from pixmo.accounts.models import ApiToken, LoginSession, Role, User
from pixmo.context import Context
from tests.accounts.conftest import Clock

Join = Callable[..., TestClient]
Browser = Callable[[], TestClient]


def bearer(context: Context, client: TestClient) -> dict[str, str]:
    """The headers of a script that acts as the person of `client`."""
    with context.db.write() as session:
        user_id = client.get("/api/probe").json()["id"]
        return {"Authorization": f"Bearer {sessions.create_api_token(session, user_id, 'script')[1]}"}


def test_nobody_without_proof(client: TestClient) -> None:
    response = client.get("/api/probe")
    assert response.status_code == 401
    assert response.json()["code"] == "not_signed_in"
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "headers",
    [
        {"Cookie": "pixmo_session=guess"},
        {"Cookie": "pixmo_session="},
        {"Cookie": "pixmo_session=\x7f\xe4; pixmo_session=x"},
        {"Authorization": "Bearer pixmo_guess"},
        {"Authorization": "Bearer"},
        {"Authorization": "Basic cm9iaW46cGFzc3dvcmQ="},
    ],
)
def test_nobody_with_false_proof(client: TestClient, headers: dict[str, str]) -> None:
    raw = {name.encode(): value.encode("latin-1") for name, value in headers.items()}
    assert client.get("/api/probe", headers=raw).status_code == 401


@pytest.mark.parametrize(
    ("role", "allowed"),
    [(Role.annotator, (200, 403, 403)), (Role.reviewer, (200, 200, 403)), (Role.admin, (200, 200, 200))],
)
def test_each_role_may_do_what_the_ones_below_may(join: Join, role: Role, allowed: tuple[int, int, int]) -> None:
    client = join(role)
    paths = ("/api/probe", "/api/probe/reviewer", "/api/probe/admin")
    assert tuple(client.get(path).status_code for path in paths) == allowed


def test_one_statement_and_no_write_per_request(context: Context, join: Join) -> None:
    client = join()
    read: list[str] = []
    written: list[str] = []
    event.listen(context.db.reader, "before_cursor_execute", lambda *args: read.append(args[2]))
    event.listen(context.db.writer, "before_cursor_execute", lambda *args: written.append(args[2]))
    assert client.get("/api/probe").status_code == 200
    assert [statement.split()[0] for statement in read] == ["BEGIN", "SELECT"]
    assert written == []


def test_last_seen_is_written_every_few_minutes(context: Context, time: Clock, join: Join) -> None:
    def seen() -> object:
        with context.db.read() as session:
            return session.scalar(select(LoginSession.last_seen_at))

    client = join()
    first = seen()
    time.forward(minutes=4)
    client.get("/api/probe")
    assert seen() == first
    time.forward(minutes=2)
    client.get("/api/probe")
    assert seen() == time.at


def test_sessions_end(context: Context, time: Clock, join: Join) -> None:
    client = join()
    time.forward(days=context.settings.session_days, seconds=-1)
    assert client.get("/api/probe").status_code == 200
    time.forward(seconds=2)
    assert client.get("/api/probe").status_code == 401


def test_tokens_act_as_their_person(context: Context, browser: Browser, join: Join, time: Clock) -> None:
    client = join(Role.reviewer)
    script = browser()
    headers = bearer(context, client)
    assert script.get("/api/probe", headers=headers).json() == client.get("/api/probe").json()
    assert script.get("/api/probe/admin", headers=headers).status_code == 403
    with context.db.read() as session:
        assert session.scalar(select(ApiToken.last_used_at)) == time.at


def test_a_token_counts_before_a_cookie(context: Context, join: Join) -> None:
    reviewer, annotator = join(Role.reviewer), join()
    headers = bearer(context, reviewer)
    assert annotator.get("/api/probe", headers=headers).json()["role"] == "reviewer"
    assert annotator.get("/api/probe", headers={"Authorization": "Bearer pixmo_guess"}).status_code == 401


def test_a_token_is_no_cookie_and_a_cookie_is_no_token(context: Context, browser: Browser, join: Join) -> None:
    client = join()
    token = bearer(context, client)["Authorization"].removeprefix("Bearer ")
    cookie = client.cookies["pixmo_session"]
    stranger = browser()
    assert stranger.get("/api/probe", headers={"Cookie": f"pixmo_session={token}"}).status_code == 401
    assert stranger.get("/api/probe", headers={"Authorization": f"Bearer {cookie}"}).status_code == 401


def test_disabled_people_are_out_at_once(context: Context, browser: Browser, join: Join) -> None:
    client = join()
    headers = bearer(context, client)
    with context.db.write() as session:
        session.execute(update(User).values(disabled_at=User.created_at))
    assert client.get("/api/probe").status_code == 401
    assert browser().get("/api/probe", headers=headers).status_code == 401
