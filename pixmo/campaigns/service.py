"""Campaigns: make them, list them, change what may be changed."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select

from pixmo import audit
from pixmo.campaigns.models import Campaign, CampaignKind, CampaignStatus
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import Conflict, NotFound, Unprocessable

# The seven questions that PixMo's annotators spoke to, word for word.
GUIDING_QUESTIONS = (
    "What is the image at first glance?",
    "What are the objects and their counts?",
    "What does the text say?",
    "What are the positions of the objects?",
    "What subtle details are noticeable?",
    "What is in the background?",
    "What is the style and color?",
)
INSTRUCTIONS = (
    "Look at the image and describe it aloud, as if to somebody who cannot see it. Speak freely, in whole sentences; "
    "the questions are a guide, not a form.\n\n"
    "Say what you see, not what you guess. Count what can be counted, read out what is written, say where things are. "
    "Pauses are fine: only the time in which you speak counts."
)
NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


class NoSuchCampaign(NotFound):
    code = "campaign_unknown"


class NameTaken(Conflict):
    code = "campaign_exists"


@dataclass(frozen=True)
class CampaignDraft:
    """What a new campaign is made from. Times are seconds; None takes the default that PixMo reports."""

    name: str
    title: str | None = None
    instructions: str = INSTRUCTIONS
    questions: Sequence[str] = GUIDING_QUESTIONS
    language: str = "en"
    overlap: int = 1
    min_voiced_seconds: float | None = None
    max_seconds: float = 600
    min_words: int = 20


def create(session: WriteSession, draft: CampaignDraft, actor_id: str | None = None) -> Campaign:
    """Make a describe campaign.

    The minimum of voiced seconds is 60, or 90 when only one person describes each image, as PixMo had it.
    Raises `Unprocessable` for values that cannot work, `NameTaken` for a name in use.
    """
    if not NAME.fullmatch(draft.name):
        raise Unprocessable("A campaign's name is 1 to 64 lower-case letters, digits and hyphens.", code="bad_name")
    if not 1 <= draft.overlap <= 20:
        raise Unprocessable("Overlap, the number of people per image, is 1 to 20.", code="bad_overlap")
    minimum = draft.min_voiced_seconds
    if minimum is None:
        minimum = 90 if draft.overlap == 1 else 60
    if not 0 <= minimum <= draft.max_seconds <= 3600:
        raise Unprocessable(
            "The minimum of voiced seconds must be at least 0 and at most the longest take, itself at most 3600 s.",
            code="bad_seconds",
        )
    if not draft.questions:
        raise Unprocessable("A campaign needs at least one question.", code="no_questions")
    if not re.fullmatch(r"[a-z]{2,3}(-[a-z0-9]{2,4})?", draft.language):
        raise Unprocessable("The language is a code such as en, de or pt-br.", code="bad_language")
    if session.scalar(select(Campaign.id).where(Campaign.name == draft.name)) is not None:
        raise NameTaken(f"There is a campaign {draft.name} already. Choose another name.")
    campaign = Campaign(
        name=draft.name,
        kind=CampaignKind.describe,
        title=draft.title or draft.name.replace("-", " ").capitalize(),
        instructions=draft.instructions,
        questions=_numbered(draft.questions),
        language=draft.language,
        overlap=draft.overlap,
        min_voiced_seconds=minimum,
        max_seconds=draft.max_seconds,
        min_words=draft.min_words,
    )
    session.add(campaign)
    session.flush()
    audit.record(session, actor_id, "campaign.created", "campaign", campaign.id, name=campaign.name)
    return campaign


def by_name(session: ReadSession | WriteSession, name: str) -> Campaign:
    """The campaign called `name`. Raises `NoSuchCampaign`."""
    campaign = session.scalar(select(Campaign).where(Campaign.name == name))
    if campaign is None:
        names = session.scalars(select(Campaign.name).order_by(Campaign.name)).all()
        known = f" There are: {', '.join(names)}." if names else " Make one with: pixmo campaign create NAME"
        raise NoSuchCampaign(f"There is no campaign {name!r}.{known}")
    return campaign


def all_campaigns(session: ReadSession | WriteSession) -> Sequence[Campaign]:
    """Every campaign, open ones first, then by age."""
    order = case({CampaignStatus.active: 0, CampaignStatus.paused: 1}, value=Campaign.status, else_=2)
    return session.scalars(select(Campaign).order_by(order, Campaign.created_at)).all()


def edit(
    session: WriteSession,
    name: str,
    *,
    title: str | None = None,
    instructions: str | None = None,
    questions: Sequence[str] | None = None,
    min_voiced_seconds: float | None = None,
    min_words: int | None = None,
    actor_id: str | None = None,
) -> Campaign:
    """Change what is given; the audit trail keeps what it was. Takes that are under way meet the new minimum.

    Raises `NoSuchCampaign`, and `Unprocessable` for values that cannot work.
    """
    campaign = by_name(session, name)
    if min_voiced_seconds is not None and not 0 <= min_voiced_seconds <= campaign.max_seconds:
        raise Unprocessable(f"The minimum of voiced seconds is 0 to {campaign.max_seconds:.0f}.", code="bad_seconds")
    if questions is not None and not questions:
        raise Unprocessable("A campaign needs at least one question.", code="no_questions")
    wanted = {
        "title": title,
        "instructions": instructions,
        "questions": None if questions is None else _numbered(questions),
        "min_voiced_seconds": min_voiced_seconds,
        "min_words": min_words,
    }
    changed = {key: value for key, value in wanted.items() if value is not None and value != getattr(campaign, key)}
    if changed:
        before = {key: getattr(campaign, key) for key in changed}
        for key, value in changed.items():
            setattr(campaign, key, value)
        audit.record(session, actor_id, "campaign.edited", "campaign", campaign.id, before=before)
    return campaign


def _numbered(questions: Sequence[str]) -> list[dict[str, Any]]:
    return [{"id": f"q{number}", "text": text} for number, text in enumerate(questions, start=1)]


def set_status(session: WriteSession, name: str, status: CampaignStatus, actor_id: str | None = None) -> Campaign:
    """Pause, resume or close a campaign. What people hold already may still be submitted."""
    campaign = by_name(session, name)
    if campaign.status is not status:
        campaign.status = status
        audit.record(session, actor_id, f"campaign.{status.value}", "campaign", campaign.id)
    return campaign


def count(session: ReadSession | WriteSession) -> int:
    return session.scalar(select(func.count()).select_from(Campaign)) or 0
