"""People, the links that invite them, and what they agreed to.

Reads and writes users, invites, consents; reads the titles of campaigns. Secrets are returned once and stored as hashes.
"""

import secrets
from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import column, insert, or_, select, table, update
from sqlalchemy.exc import IntegrityError

from pixmo import audit, clock
from pixmo.accounts import consent, schemas, sessions
from pixmo.accounts.models import ApiToken, Consent, Invite, Role, User
from pixmo.accounts.sessions import digest
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import Conflict, Gone, NotFound, Unprocessable
from pixmo.settings import Settings

INVITES_SHOWN = 500

# Campaigns come later on the road than people, so that only their table is known here.
_campaigns = table("campaigns", column("name"), column("title"))


class InviteUnknown(NotFound):
    code = "invite_unknown"


class InviteUsed(Gone):
    code = "invite_used"


class InviteExpired(Gone):
    code = "invite_expired"


class NameNeeded(Unprocessable):
    code = "name_needed"


class PasswordNeeded(Unprocessable):
    code = "password_needed"


class EmailMissing(Unprocessable):
    code = "email_missing"


class EmailTaken(Conflict):
    code = "email_taken"


class ConsentNeeded(Unprocessable):
    code = "consent_needed"


class PersonUnknown(NotFound):
    code = "person_unknown"


class PersonDisabled(Conflict):
    code = "person_disabled"


class CampaignUnknown(NotFound):
    code = "campaign_unknown"


def create_invite(
    session: WriteSession,
    *,
    days: int,
    role: Role = Role.annotator,
    display_name: str | None = None,
    campaign: str | None = None,
    user: User | None = None,
    actor_id: str | None = None,
) -> tuple[Invite, str]:
    """Make a link that signs one person in, once, within `days`; returns its row and, for the only time, its token.

    With `user` it signs in that person, who lost their cookie or password; `role` is then theirs.
    Raises `CampaignUnknown`, `PersonDisabled`.
    """
    if campaign is not None and campaign_title(session, campaign) is None:
        raise CampaignUnknown(f"There is no campaign {campaign!r}. Make it first, or leave it out.")
    if user is not None and user.disabled_at is not None:
        raise PersonDisabled(f"{user.display_name} is disabled. Undo that with: pixmo user enable {user.id}")
    token = secrets.token_urlsafe(32)
    invite = Invite(
        token_sha256=digest(token),
        role=user.role if user else role,
        display_name=user.display_name if user else display_name,
        campaign=campaign,
        user_id=user.id if user else None,
        created_by=actor_id,
        expires_at=clock.now() + timedelta(days=days),
    )
    session.add(invite)
    session.flush()
    audit.record(session, actor_id, "invite.created", "invite", invite.id, role=invite.role, user_id=invite.user_id)
    return invite, token


def address(settings: Settings) -> str:
    """Where people open pixmo, without a slash at the end."""
    host = settings.host
    if host in ("0.0.0.0", "::"):  # noqa: S104
        host = "localhost"
    elif ":" in host:
        host = f"[{host}]"
    return (settings.public_url or f"http://{host}:{settings.port}").rstrip("/")


def join_link(settings: Settings, token: str) -> str:
    """The address to send to a person. The token is in the fragment, which browsers keep out of requests and logs."""
    return f"{address(settings)}/join#{token}"


def find_invite(session: ReadSession | WriteSession, token: str) -> Invite:
    """The invite of a link that still works. Raises `InviteUnknown`, `InviteUsed`, `InviteExpired`."""
    invite = session.scalar(select(Invite).where(Invite.token_sha256 == digest(token)))
    if invite is None:
        raise InviteUnknown("This link is not complete or not from here. Copy the whole link from the message.")
    if invite.used_at is not None:
        raise InviteUsed("This link has been used. If it was you, sign in; if not, ask for a new link.")
    if invite.expires_at <= clock.now():
        raise InviteExpired("This link is too old. Ask for a new one.")
    return invite


def check_answer(session: ReadSession | WriteSession, answer: schemas.AcceptInvite) -> Invite:
    """The invite that `answer` may use.

    Raises what `find_invite` raises, `NameNeeded`, `PasswordNeeded`, `EmailMissing`, `ConsentNeeded`.
    """
    invite = find_invite(session, answer.token)
    if invite.user_id is not None:
        if answer.password and session.get_one(User, invite.user_id).email is None:
            raise EmailMissing("This account has no e-mail address to sign in with. Leave the password out.")
        return invite
    if not (answer.display_name or invite.display_name):
        raise NameNeeded("Give the name that the team knows you by.")
    if invite.role is not Role.annotator and not (answer.email and answer.password):
        raise PasswordNeeded(f"A person with the role {invite.role} needs an e-mail address and a password.")
    if answer.password and not answer.email:
        raise EmailMissing("A password works only together with an e-mail address: give both or neither.")
    if answer.consent_version != consent.VERSION:
        raise ConsentNeeded(
            "Read what you agree to and confirm it; the text may have changed since you opened the page."
        )
    return invite


def accept_invite(session: WriteSession, answer: schemas.AcceptInvite, password_hash: str | None) -> User:
    """Use a link up: make its person, or find the one it was made for.

    `password_hash` is of the password in `answer`. Of two people who use the same link at once, one gets `InviteUsed`.
    Raises what `check_answer` raises and `EmailTaken`.
    """
    invite = check_answer(session, answer)
    claimed = session.scalar(
        update(Invite)
        .where(Invite.id == invite.id, Invite.used_at.is_(None))
        .values(used_at=clock.now())
        .returning(Invite.id)
    )
    if claimed is None:
        raise InviteUsed("This link has just been used by somebody else. Ask for a new one.")
    if invite.user_id is not None:
        user = session.get_one(User, invite.user_id)
        if password_hash is not None:
            _set_password(session, user, password_hash)
    else:
        user = _create_user(session, invite, answer, password_hash)
        give_consent(session, user.id, consent.VERSION, answer.locale)
    user.locale = answer.locale
    invite.used_by = user.id
    audit.record(session, user.id, "invite.used", "invite", invite.id, user_id=user.id)
    return user


def _create_user(
    session: WriteSession, invite: Invite, answer: schemas.AcceptInvite, password_hash: str | None
) -> User:
    user = User(
        role=invite.role,
        display_name=answer.display_name or invite.display_name or "",
        email=answer.email,
        password_hash=password_hash,
        locale=answer.locale,
    )
    session.add(user)
    try:
        session.flush()
    except IntegrityError:
        raise EmailTaken("Somebody has this e-mail address already. Sign in, or give another one.") from None
    audit.record(session, user.id, "user.created", "user", user.id, role=user.role, invite_id=invite.id)
    if password_hash is not None:
        audit.record(session, user.id, "password.set", "user", user.id)
    return user


def _set_password(session: WriteSession, user: User, password_hash: str) -> None:
    """Give a person a new password and sign them out everywhere, whoever knew the old one."""
    user.password_hash = password_hash
    sessions.end_all(session, user.id)
    audit.record(session, user.id, "password.set", "user", user.id)


def invites(session: ReadSession) -> Sequence[Invite]:
    """The newest invites, newest first."""
    return session.scalars(select(Invite).order_by(Invite.id.desc()).limit(INVITES_SHOWN)).all()


def campaign_title(session: ReadSession | WriteSession, name: str) -> str | None:
    """The title of the campaign called `name`, or None if there is none."""
    title: str | None = session.scalar(select(_campaigns.c.title).where(_campaigns.c.name == name))
    return title


def has_consented(session: ReadSession | WriteSession, user_id: str) -> bool:
    """Whether a person agreed to the newest consent text. Nobody else may be recorded."""
    given = select(Consent.id).where(Consent.user_id == user_id, Consent.version == consent.VERSION).limit(1)
    return session.scalar(given) is not None


def give_consent(session: WriteSession, user_id: str, version: str, locale: str) -> None:
    """Write down that a person agreed to the consent text in the language of `locale`; once is enough.

    Raises `ConsentNeeded` if `version` is not the newest one.
    """
    text = consent.current(locale)
    if version != text.version:
        raise ConsentNeeded("The text has changed since you opened the page. Reload it and read the text again.")
    if has_consented(session, user_id):
        return
    session.execute(insert(Consent).values(user_id=user_id, version=text.version, text_sha256=text.sha256))
    audit.record(session, user_id, "consent.given", "user", user_id, version=text.version, language=text.language)


def change_person(session: WriteSession, user_id: str, change: schemas.ChangeMe) -> User:
    """Change what people may change about themselves; what is None stays."""
    user = session.get_one(User, user_id)
    user.locale = change.locale or user.locale
    user.display_name = change.display_name or user.display_name
    audit.record(session, user_id, "user.changed", "user", user_id, fields=sorted(change.model_dump(exclude_none=True)))
    return user


def people(session: ReadSession) -> Sequence[User]:
    """Everybody, in the order they came."""
    return session.scalars(select(User).order_by(User.id)).all()


def find_person(session: ReadSession | WriteSession, who: str) -> User:
    """The person with this id or e-mail address. Raises `PersonUnknown`."""
    user = session.scalar(select(User).where(or_(User.id == who, User.email == who.strip().lower())))
    if user is None:
        raise PersonUnknown(f"Nobody has the id or e-mail address {who!r}. See everybody with: pixmo user list")
    return user


def disable(session: WriteSession, user: User, actor_id: str | None = None) -> None:
    """Shut a person out at once: sessions, API tokens and links end. What they recorded stays."""
    now = clock.now()
    user.disabled_at = user.disabled_at or now
    sessions.end_all(session, user.id)
    session.execute(
        update(ApiToken).where(ApiToken.user_id == user.id, ApiToken.revoked_at.is_(None)).values(revoked_at=now)
    )
    session.execute(
        update(Invite)
        .where(Invite.user_id == user.id, Invite.used_at.is_(None), Invite.expires_at > now)
        .values(expires_at=now)
    )
    audit.record(session, actor_id, "user.disabled", "user", user.id)


def enable(session: WriteSession, user: User, actor_id: str | None = None) -> None:
    """Let a disabled person in again; they need a new link or their password."""
    user.disabled_at = None
    audit.record(session, actor_id, "user.enabled", "user", user.id)
