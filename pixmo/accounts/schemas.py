"""People and invites as the API takes and shows them."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints

from pixmo.accounts.models import Role
from pixmo.accounts.passwords import MAXIMUM_LENGTH, MINIMUM_LENGTH

# Text with at least one character to see and no control characters.
DisplayName = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=1,
        max_length=80,
        pattern=r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
    ),
]
# The pattern of <input type="email"> (WHATWG HTML, "valid email address"), so that page and server agree.
Email = Annotated[
    str,
    StringConstraints(
        to_lower=True,
        max_length=254,
        pattern=r"^[a-zA-Z0-9.!#$%&'*+/=?^_`{|}~-]+@[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
        r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*$",
    ),
]
Locale = Annotated[str, StringConstraints(max_length=16, pattern=r"^[A-Za-z]{2,3}(?:-[A-Za-z0-9]{1,8})*$")]
Password = Annotated[SecretStr, Field(min_length=MINIMUM_LENGTH, max_length=MAXIMUM_LENGTH)]
InviteToken = Annotated[str, StringConstraints(min_length=1, max_length=128)]
ConsentVersion = Annotated[str, StringConstraints(max_length=16)]
CampaignName = Annotated[str, StringConstraints(min_length=1, max_length=64)]


class RequestBody(BaseModel):
    """A body that names only what the route knows: a misspelt field is an error, not silence."""

    model_config = ConfigDict(extra="forbid")


class InspectInvite(RequestBody):
    token: InviteToken


class AcceptInvite(RequestBody):
    """The answers of the join page. A known person's link needs only `token` and `locale`."""

    token: InviteToken
    locale: Locale
    display_name: DisplayName | None = None
    email: Email | None = None
    password: Password | None = None
    consent_version: ConsentVersion | None = None


class Login(RequestBody):
    email: Email
    password: Annotated[SecretStr, Field(max_length=MAXIMUM_LENGTH)]


class ChangeMe(RequestBody):
    locale: Locale | None = None
    display_name: DisplayName | None = None


class GiveConsent(RequestBody):
    version: ConsentVersion


class CreateInvite(RequestBody):
    """`days` until the link ends; by default what the settings say."""

    role: Role
    display_name: DisplayName | None = None
    campaign: CampaignName | None = None
    days: int | None = Field(None, ge=1, le=365)


class User(BaseModel):
    id: str
    display_name: str
    email: str | None
    role: Role
    locale: str


class Consent(BaseModel):
    """The newest consent text, and whether this person agreed to it."""

    version: str
    text: str
    given: bool


class Me(BaseModel):
    user: User
    consent: Consent


class ConsentOffer(BaseModel):
    version: str
    text: str


class InviteCampaign(BaseModel):
    name: str
    title: str


class InviteDetails(BaseModel):
    """What the holder of a link may know before signing in. `existing`: the link belongs to a known person."""

    role: Role
    display_name: str | None
    campaign: InviteCampaign | None
    expires_at: datetime
    existing: bool
    consent: ConsentOffer


class Invite(BaseModel):
    id: str
    role: Role
    display_name: str | None
    campaign: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class InviteLink(BaseModel):
    link: str
    expires_at: datetime
