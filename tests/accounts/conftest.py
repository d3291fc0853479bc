"""An application with the routes of accounts alone, on a real store, and people in it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from pixmo import clock, http
from pixmo.accounts import consent, passwords, routes, service
from pixmo.accounts.dependencies import Admin, Reviewer, SignedIn
from pixmo.accounts.models import Role
from pixmo.campaigns.models import Campaign, CampaignKind
from pixmo.context import Context

PASSWORD = "correct horse battery"
ORIGIN = "http://localhost"


@pytest.fixture(autouse=True)
def cheap_hasher(monkeypatch: pytest.MonkeyPatch) -> PasswordHash:
    """Argon2 with the least work it allows: the real parameters take half a second by design."""
    hasher = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr(passwords, "hasher", hasher)
    return hasher


@dataclass
class Clock:
    """The time that `pixmo.clock.now` tells; tests move it."""

    at: datetime

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moving = Clock(datetime.now(UTC))
    monkeypatch.setattr(clock, "now", lambda: moving.at)
    return moving


def make_app(context: Context) -> FastAPI:
    app = FastAPI(responses=http.PROBLEMS)
    app.state.pixmo = context
    http.install(app, context.settings)
    app.include_router(routes.router)

    @app.get("/api/probe")
    def probe(person: SignedIn) -> dict[str, str]:
        return {"id": person.id, "role": person.role}

    @app.get("/api/probe/reviewer")
    def for_reviewers(person: Reviewer) -> dict[str, str]:
        return {"id": person.id}

    @app.get("/api/probe/admin")
    def for_admins(person: Admin) -> dict[str, str]:
        return {"id": person.id}

    return app


@pytest.fixture
def browser(context: Context) -> Iterator[Callable[[], TestClient]]:
    """Makes browsers: each has its own cookies."""
    app = make_app(context)
    with ExitStack() as opened:
        yield lambda: opened.enter_context(TestClient(app, base_url=ORIGIN, headers={"Sec-Fetch-Site": "same-origin"}))


@pytest.fixture
def client(browser: Callable[[], TestClient]) -> TestClient:
    return browser()


@pytest.fixture
def invite(context: Context) -> Callable[..., str]:
    """Makes invites and returns their tokens."""

    def make(role: Role = Role.annotator, *, known: str | None = None, days: int = 14, **fields: Any) -> str:
        with context.db.write() as session:
            user = service.find_person(session, known) if known else None
            return service.create_invite(session, role=role, user=user, days=days, **fields)[1]

    return make


def answer(token: str, **fields: Any) -> dict[str, Any]:
    """What the join page sends."""
    return {
        "token": token,
        "display_name": "Speaker",
        "locale": "en",
        "consent_version": consent.VERSION,
        **fields,
    }


@pytest.fixture
def join(browser: Callable[[], TestClient], invite: Callable[..., str]) -> Callable[..., TestClient]:
    """Makes people and returns their signed-in browsers; reviewers and admins get `ROLE@example.org` and `PASSWORD`."""

    def make(role: Role = Role.annotator, **fields: Any) -> TestClient:
        if role is not Role.annotator:
            fields = {"email": f"{role}@example.org", "password": PASSWORD, **fields}
        client = browser()
        response = client.post("/api/invites/accept", json=answer(invite(role), **fields))
        assert response.status_code == 201, response.text
        return client

    return make


@pytest.fixture
def campaign(context: Context) -> str:
    """The name of a campaign titled Street signs."""
    with context.db.write() as session:
        session.add(
            Campaign(
                name="street-signs", kind=CampaignKind.describe, title="Street signs", instructions="", questions=[],
                language="en", overlap=1, min_voiced_seconds=60, max_seconds=600, min_words=20,
            )
        )  # fmt: skip
    return "street-signs"
