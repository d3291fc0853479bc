import json
import re

import pytest
from sqlalchemy import select
from typer.testing import CliRunner, Result

from pixmo.accounts import schemas, service, sessions
from pixmo.accounts.models import ApiToken, AuditEvent, Role, User
from pixmo.cli import app
from pixmo.context import Context
from pixmo.errors import PixmoError
from tests.accounts.conftest import answer


@pytest.fixture(autouse=True)
def store(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIXMO_DATA_DIR", str(context.settings.data_dir))
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture
def speaker(context: Context) -> User:
    with context.db.write() as session:
        _, token = service.create_invite(session, days=1)
        return service.accept_invite(session, schemas.AcceptInvite(**answer(token, email="speaker@example.org")), None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, catch_exceptions=False)


def printed(*arguments: str) -> str:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_link_alone_is_on_standard_output(context: Context) -> None:
    result = run("invite")
    assert re.fullmatch(r"http://127\.0\.0\.1:8000/join#[\w-]{43}\n", result.stdout)
    assert "Works once" in result.stderr
    with context.db.read() as session:
        invite = service.find_invite(session, result.stdout.strip().partition("#")[2])
        assert invite.role is Role.annotator
        assert (invite.expires_at - invite.created_at).days in (13, 14)


def test_links_for_a_class(context: Context, campaign: str) -> None:
    links = json.loads(
        printed("invite", "--count", "3", "--days", "2", "--role", "reviewer", "--campaign", campaign, "--json")
    )
    assert len({link["link"] for link in links}) == 3
    with context.db.read() as session:
        for link in links:
            invite = service.find_invite(session, link["link"].partition("#")[2])
            assert (invite.role, invite.campaign) == (Role.reviewer, campaign)
            assert link["expires_at"] == invite.expires_at.isoformat()


def test_a_link_for_somebody_known(context: Context, speaker: User) -> None:
    link = printed("invite", "--for", "Speaker@example.org")
    with context.db.read() as session:
        assert service.find_invite(session, link.strip().partition("#")[2]).user_id == speaker.id


@pytest.mark.parametrize(
    "arguments",
    [
        ("--for", "speaker@example.org", "--name", "Speaker"),
        ("--for", "speaker@example.org", "--count", "2"),
        ("--for", "speaker@example.org", "--role", "admin"),
        ("--count", "0"),
        ("--days", "0"),
        ("--role", "owner"),
    ],
)
def test_contradictions_are_refused(context: Context, speaker: User, arguments: tuple[str, ...]) -> None:
    assert run("invite", *arguments).exit_code == 2
    with context.db.read() as session:
        assert len(service.invites(session)) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("invite", "--for", "nobody@example.org"),
        ("invite", "--campaign", "none"),
        ("user", "disable", "nobody@example.org"),
        ("token", "create", "script", "--for", "nobody@example.org"),
        ("token", "revoke", "none"),
    ],
)
def test_what_is_not_there_is_said_in_a_line(arguments: tuple[str, ...]) -> None:
    with pytest.raises(PixmoError, match=r"^There is no|^Nobody"):
        run(*arguments)


def test_people_are_listed_disabled_and_enabled(context: Context, speaker: User) -> None:
    (row,) = json.loads(printed("user", "list", "--json"))
    assert (row["id"], row["email"], row["role"], row["disabled"]) == (
        speaker.id,
        "speaker@example.org",
        "annotator",
        False,
    )
    assert "shut out" in run("user", "disable", speaker.id).stderr
    assert "disabled" in printed("user", "list")
    assert speaker.id in run("user", "enable", "speaker@example.org").stderr
    assert json.loads(printed("user", "list", "--json")) == [row]
    with context.db.read() as session:
        assert session.scalars(select(AuditEvent.actor_id).where(AuditEvent.subject_id == speaker.id)).all()[-2:] == [
            None,
            None,
        ]


def test_names_are_not_markup(context: Context, speaker: User) -> None:
    with context.db.write() as session:
        session.get_one(User, speaker.id).display_name = "[bold]Speaker[/] [/nothing]"
    assert "[bold]Speaker[/]" in printed("user", "list")
    assert "[bold]Speaker[/]" in run("token", "create", "[/]", "--for", speaker.id).stderr
    assert "[/]" in printed("token", "list")
    assert "[bold]Speaker[/]" in run("user", "disable", speaker.id).stderr
    assert "[bold]Speaker[/]" in run("user", "enable", speaker.id).stderr


def test_a_token_works_until_it_is_revoked(context: Context, speaker: User) -> None:
    token = printed("token", "create", "nightly report", "--for", speaker.id).strip()
    with context.db.reader.connect() as connection:
        found = sessions.find_api_token(connection, token)
        assert found is not None
        assert found.person.id == speaker.id
    (row,) = json.loads(printed("token", "list", "--json"))
    assert (row["name"], row["user"], row["last_used_at"]) == ("nightly report", "Speaker", None)
    assert "never" in printed("token", "list")
    with context.db.write() as session:
        sessions.touch_api_token(session, token)
        used = session.scalars(select(ApiToken.last_used_at)).one()
    assert used is not None
    assert f"{used:%Y-%m-%d}" in printed("token", "list")
    assert json.loads(printed("token", "list", "--json"))[0]["last_used_at"] == used.isoformat()
    printed("token", "revoke", row["id"])
    assert json.loads(printed("token", "list", "--json")) == []


@pytest.mark.parametrize("command", ["invite", "user", "token", "user disable", "token create"])
def test_help_teaches(command: str) -> None:
    assert "Usage" in printed(*command.split(), "--help")
