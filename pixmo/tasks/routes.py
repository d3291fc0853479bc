"""Campaigns as an annotator sees them, and what is common to every kind of assignment."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path

from pixmo.accounts.dependencies import SignedIn
from pixmo.campaigns import service as campaigns
from pixmo.campaigns.models import Campaign
from pixmo.campaigns.schemas import CampaignDetail, CampaignSummary, Question
from pixmo.database import ReadSession
from pixmo.dependencies import ContextDep
from pixmo.tasks import service
from pixmo.tasks.schemas import HeartbeatReply, HeartbeatRequest, SkipRequest, StateReply, Uuid

router = APIRouter(prefix="/api", tags=["tasks"])
CampaignName = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9-]+$")]
AssignmentId = Annotated[Uuid, Path()]


def _summary(session: ReadSession, campaign: Campaign, person: str) -> CampaignSummary:
    progress = service.progress(session, campaign.id, person)
    return CampaignSummary(
        id=campaign.id,
        name=campaign.name,
        title=campaign.title,
        kind=campaign.kind,
        language=campaign.language,
        status=campaign.status,
        total=progress.total,
        done=progress.done,
        remaining_for_me=progress.remaining_for_me,
        done_by_me=progress.done_by_me,
    )


@router.get("/campaigns")
def list_campaigns(context: ContextDep, person: SignedIn) -> list[CampaignSummary]:
    """Every campaign, with what is left in it for the person who asks."""
    with context.db.read() as session:
        return [_summary(session, campaign, person.id) for campaign in campaigns.all_campaigns(session)]


@router.get("/campaigns/{name}")
def get_campaign(context: ContextDep, person: SignedIn, name: CampaignName) -> CampaignDetail:
    """One campaign with its instructions and questions."""
    with context.db.read() as session:
        campaign = campaigns.by_name(session, name)
        return CampaignDetail(
            **_summary(session, campaign, person.id).model_dump(),
            instructions=campaign.instructions,
            questions=[Question(**question) for question in campaign.questions],
            overlap=campaign.overlap,
            min_voiced_seconds=campaign.min_voiced_seconds,
            max_seconds=campaign.max_seconds,
            min_words=campaign.min_words,
        )


@router.post("/assignments/{assignment_id}/heartbeat")
def heartbeat(
    context: ContextDep, person: SignedIn, assignment_id: AssignmentId, body: HeartbeatRequest
) -> HeartbeatReply:
    """Keep an assignment: its lease ends a full term from now."""
    lease = timedelta(minutes=context.settings.lease_minutes)
    with context.db.write() as session:
        return HeartbeatReply(expires_at=service.extend(session, assignment_id, person.id, body.fence, lease))


@router.post("/assignments/{assignment_id}/skip")
def skip(context: ContextDep, person: SignedIn, assignment_id: AssignmentId, body: SkipRequest) -> StateReply:
    """Give an assignment back with a reason."""
    with context.db.write() as session:
        service.skip(session, assignment_id, person.id, body.fence, body.reason, body.note)
    return StateReply(state="skipped")
