"""Joining by link, signing in and out, one's own account, and the invites of the admin page."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from pixmo.accounts import consent, passwords, schemas, service, sessions
from pixmo.accounts.dependencies import COOKIE, Admin, Reviewer, SessionCookie, SignedIn
from pixmo.accounts.models import User
from pixmo.accounts.sessions import Person
from pixmo.context import Context
from pixmo.database import ReadSession, WriteSession
from pixmo.dependencies import ContextDep

router = APIRouter(prefix="/api", tags=["accounts"])

AcceptLanguage = Annotated[str, Header(description="The language of the page, in which the consent text is shown.")]


def _me(session: ReadSession | WriteSession, who: Person | User) -> schemas.Me:
    text = consent.current(who.locale)
    return schemas.Me(
        user=schemas.User(id=who.id, display_name=who.display_name, email=who.email, role=who.role, locale=who.locale),
        consent=schemas.Consent(version=text.version, text=text.text, given=service.has_consented(session, who.id)),
    )


def _set_cookie(context: Context, request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        COOKIE,
        token,
        max_age=context.settings.session_days * 86_400,
        httponly=True,
        samesite="lax",
        secure=_is_https(context, request),
    )


def _is_https(context: Context, request: Request) -> bool:
    return request.url.scheme == "https" or (context.settings.public_url or "").startswith("https:")


@router.get("/me")
def me(person: SignedIn, context: ContextDep) -> schemas.Me:
    """The signed-in person, and whether they agreed to the newest consent text."""
    with context.db.read() as session:
        return _me(session, person)


@router.patch("/me")
def change_me(body: schemas.ChangeMe, person: SignedIn, context: ContextDep) -> schemas.Me:
    """Change one's language or name."""
    with context.db.write() as session:
        return _me(session, service.change_person(session, person.id, body))


@router.post("/me/consent")
def give_consent(body: schemas.GiveConsent, person: SignedIn, context: ContextDep) -> schemas.Me:
    """Agree to the newest consent text, in the language of one's account."""
    with context.db.write() as session:
        service.give_consent(session, person.id, body.version, person.locale)
        return _me(session, person)


@router.post("/invites/inspect")
def inspect_invite(
    body: schemas.InspectInvite, context: ContextDep, accept_language: AcceptLanguage = "en"
) -> schemas.InviteDetails:
    """What a link is for, and the consent text to read before accepting it."""
    text = consent.current(accept_language.partition(",")[0].partition(";")[0].strip())
    with context.db.read() as session:
        invite = service.find_invite(session, body.token)
        title = invite.campaign and service.campaign_title(session, invite.campaign)
        return schemas.InviteDetails(
            role=invite.role,
            display_name=invite.display_name,
            campaign=schemas.InviteCampaign(name=invite.campaign, title=title) if invite.campaign and title else None,
            expires_at=invite.expires_at,
            existing=invite.user_id is not None,
            consent=schemas.ConsentOffer(version=text.version, text=text.text),
        )


@router.post("/invites/accept", status_code=201)
def accept_invite(body: schemas.AcceptInvite, context: ContextDep, request: Request, response: Response) -> schemas.Me:
    """Use a link: become a person of the project, or be signed in as who one already is."""
    with context.db.read() as read_session:
        service.check_answer(read_session, body)
    # Hashing takes long by design, so that it must not hold the write connection.
    password_hash = passwords.hash_password(body.password) if body.password else None
    with context.db.write() as session:
        user = service.accept_invite(session, body, password_hash)
        token = sessions.start(session, user.id, context.settings.session_days)
        answer = _me(session, user)
    _set_cookie(context, request, response, token)
    return answer


@router.post("/login")
def login(body: schemas.Login, context: ContextDep, request: Request, response: Response) -> schemas.Me:
    """Sign in with e-mail address and password."""
    address = request.client.host if request.client else ""
    with context.db.write() as session:
        attempt = sessions.begin_login(session, body.email, address)
    matches, renewed_hash = passwords.verify(body.password, attempt.password_hash)
    if not matches:
        raise sessions.WrongCredentials
    with context.db.write() as session:
        user_id = sessions.finish_login(session, attempt, renewed_hash=renewed_hash)
        token = sessions.start(session, user_id, context.settings.session_days)
        answer = _me(session, session.get_one(User, user_id))
    _set_cookie(context, request, response, token)
    return answer


@router.post("/logout", status_code=204)
def logout(context: ContextDep, cookie: SessionCookie, request: Request) -> Response:
    """Sign this browser out."""
    if cookie:
        with context.db.write() as session:
            sessions.end(session, cookie)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=_is_https(context, request))
    return response


@router.get("/admin/invites")
def invites(_: Reviewer, context: ContextDep) -> list[schemas.Invite]:
    """The newest invites, newest first."""
    with context.db.read() as session:
        return [schemas.Invite.model_validate(row, from_attributes=True) for row in service.invites(session)]


@router.post("/admin/invites", status_code=201)
def create_invite(body: schemas.CreateInvite, person: Admin, context: ContextDep) -> schemas.InviteLink:
    """Make a link that signs one person in, once. It is shown here and nowhere else."""
    with context.db.write() as session:
        invite, token = service.create_invite(
            session,
            days=body.days or context.settings.invite_days,
            role=body.role,
            display_name=body.display_name,
            campaign=body.campaign,
            actor_id=person.id,
        )
    return schemas.InviteLink(link=service.join_link(context.settings, token), expires_at=invite.expires_at)
