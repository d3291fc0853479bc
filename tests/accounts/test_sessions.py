from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from pixmo.accounts import passwords, sessions
from pixmo.accounts.models import ApiToken, AuditEvent, LoginFailure, LoginSession, Role, User
from pixmo.context import Context
from pixmo.errors import TooManyRequests
from tests.accounts.conftest import PASSWORD, Clock

EMAIL = "speaker@example.org"


@pytest.fixture
def user_id(context: Context) -> str:
    with context.db.write() as session:
        user = User(
            role=Role.annotator,
            display_name="Speaker",
            email=EMAIL,
            password_hash=passwords.hash_password(SecretStr(PASSWORD)),
        )
        session.add(user)
        session.flush()
        return user.id


def fail(context: Context, email: str = EMAIL, address: str = "192.0.2.1") -> None:
    with context.db.write() as session:
        sessions.begin_login(session, email, address)


def failures(context: Context) -> int:
    with context.db.read() as session:
        return session.scalar(select(func.count()).select_from(LoginFailure)) or 0


def test_an_attempt_knows_the_account(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        assert sessions.begin_login(session, EMAIL, "192.0.2.1").user_id == user_id
        stranger = sessions.begin_login(session, "nobody@example.org", "192.0.2.1")
        assert (stranger.user_id, stranger.password_hash) == (None, None)


def test_an_account_is_closed_after_ten_failures_for_a_quarter_of_an_hour(
    context: Context, user_id: str, time: Clock
) -> None:
    for _ in range(sessions.FAILURES_PER_ACCOUNT):
        fail(context)
        time.forward(minutes=1)
    with pytest.raises(TooManyRequests) as caught:
        fail(context, address="198.51.100.7")
    assert caught.value.extra["retry_after"] == 5 * 60
    fail(context, email="somebody-else@example.org")
    time.forward(minutes=5)
    fail(context)
    with pytest.raises(TooManyRequests):
        fail(context)


def test_attempts_while_closed_do_not_keep_it_closed(context: Context, time: Clock) -> None:
    for _ in range(sessions.FAILURES_PER_ACCOUNT):
        fail(context)
    for _ in range(14):
        time.forward(minutes=1)
        with pytest.raises(TooManyRequests):
            fail(context)
    time.forward(minutes=1)
    fail(context)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8::1", "2001:db8::ffff:2", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("testclient", "testclient", True),
        ("", "unix:", False),
    ],
)
def test_an_address_is_closed_after_a_hundred_failures(
    context: Context, monkeypatch: pytest.MonkeyPatch, one: str, other: str, same: bool
) -> None:
    monkeypatch.setattr(sessions, "FAILURES_PER_ADDRESS", 3)
    for number in range(3):
        fail(context, f"guess-{number}@example.org", one)
    if same:
        with pytest.raises(TooManyRequests):
            fail(context, "guess@example.org", other)
    else:
        fail(context, "guess@example.org", other)


def test_attempts_at_the_same_time_are_all_counted(context: Context, user_id: str) -> None:
    def attempt(_: int) -> bool:
        try:
            fail(context)
        except TooManyRequests:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, range(40))) == sessions.FAILURES_PER_ACCOUNT


def test_success_forgives_the_account_but_not_the_address(context: Context, user_id: str) -> None:
    fail(context, "guess@example.org")
    fail(context)
    assert failures(context) == 4
    with context.db.write() as session:
        attempt = sessions.begin_login(session, EMAIL, "192.0.2.1")
        assert sessions.finish_login(session, attempt, renewed_hash=None) == user_id
    with context.db.read() as session:
        left = session.scalars(select(LoginFailure.key)).all()
    assert sorted(key.partition(":")[0] for key in left) == ["account", "address", "address"]


def test_old_failures_are_removed(context: Context, time: Clock) -> None:
    fail(context)
    time.forward(minutes=15)
    fail(context, "other@example.org")
    assert failures(context) == 2


def test_a_password_changed_meanwhile_does_not_sign_in(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        attempt = sessions.begin_login(session, EMAIL, "192.0.2.1")
    with context.db.write() as session:
        session.get_one(User, user_id).password_hash = "another"
    with context.db.write() as session, pytest.raises(sessions.WrongCredentials):
        sessions.finish_login(session, attempt, renewed_hash=None)


def test_a_renewed_hash_is_stored(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        attempt = sessions.begin_login(session, EMAIL, "192.0.2.1")
        sessions.finish_login(session, attempt, renewed_hash="stronger")
    with context.db.read() as session:
        assert session.get_one(User, user_id).password_hash == "stronger"


def test_signing_out_everywhere_leaves_others_alone(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        other = User(role=Role.annotator, display_name="Listener")
        session.add(other)
        session.flush()
        mine = [sessions.start(session, user_id, 1) for _ in range(2)]
        theirs = sessions.start(session, other.id, 1)
        sessions.end_all(session, user_id)
    with context.db.reader.connect() as connection:
        assert [sessions.find_session(connection, token) for token in mine] == [None, None]
        assert sessions.find_session(connection, theirs) is not None


def test_signing_out_twice_is_written_down_once(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        token = sessions.start(session, user_id, 1)
        sessions.end(session, token)
        sessions.end(session, token)
        sessions.end(session, "guess")
    with context.db.read() as session:
        assert session.scalars(select(AuditEvent.action)).all() == ["user.signed_out"]


def test_tokens_are_random_and_stored_as_hashes(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        tokens = {sessions.start(session, user_id, 1) for _ in range(20)}
        row, api_token = sessions.create_api_token(session, user_id, "script")
    assert len(tokens) == 20
    assert all(len(token) == 43 for token in tokens)
    assert api_token.startswith("pixmo_")
    with context.db.read() as session:
        stored = set(session.scalars(select(LoginSession.token_sha256)))
        assert stored == {sessions.digest(token) for token in tokens}
        assert session.get_one(ApiToken, row.id).token_sha256 == sessions.digest(api_token)


def test_api_tokens_are_listed_until_revoked(context: Context, user_id: str) -> None:
    with context.db.write() as session:
        row, token = sessions.create_api_token(session, user_id, "script")
        kept, _ = sessions.create_api_token(session, user_id, "other")
        assert [(t.name, owner) for t, owner in sessions.api_tokens(session)] == [
            ("script", "Speaker"),
            ("other", "Speaker"),
        ]
        sessions.revoke_api_token(session, row.id)
    with context.db.read() as session:
        assert [t.id for t, _ in sessions.api_tokens(session)] == [kept.id]
    with context.db.reader.connect() as connection:
        assert sessions.find_api_token(connection, token) is None
    with context.db.write() as session, pytest.raises(sessions.TokenUnknown):
        sessions.revoke_api_token(session, row.id)
