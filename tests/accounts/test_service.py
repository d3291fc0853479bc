from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from pixmo.accounts import consent, schemas, service, sessions
from pixmo.accounts.models import AuditEvent, Consent, Role, User
from pixmo.context import Context
from pixmo.errors import PixmoError
from pixmo.settings import Settings
from tests.accounts.conftest import PASSWORD, Clock, answer

Invite = Callable[..., str]
Join = Callable[..., TestClient]


def accept(context: Context, token: str, **fields: object) -> User:
    with context.db.write() as session:
        return service.accept_invite(session, schemas.AcceptInvite(**answer(token, **fields)), None)


def audited(context: Context) -> list[str]:
    with context.db.read() as session:
        return list(session.scalars(select(AuditEvent.action).order_by(AuditEvent.id)))


@pytest.mark.parametrize(
    ("changes", "link"),
    [
        ({}, "http://127.0.0.1:8000/join#abc"),
        ({"host": "0.0.0.0", "port": 80}, "http://localhost:80/join#abc"),
        ({"host": "::"}, "http://localhost:8000/join#abc"),
        ({"host": "::1"}, "http://[::1]:8000/join#abc"),
        ({"public_url": "https://speak.example.org/"}, "https://speak.example.org/join#abc"),
    ],
)
def test_links_open_the_join_page_with_the_token_in_the_fragment(
    settings: Settings, changes: dict[str, Any], link: str
) -> None:
    assert service.join_link(settings.model_copy(update=changes), "abc") == link


def test_joining_is_written_down(context: Context, invite: Invite) -> None:
    user = accept(context, invite(), locale="de-CH")
    assert (user.role, user.display_name, user.locale) == (Role.annotator, "Speaker", "de-CH")
    assert audited(context) == ["invite.created", "user.created", "consent.given", "invite.used"]
    with context.db.read() as session:
        (row,) = service.invites(session)
        assert (row.used_by, row.used_at is not None) == (user.id, True)
        given = session.scalars(select(Consent)).one()
        text = consent.current("de")
        assert (given.user_id, given.version, given.text_sha256) == (user.id, text.version, text.sha256)


def test_a_refused_answer_uses_nothing_up(context: Context, invite: Invite) -> None:
    accept(context, invite(), email="speaker@example.org")
    token = invite()
    before = audited(context)
    with pytest.raises(service.EmailTaken):
        accept(context, token, email="Speaker@Example.org")
    assert audited(context) == before
    assert accept(context, token, email="listener@example.org").email == "listener@example.org"


def test_a_name_on_the_invite_is_enough(context: Context, invite: Invite) -> None:
    assert accept(context, invite(display_name="Listener"), display_name=None).display_name == "Listener"
    assert accept(context, invite(display_name="Listener"), display_name="Listener K.").display_name == "Listener K."
    with pytest.raises(service.NameNeeded):
        accept(context, invite(), display_name=None)


@pytest.mark.parametrize("role", [Role.reviewer, Role.admin])
@pytest.mark.parametrize("given", [{}, {"email": "r@example.org"}, {"password": PASSWORD}])
def test_reviewers_and_admins_need_a_password(
    context: Context, invite: Invite, role: Role, given: dict[str, str]
) -> None:
    with pytest.raises(service.PasswordNeeded):
        accept(context, invite(role), **given)


def test_a_password_alone_is_of_no_use(context: Context, invite: Invite) -> None:
    with pytest.raises(service.EmailMissing):
        accept(context, invite(), password=PASSWORD)


@pytest.mark.parametrize("version", [None, "", "0"])
def test_nobody_joins_without_the_newest_consent(context: Context, invite: Invite, version: str | None) -> None:
    with pytest.raises(service.ConsentNeeded):
        accept(context, invite(), consent_version=version)


def test_invites_end(context: Context, invite: Invite, time: Clock) -> None:
    token = invite(days=2)
    time.forward(days=2, seconds=-1)
    with context.db.read() as session:
        assert service.find_invite(session, token).role is Role.annotator
    time.forward(seconds=1)
    with context.db.read() as session, pytest.raises(service.InviteExpired):
        service.find_invite(session, token)


def test_a_campaign_must_exist(context: Context, invite: Invite, campaign: str) -> None:
    with pytest.raises(service.CampaignUnknown):
        invite(campaign="street-sign")
    with context.db.read() as session:
        assert service.find_invite(session, invite(campaign=campaign)).campaign == campaign
        assert service.campaign_title(session, campaign) == "Street signs"


def test_a_link_for_a_known_person_signs_in_that_person(context: Context, invite: Invite) -> None:
    user = accept(context, invite(), email="speaker@example.org")
    again = accept(context, invite(known="SPEAKER@example.org", role=Role.admin), consent_version=None)
    assert (again.id, again.role, again.display_name) == (user.id, Role.annotator, "Speaker")
    assert audited(context)[-2:] == ["invite.created", "invite.used"]


def test_consent_is_given_once_per_version(context: Context, invite: Invite, monkeypatch: pytest.MonkeyPatch) -> None:
    user = accept(context, invite())
    monkeypatch.setattr(consent, "VERSION", "2")
    with context.db.write() as session:
        assert not service.has_consented(session, user.id)
        with pytest.raises(service.ConsentNeeded):
            service.give_consent(session, user.id, "1", "en")
        for _ in range(2):
            service.give_consent(session, user.id, "2", "en")
        assert service.has_consented(session, user.id)
        assert session.scalars(select(Consent.version).order_by(Consent.id)).all() == ["1", "2"]


def test_people_are_found_by_id_or_address(context: Context, invite: Invite) -> None:
    user = accept(context, invite(), email="speaker@example.org")
    with context.db.read() as session:
        assert service.find_person(session, user.id).id == user.id
        assert service.find_person(session, " Speaker@example.org ").id == user.id
        assert [person.id for person in service.people(session)] == [user.id]
        with pytest.raises(service.PersonUnknown):
            service.find_person(session, "None")


def test_disabling_ends_everything_and_can_be_undone(context: Context, invite: Invite) -> None:
    user = accept(context, invite(), email="speaker@example.org")
    link = invite(known=user.id)
    with context.db.write() as session:
        cookie = sessions.start(session, user.id, 1)
        _, api_token = sessions.create_api_token(session, user.id, "script")
        service.disable(session, session.get_one(User, user.id))
    for enabled in (False, True):
        if enabled:
            with context.db.write() as session:
                service.enable(session, session.get_one(User, user.id))
        with context.db.reader.connect() as connection:
            assert sessions.find_session(connection, cookie) is None
            assert sessions.find_api_token(connection, api_token) is None
        with context.db.read() as session, pytest.raises(service.InviteExpired):
            service.find_invite(session, link)
    assert audited(context)[-2:] == ["user.disabled", "user.enabled"]


def test_no_link_for_a_disabled_person(context: Context, invite: Invite) -> None:
    user = accept(context, invite())
    with context.db.write() as session:
        service.disable(session, session.get_one(User, user.id))
    with pytest.raises(service.PersonDisabled):
        invite(known=user.id)


def test_every_refusal_has_its_own_word() -> None:
    refusals = [value for value in vars(service).values() if isinstance(value, type) and issubclass(value, PixmoError)]
    own = [refusal for refusal in refusals if refusal.__module__ == service.__name__]
    assert len({refusal.code for refusal in own}) == len(own) > 8
