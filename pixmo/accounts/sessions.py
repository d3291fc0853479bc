"""How a request proves who sent it: sign-in by password, browser sessions, API tokens.

Reads users; writes login_sessions, api_tokens, login_failures. A token is 256 random bits; only its SHA-256 is stored.
"""

import hashlib
import ipaddress
import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, or_, select, update

from pixmo import audit, clock
from pixmo.accounts.models import ApiToken, LoginFailure, LoginSession, Role, User
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import NotFound, NotSignedIn, TooManyRequests

API_TOKEN_PREFIX = "pixmo_"  # noqa: S105
SEEN_INTERVAL = timedelta(minutes=5)
"""How exactly "last seen" is known: a finer answer would cost a write per request."""

FAILURE_WINDOW = timedelta(minutes=15)
FAILURES_PER_ACCOUNT = 10
FAILURES_PER_ADDRESS = 100
"""More than per account, because a whole team may share one address."""


class WrongCredentials(NotSignedIn):
    code = "wrong_credentials"

    def __init__(self) -> None:
        super().__init__("The e-mail address or the password is wrong.")


class TokenUnknown(NotFound):
    code = "token_unknown"


@dataclass(frozen=True, slots=True)
class Person:
    """Who sent the request."""

    id: str
    display_name: str
    email: str | None
    role: Role
    locale: str


@dataclass(frozen=True, slots=True)
class Found:
    """The owner of a token. `stale`: its "last seen" is old enough to be written again."""

    person: Person
    stale: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try to sign in, counted as a failure until `finish_login` takes it back."""

    user_id: str | None
    password_hash: str | None
    failure_id: int
    account_key: str


def digest(token: str) -> str:
    """What is stored of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


# Both statements are built once: they run with every request.
_PERSON = (User.id, User.display_name, User.email, User.role, User.locale)
_BY_COOKIE = (
    select(*_PERSON, LoginSession.last_seen_at)
    .join(LoginSession, LoginSession.user_id == User.id)
    .where(
        LoginSession.token_sha256 == bindparam("sha256"),
        LoginSession.revoked_at.is_(None),
        LoginSession.expires_at > bindparam("now"),
        User.disabled_at.is_(None),
    )
)
_BY_API_TOKEN = (
    select(*_PERSON, ApiToken.last_used_at)
    .join(ApiToken, ApiToken.user_id == User.id)
    .where(
        ApiToken.token_sha256 == bindparam("sha256"),
        ApiToken.revoked_at.is_(None),
        User.disabled_at.is_(None),
    )
)


# A bare connection here, since a session would double the price of what runs with every request.
def find_session(connection: Connection, token: str) -> Found | None:
    """Whose browser sent this cookie, in one statement; None if it is not or no longer good."""
    now = clock.now()
    return _found(connection.execute(_BY_COOKIE, {"sha256": digest(token), "now": now}).one_or_none(), now)


def find_api_token(connection: Connection, token: str) -> Found | None:
    """Whose script sent this bearer token, in one statement; None if it is not or no longer good."""
    return _found(connection.execute(_BY_API_TOKEN, {"sha256": digest(token)}).one_or_none(), clock.now())


def _found(row: Row[str, str, str | None, Role, str, Any] | None, now: datetime) -> Found | None:
    if row is None:
        return None
    user_id, display_name, email, role, locale, seen_at = row
    stale = seen_at is None or now - seen_at > SEEN_INTERVAL
    return Found(Person(user_id, display_name, email, role, locale), stale)


def touch_session(session: WriteSession, token: str) -> None:
    """Write down that a browser is in use."""
    session.execute(
        update(LoginSession).where(LoginSession.token_sha256 == digest(token)).values(last_seen_at=clock.now())
    )


def touch_api_token(session: WriteSession, token: str) -> None:
    """Write down that an API token is in use."""
    session.execute(update(ApiToken).where(ApiToken.token_sha256 == digest(token)).values(last_used_at=clock.now()))


def start(session: WriteSession, user_id: str, days: int) -> str:
    """Sign a browser in for `days` and return the token for its cookie."""
    token = secrets.token_urlsafe(32)
    session.execute(
        insert(LoginSession).values(
            token_sha256=digest(token), user_id=user_id, expires_at=clock.now() + timedelta(days=days)
        )
    )
    return token


def end(session: WriteSession, token: str) -> None:
    """Sign a browser out. A token that is not or no longer good is no error: the wish is fulfilled."""
    user_id = session.scalar(
        update(LoginSession)
        .where(LoginSession.token_sha256 == digest(token), LoginSession.revoked_at.is_(None))
        .values(revoked_at=clock.now())
        .returning(LoginSession.user_id)
    )
    if user_id is not None:
        audit.record(session, user_id, "user.signed_out", "user", user_id)


def end_all(session: WriteSession, user_id: str) -> None:
    """Sign a person out everywhere."""
    session.execute(
        update(LoginSession)
        .where(LoginSession.user_id == user_id, LoginSession.revoked_at.is_(None))
        .values(revoked_at=clock.now())
    )


def _address_key(address: str) -> str:
    """One key for what one subscriber can send from: an IPv4 address or an IPv6 /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return f"address:{digest(address)}"
    if parsed.version == 6 and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    if parsed.version == 6:
        return f"address:{ipaddress.ip_network((parsed.packed, 64), strict=False)}"
    return f"address:{parsed}"


def begin_login(session: WriteSession, email: str, address: str) -> Attempt:
    """Count a try to sign in as `email` from the network address `address`, before its password is compared.

    Counted first, so that a thousand tries at the same time do not all pass the same check. Comparing takes long and
    belongs outside this transaction. Raises `TooManyRequests`.
    """
    now = clock.now()
    account_key = f"account:{digest(email)}"
    limits = {account_key: FAILURES_PER_ACCOUNT, _address_key(address): FAILURES_PER_ADDRESS}
    session.execute(delete(LoginFailure).where(LoginFailure.at <= now - FAILURE_WINDOW))
    counted = session.execute(
        select(LoginFailure.key, func.count(), func.min(LoginFailure.at))
        .where(LoginFailure.key.in_(limits))
        .group_by(LoginFailure.key)
    )
    waits = [oldest + FAILURE_WINDOW - now for key, count, oldest in counted if count >= limits[key]]
    if waits:
        seconds = max(1, math.ceil(max(waits).total_seconds()))
        raise TooManyRequests(
            f"Too many attempts to sign in. Try again in {math.ceil(seconds / 60)} min, or ask an admin for a new link.",
            retry_after=seconds,
        )
    failures = [LoginFailure(key=key, at=now) for key in limits]
    session.add_all(failures)
    session.flush()
    user = session.execute(
        select(User.id, User.password_hash).where(User.email == email, User.disabled_at.is_(None))
    ).one_or_none()
    user_id, password_hash = user or (None, None)
    return Attempt(user_id, password_hash, failures[1].id, account_key)


def finish_login(session: WriteSession, attempt: Attempt, *, renewed_hash: str | None) -> str:
    """Take back the failure of an attempt whose password was right; returns the user's id.

    Raises `WrongCredentials` if the account was disabled or got another password in the meantime.
    """
    user_id: str | None = session.scalar(
        update(User)
        .where(User.id == attempt.user_id, User.password_hash == attempt.password_hash, User.disabled_at.is_(None))
        .values(password_hash=renewed_hash or attempt.password_hash)
        .returning(User.id)
    )
    if user_id is None:
        raise WrongCredentials
    session.execute(
        delete(LoginFailure).where(or_(LoginFailure.id == attempt.failure_id, LoginFailure.key == attempt.account_key))
    )
    audit.record(session, user_id, "user.signed_in", "user", user_id)
    return user_id


def create_api_token(
    session: WriteSession, user_id: str, name: str, actor_id: str | None = None
) -> tuple[ApiToken, str]:
    """Make a token with which scripts act as a person; returns its row and, for the only time, the token itself."""
    token = API_TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = ApiToken(token_sha256=digest(token), user_id=user_id, name=name)
    session.add(row)
    session.flush()
    audit.record(session, actor_id, "token.created", "token", row.id, user_id=user_id, name=name)
    return row, token


def api_tokens(session: ReadSession | WriteSession) -> Sequence[tuple[ApiToken, str]]:
    """Every token that is not revoked with its owner's name, oldest first."""
    rows = session.execute(
        select(ApiToken, User.display_name)
        .join(User, User.id == ApiToken.user_id)
        .where(ApiToken.revoked_at.is_(None))
        .order_by(ApiToken.created_at)
    )
    return [(token, owner) for token, owner in rows]


def revoke_api_token(session: WriteSession, token_id: str, actor_id: str | None = None) -> None:
    """End a token at once. Raises `TokenUnknown`."""
    revoked = session.scalar(
        update(ApiToken)
        .where(ApiToken.id == token_id, ApiToken.revoked_at.is_(None))
        .values(revoked_at=clock.now())
        .returning(ApiToken.id)
    )
    if revoked is None:
        raise TokenUnknown(f"There is no token {token_id}. See them with: pixmo token list")
    audit.record(session, actor_id, "token.revoked", "token", token_id)
