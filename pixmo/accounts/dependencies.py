"""Who sent the request, as route parameters: `person: SignedIn`, `person: Reviewer`, `person: Admin`."""

from typing import Annotated

from fastapi import Depends
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from pixmo.accounts import sessions
from pixmo.accounts.models import Role
from pixmo.accounts.sessions import Person
from pixmo.dependencies import ContextDep
from pixmo.errors import Forbidden, NotSignedIn

__all__ = ["COOKIE", "Admin", "Person", "Reviewer", "SessionCookie", "SignedIn"]

COOKIE = "pixmo_session"

SessionCookie = Annotated[str | None, Depends(APIKeyCookie(name=COOKIE, auto_error=False))]
BearerToken = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]

_RANK = {role: rank for rank, role in enumerate(Role)}


def signed_in(context: ContextDep, bearer: BearerToken, cookie: SessionCookie) -> Person:
    """Who sent the request, by bearer token, else by cookie. Raises `NotSignedIn`."""
    if bearer:
        token, find, touch = bearer.credentials, sessions.find_api_token, sessions.touch_api_token
    elif cookie:
        token, find, touch = cookie, sessions.find_session, sessions.touch_session
    else:
        raise NotSignedIn("Sign in, or open the link that you were sent.")
    with context.db.reader.connect() as connection:
        found = find(connection, token)
    if found is None:
        raise NotSignedIn("Your sign-in has ended. Sign in again, or ask an admin for a new link.")
    if found.stale:
        with context.db.write() as session:
            touch(session, token)
    return found.person


SignedIn = Annotated[Person, Depends(signed_in)]


def _require(person: Person, role: Role) -> Person:
    if _RANK[person.role] < _RANK[role]:
        raise Forbidden(f"This needs the role {role}; yours is {person.role}. Ask an admin.")
    return person


# These two are coroutines to save a trip through the thread pool.
async def reviewer(person: SignedIn) -> Person:
    """A reviewer or an admin. Raises `Forbidden`."""
    return _require(person, Role.reviewer)


async def admin(person: SignedIn) -> Person:
    """An admin. Raises `Forbidden`."""
    return _require(person, Role.admin)


Reviewer = Annotated[Person, Depends(reviewer)]
Admin = Annotated[Person, Depends(admin)]
