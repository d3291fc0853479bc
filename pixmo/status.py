"""How the store stands: what `pixmo status` prints and the admin page shows."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from pixmo import audit
from pixmo.accounts.dependencies import Admin, Reviewer
from pixmo.accounts.models import LoginSession, User
from pixmo.campaigns import service as campaigns
from pixmo.campaigns.models import CampaignStatus
from pixmo.captions.models import Caption, CaptionMethod
from pixmo.captions.service import latest_captions
from pixmo.context import Context
from pixmo.database import ReadSession
from pixmo.dependencies import ContextDep, JobsDep
from pixmo.describe.service import CAPTION
from pixmo.images.models import Image
from pixmo.images.service import image_url
from pixmo.jobs import JobState, WorkerProcess, dead_workers, job_counts
from pixmo.recordings.models import Recording, RecordingState
from pixmo.recordings.service import TRANSCRIBE
from pixmo.tasks import service as tasks
from pixmo.tasks.models import Slot, SlotState, Task
from pixmo.tasks.schemas import Thumbnail

router = APIRouter(prefix="/api/admin", tags=["admin"])
JOBS = (TRANSCRIBE, CAPTION)


class CampaignProgress(BaseModel):
    name: str
    title: str
    status: CampaignStatus
    total: int
    done: int
    in_progress: int
    open: int


class JobNumbers(BaseModel):
    queued: int = 0
    running: int = 0
    retrying: int = 0
    done: int = 0
    parked: int = 0


class ParkedJob(BaseModel):
    """A job that was given up. `subject_id` is a recording for `transcribe`, a task for `caption`."""

    job: str
    subject_id: str
    recording_id: str | None
    attempts: int
    reason: str | None
    at: datetime


class WorkerView(BaseModel):
    id: str
    host: str
    pid: int
    note: str | None
    started_at: datetime
    heartbeat_at: datetime
    alive: bool


class AnnotatorView(BaseModel):
    id: str
    display_name: str
    role: str
    submitted: int
    voiced_seconds: float
    last_seen_at: datetime | None


class Totals(BaseModel):
    images: int
    recordings: int
    voiced_seconds: float
    captions: int


class Status(BaseModel):
    campaigns: list[CampaignProgress]
    jobs: dict[str, JobNumbers]
    parked: list[ParkedJob]
    workers: list[WorkerView]
    annotators: list[AnnotatorView]
    totals: Totals


class RetryRequest(BaseModel):
    job: Literal["transcribe", "caption"]
    subject_id: Annotated[str, Field(max_length=36)]


class CaptionView(BaseModel):
    task_id: str
    image: Thumbnail
    text: str
    method: CaptionMethod
    flags: list[dict[str, Any]]
    revision: int
    created_at: datetime
    recording_ids: list[str]


def read(context: Context) -> Status:
    """The present state of the store, in one snapshot."""
    with context.db.read() as session:
        counts = job_counts(session)
        return Status(
            campaigns=_campaigns(session),
            jobs={job: JobNumbers(**counts.get(job, {})) for job in JOBS},
            parked=_parked(session),
            workers=_workers(context, session),
            annotators=_annotators(session),
            totals=Totals(
                images=_count(session, Image),
                recordings=_count(session, Recording),
                voiced_seconds=round(session.scalar(select(func.coalesce(func.sum(Recording.voiced), 0.0))) or 0.0, 1),
                captions=session.scalar(select(func.count(Caption.task_id.distinct()))) or 0,
            ),
        )


def _count(session: ReadSession, table: type[Image] | type[Recording]) -> int:
    return session.scalar(select(func.count()).select_from(table)) or 0


def _campaigns(session: ReadSession) -> list[CampaignProgress]:
    rows = []
    for campaign in campaigns.all_campaigns(session):
        progress = tasks.progress(session, campaign.id)
        rows.append(
            CampaignProgress(
                name=campaign.name, title=campaign.title, status=campaign.status, total=progress.total,
                done=progress.done, in_progress=progress.in_progress, open=progress.open,
            )
        )  # fmt: skip
    return rows


def _parked(session: ReadSession) -> list[ParkedJob]:
    states = session.scalars(
        select(JobState).where(JobState.state == "parked").order_by(JobState.updated_at.desc()).limit(200)
    )
    return [
        ParkedJob(
            job=state.job, subject_id=state.subject_id, attempts=state.attempts, reason=state.reason,
            recording_id=state.subject_id if state.job == TRANSCRIBE else None, at=state.updated_at,
        )
        for state in states
    ]  # fmt: skip


def _workers(context: Context, session: ReadSession) -> list[WorkerView]:
    dead = set(dead_workers(context))
    rows = session.scalars(
        select(WorkerProcess).where(WorkerProcess.stopped_at.is_(None)).order_by(WorkerProcess.started_at)
    )
    return [
        WorkerView(
            id=row.id, host=row.host, pid=row.pid, note=row.note, started_at=row.started_at,
            heartbeat_at=row.heartbeat_at, alive=row.id not in dead,
        )
        for row in rows
    ]  # fmt: skip


def _annotators(session: ReadSession) -> list[AnnotatorView]:
    seen = (
        select(LoginSession.user_id, func.max(LoginSession.last_seen_at).label("at"))
        .group_by(LoginSession.user_id)
        .subquery()
    )
    submitted = (
        select(Slot.user_id, func.count().label("number"))
        .where(Slot.state == SlotState.submitted)
        .group_by(Slot.user_id)
        .subquery()
    )
    spoken = (
        select(Recording.user_id, func.sum(Recording.voiced).label("seconds"))
        .where(Recording.state == RecordingState.finished)
        .group_by(Recording.user_id)
        .subquery()
    )
    rows = session.execute(
        select(User, submitted.c.number, spoken.c.seconds, seen.c.at)
        .outerjoin(submitted, submitted.c.user_id == User.id)
        .outerjoin(spoken, spoken.c.user_id == User.id)
        .outerjoin(seen, seen.c.user_id == User.id)
        .order_by(func.coalesce(submitted.c.number, 0).desc(), User.created_at)
        .limit(500)
    )
    return [
        AnnotatorView(
            id=user.id, display_name=user.display_name, role=user.role.value, submitted=number or 0,
            voiced_seconds=round(seconds or 0.0, 1), last_seen_at=at,
        )
        for user, number, seconds, at in rows
    ]  # fmt: skip


@router.get("/status")
def get_status(context: ContextDep, _: Reviewer) -> Status:
    """Progress, jobs, workers and people."""
    return read(context)


@router.post("/jobs/retry", status_code=204)
def retry_job(jobs: JobsDep, context: ContextDep, person: Admin, body: RetryRequest) -> None:
    """Start a parked job again."""
    with context.db.write() as session:
        jobs.retry(session, body.job, body.subject_id)
        audit.record(session, person.id, "job.retried", body.job, body.subject_id)


@router.get("/captions")
def get_captions(
    context: ContextDep, _: Reviewer, limit: Annotated[int, Query(ge=1, le=500)] = 50
) -> list[CaptionView]:
    """The newest captions, with what the faithfulness check says of them."""
    with context.db.read() as session:
        views = []
        for caption, recording_ids in latest_captions(session, limit):
            thumb = session.scalars(
                select(Image.thumb_sha256).join(Task, Task.image_id == Image.id).where(Task.id == caption.task_id)
            ).one()
            views.append(
                CaptionView(
                    task_id=caption.task_id, image=Thumbnail(thumb_url=image_url(thumb)), text=caption.text,
                    method=caption.method, flags=caption.flags, revision=caption.revision,
                    created_at=caption.created_at, recording_ids=recording_ids,
                )
            )  # fmt: skip
        return views
