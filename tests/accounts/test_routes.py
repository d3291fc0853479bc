from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher
from sqlalchemy import func, select

from pixmo.accounts import consent, passwords, sessions
from pixmo.accounts.models import AuditEvent, LoginSession, Role, User
from pixmo.context import Context
from pixmo.settings import Settings
from tests.accounts.conftest import PASSWORD, Clock, answer, make_app

Browser = Callable[[], TestClient]
Invite = Callable[..., str]
Join = Callable[..., TestClient]
ADMIN = {"email": "admin@example.org", "password": PASSWORD}


def code(response: Any) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def count(context: Context, table: type) -> int:
    with context.db.read() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_from_link_to_signed_in(client: TestClient, invite: Invite) -> None:
    token = invite(display_name="Speaker")
    details = client.post("/api/invites/inspect", json={"token": token}).json()
    assert details.pop("expires_at").endswith("Z")
    assert details == {
        "role": "annotator",
        "display_name": "Speaker",
        "campaign": None,
        "existing": False,
        "consent": {"version": consent.VERSION, "text": consent.TEXTS["en"]},
    }
    joined = client.post("/api/invites/accept", json=answer(token, display_name="  Speaker  ", locale="de"))
    assert joined.status_code == 201
    me = joined.json()
    assert client.get("/api/me").json() == me
    user_id = me["user"].pop("id")
    assert len(user_id) == 36
    assert me == {
        "user": {"display_name": "Speaker", "email": None, "role": "annotator", "locale": "de"},
        "consent": {"version": consent.VERSION, "text": consent.TEXTS["de"], "given": True},
    }


@pytest.mark.parametrize(
    ("language", "text"),
    [("de", "de"), ("de-AT,de;q=0.9,en;q=0.8", "de"), ("fr;q=0.9", "en"), (";,;", "en"), ("*", "en")],
)
def test_the_join_page_reads_consent_in_its_language(
    client: TestClient, invite: Invite, language: str, text: str
) -> None:
    response = client.post("/api/invites/inspect", json={"token": invite()}, headers={"Accept-Language": language})
    assert response.json()["consent"]["text"] == consent.TEXTS[text]


@pytest.mark.parametrize("path", ["/api/invites/inspect", "/api/invites/accept"])
def test_links_that_do_not_work(client: TestClient, browser: Browser, invite: Invite, time: Clock, path: str) -> None:
    def send(token: str) -> Any:
        body = {"token": token} if path.endswith("inspect") else answer(token)
        return code(browser().post(path, json=body))

    used, old = invite(), invite(days=1)
    client.post("/api/invites/accept", json=answer(used))
    time.forward(days=1)
    assert send("guess") == (404, "invite_unknown")
    assert send(used[:-1]) == (404, "invite_unknown")
    assert send(used) == (410, "invite_used")
    assert send(old) == (410, "invite_expired")


def test_of_many_who_use_one_link_at_once_one_gets_in(context: Context, browser: Browser, invite: Invite) -> None:
    token = invite()
    browsers = [browser() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        body = answer(token)
        codes = list(pool.map(lambda client: client.post("/api/invites/accept", json=body).status_code, browsers))
    assert sorted(codes) == [201] + [410] * 7
    assert count(context, User) == count(context, LoginSession) == 1


def test_of_many_who_give_one_address_at_once_one_gets_it(context: Context, browser: Browser, invite: Invite) -> None:
    bodies = [answer(invite(), email="speaker@example.org") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        codes = list(pool.map(lambda body: browser().post("/api/invites/accept", json=body).status_code, bodies))
    assert sorted(codes) == [201] + [409] * 5
    assert count(context, User) == 1


@pytest.mark.parametrize(
    ("role", "fields", "refusal"),
    [
        (Role.admin, {}, (422, "password_needed")),
        (Role.reviewer, {"email": "r@example.org"}, (422, "password_needed")),
        (Role.annotator, {"consent_version": "0"}, (422, "consent_needed")),
        (Role.annotator, {"display_name": None}, (422, "name_needed")),
        (Role.annotator, {"password": PASSWORD}, (422, "email_missing")),
        (Role.annotator, {"email": "speaker@example.org", "password": "too short"}, (422, "invalid_input")),
        (Role.annotator, {"email": "speaker"}, (422, "invalid_input")),
        (Role.annotator, {"display_name": " \t "}, (422, "invalid_input")),
        (Role.annotator, {"display_name": "Ro\x00bin"}, (422, "invalid_input")),
        (Role.annotator, {"locale": "../en"}, (422, "invalid_input")),
        (Role.annotator, {"pasword": PASSWORD}, (422, "invalid_input")),
    ],
)
def test_answers_that_do_not_do(
    context: Context,
    client: TestClient,
    invite: Invite,
    role: Role,
    fields: dict[str, Any],
    refusal: tuple[int, str],
) -> None:
    response = client.post("/api/invites/accept", json=answer(invite(role), **fields))
    assert code(response) == refusal
    assert "set-cookie" not in response.headers
    assert count(context, User) == 0


def test_refusals_name_the_field_and_keep_the_secret(client: TestClient, invite: Invite) -> None:
    body = answer(invite(), email="speaker@example.org", password="too short")
    response = client.post("/api/invites/accept", json=body)
    assert [(error["in"], error["field"]) for error in response.json()["errors"]] == [("body", "password")]
    assert "too short" not in response.text
    assert body["token"] not in response.text


def test_the_cookie(client: TestClient, invite: Invite) -> None:
    header = client.post("/api/invites/accept", json=answer(invite())).headers["set-cookie"]
    value, *attributes = header.split("; ")
    assert value.startswith("pixmo_session=")
    assert len(value) == len("pixmo_session=") + 43
    assert sorted(attributes) == ["HttpOnly", f"Max-Age={90 * 86400}", "Path=/", "SameSite=lax"]


@pytest.mark.parametrize(
    ("public_url", "base_url", "secure"),
    [
        (None, "http://localhost", False),
        (None, "https://localhost", True),
        ("https://speak.example.org", "http://speak.example.org", True),
        ("http://speak.example.org", "http://speak.example.org", False),
    ],
)
def test_the_cookie_is_secure_under_https(
    settings: Settings, invite: Invite, public_url: str | None, base_url: str, secure: bool
) -> None:
    context = Context.open(settings.model_copy(update={"public_url": public_url}))
    client = TestClient(make_app(context), base_url=base_url)
    cookies = [
        client.post("/api/invites/accept", json=answer(invite())).headers["set-cookie"],
        client.post("/api/logout").headers["set-cookie"],
    ]
    assert ["Secure" in cookie for cookie in cookies] == [secure, secure]
    context.close()


def test_a_new_link_for_somebody_who_lost_the_cookie(browser: Browser, invite: Invite, join: Join) -> None:
    known = join().get("/api/me").json()["user"]
    token = invite(known=known["id"])
    client = browser()
    details = client.post("/api/invites/inspect", json={"token": token}).json()
    assert (details["existing"], details["display_name"]) == (True, "Speaker")
    response = client.post("/api/invites/accept", json={"token": token, "locale": "de"})
    assert response.status_code == 201
    assert response.json()["user"] == known | {"locale": "de"}
    assert client.get("/api/me").json() == response.json()


def test_a_new_link_can_set_a_new_password(browser: Browser, invite: Invite, join: Join) -> None:
    old = join(Role.admin)
    body = {"token": invite(known="admin@example.org"), "locale": "en", "password": "another long password"}
    assert browser().post("/api/invites/accept", json=body).status_code == 201
    assert old.get("/api/me").status_code == 401
    assert code(browser().post("/api/login", json=ADMIN)) == (401, "wrong_credentials")
    changed = ADMIN | {"password": "another long password"}
    assert browser().post("/api/login", json=changed).status_code == 200


def test_a_password_for_an_account_without_address_is_refused(browser: Browser, invite: Invite, join: Join) -> None:
    token = invite(known=join().get("/api/me").json()["user"]["id"])
    body = {"token": token, "locale": "en", "password": PASSWORD}
    assert code(browser().post("/api/invites/accept", json=body)) == (422, "email_missing")


def test_signing_in_and_out(context: Context, browser: Browser, join: Join) -> None:
    join(Role.admin)
    client = browser()
    assert code(client.get("/api/me")) == (401, "not_signed_in")
    response = client.post("/api/login", json=ADMIN | {"email": "ADMIN@example.org"})
    assert response.status_code == 200
    assert client.get("/api/me").json() == response.json()
    cookie = client.cookies["pixmo_session"]
    assert client.post("/api/logout").status_code == 204
    assert "pixmo_session" not in client.cookies
    assert client.get("/api/me", headers={"Cookie": f"pixmo_session={cookie}"}).status_code == 401
    assert client.post("/api/logout").status_code == 204
    with context.db.read() as session:
        actions = session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)).all()
    assert actions[-2:] == ["user.signed_in", "user.signed_out"]


def test_signing_out_leaves_other_browsers_signed_in(browser: Browser, join: Join) -> None:
    first = join(Role.admin)
    second = browser()
    second.post("/api/login", json=ADMIN)
    second.post("/api/logout")
    assert first.get("/api/me").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        {"email": "admin@example.org", "password": "wrong password"},
        {"email": "admin@example.org", "password": ""},
        {"email": "nobody@example.org", "password": PASSWORD},
        {"email": "annotator@example.org", "password": PASSWORD},
        {"email": "disabled@example.org", "password": PASSWORD},
    ],
)
def test_every_failed_sign_in_looks_the_same(
    context: Context, browser: Browser, join: Join, body: dict[str, str]
) -> None:
    join(Role.admin)
    join(email="annotator@example.org")
    join(Role.reviewer, email="disabled@example.org")
    with context.db.write() as session:
        session.scalars(select(User).where(User.email == "disabled@example.org")).one().disabled_at = User.created_at
    response = browser().post("/api/login", json=body)
    assert code(response) == (401, "wrong_credentials")
    assert response.json()["detail"] == "The e-mail address or the password is wrong."
    assert "set-cookie" not in response.headers


def test_guessing_is_slowed_down(browser: Browser, join: Join, time: Clock) -> None:
    join(Role.admin)
    client = browser()
    wrong = ADMIN | {"password": "wrong password"}
    for _ in range(sessions.FAILURES_PER_ACCOUNT):
        assert code(client.post("/api/login", json=wrong)) == (401, "wrong_credentials")
    response = client.post("/api/login", json=ADMIN)
    assert code(response) == (429, "too_many_attempts")
    assert response.headers["retry-after"] == str(response.json()["retry_after"]) == "900"
    time.forward(minutes=15)
    assert client.post("/api/login", json=ADMIN).status_code == 200


def test_the_strength_of_a_stored_hash_grows_at_sign_in(
    context: Context, browser: Browser, join: Join, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stored() -> str | None:
        with context.db.read() as session:
            return session.scalar(select(User.password_hash))

    join(Role.admin)
    before = stored()
    monkeypatch.setattr(passwords, "hasher", PasswordHash((Argon2Hasher(2, 16, 1),)))
    assert browser().post("/api/login", json=ADMIN).status_code == 200
    after = stored()
    assert before is not None
    assert after is not None
    assert ("m=8,t=1" in before, "m=16,t=2" in after) == (True, True)
    assert browser().post("/api/login", json=ADMIN).status_code == 200
    assert stored() == after


def test_changing_ones_own_account(join: Join) -> None:
    client = join()
    me = client.patch("/api/me", json={"locale": "de"}).json()
    assert (me["user"]["locale"], me["user"]["display_name"]) == ("de", "Speaker")
    assert me["consent"]["text"] == consent.TEXTS["de"]
    client.patch("/api/me", json={"display_name": "Listener"})
    client.patch("/api/me", json={})
    assert client.get("/api/me").json()["user"] == me["user"] | {"display_name": "Listener"}
    assert code(client.patch("/api/me", json={"role": "admin"})) == (422, "invalid_input")


def test_a_new_consent_text_is_asked_for(join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
    client = join()
    monkeypatch.setattr(consent, "VERSION", "2")
    assert client.get("/api/me").json()["consent"]["given"] is False
    assert code(client.post("/api/me/consent", json={"version": "1"})) == (422, "consent_needed")
    assert client.post("/api/me/consent", json={"version": "2"}).json()["consent"]["given"] is True
    assert client.get("/api/me").json()["consent"]["given"] is True


def test_admins_invite(browser: Browser, join: Join, time: Clock) -> None:
    admin = join(Role.admin)
    made = admin.post("/api/admin/invites", json={"role": "reviewer", "display_name": "Listener", "days": 3})
    assert made.status_code == 201
    link, token = made.json()["link"].split("#")
    assert link == "http://127.0.0.1:8000/join"
    newest = admin.get("/api/admin/invites").json()[0]
    assert newest["expires_at"] == made.json()["expires_at"]
    assert (newest["role"], newest["display_name"], newest["used_at"]) == ("reviewer", "Listener", None)
    body = answer(token, email="listener@example.org", password=PASSWORD)
    assert browser().post("/api/invites/accept", json=body).status_code == 201
    assert admin.get("/api/admin/invites").json()[0]["used_at"] is not None


def test_who_may_see_and_make_invites(client: TestClient, join: Join) -> None:
    people = {"nobody": client} | {role.value: join(role) for role in Role}
    seen = {name: browser.get("/api/admin/invites").status_code for name, browser in people.items()}
    body = {"role": "admin", "days": 1}
    made = {name: browser.post("/api/admin/invites", json=body).status_code for name, browser in people.items()}
    assert seen == {"nobody": 401, "annotator": 403, "reviewer": 200, "admin": 200}
    assert made == {"nobody": 401, "annotator": 403, "reviewer": 403, "admin": 201}


def test_a_link_says_which_campaign_it_is_for(client: TestClient, invite: Invite, campaign: str) -> None:
    details = client.post("/api/invites/inspect", json={"token": invite(campaign=campaign)}).json()
    assert details["campaign"] == {"name": campaign, "title": "Street signs"}


def test_invites_to_unknown_campaigns_are_refused(join: Join) -> None:
    body = {"role": "annotator", "campaign": "street-signs", "days": 1}
    assert code(join(Role.admin).post("/api/admin/invites", json=body)) == (404, "campaign_unknown")


def test_no_secret_reaches_the_disk(context: Context, browser: Browser, invite: Invite, join: Join) -> None:
    token = invite()
    client = browser()
    client.post("/api/invites/accept", json=answer(token, email="speaker@example.org", password=PASSWORD))
    link = join(Role.admin).post("/api/admin/invites", json={"role": "annotator", "days": 1}).json()["link"]
    with context.db.write() as session:
        user_id = client.get("/api/me").json()["user"]["id"]
        _, api_token = sessions.create_api_token(session, user_id, "script")
    stored = b"".join(path.read_bytes() for path in context.settings.store_dir.rglob("*") if path.is_file())
    assert b"speaker@example.org" in stored
    for secret in (token, link.split("#")[1], client.cookies["pixmo_session"], api_token, PASSWORD):
        assert secret.encode() not in stored
