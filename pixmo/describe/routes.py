"""What the describe page calls: the next image, the take, the submission, undo."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from sqlalchemy import select

from pixmo.accounts.dependencies import SignedIn
from pixmo.campaigns.models import Campaign
from pixmo.dependencies import ContextDep, JobsDep
from pixmo.describe import service
from pixmo.describe.schemas import AssignmentView, SubmitRequest, TakeView
from pixmo.images.models import Image
from pixmo.images.service import image_url
from pixmo.recordings import service as recordings
from pixmo.recordings.routes import RecordingId
from pixmo.recordings.schemas import FinishTake, StartTake
from pixmo.tasks import service as tasks
from pixmo.tasks.models import Task
from pixmo.tasks.routes import AssignmentId, CampaignName
from pixmo.tasks.schemas import LastSubmission, NextRequest, StateReply, Thumbnail

router = APIRouter(prefix="/api", tags=["describe"])


@router.post(
    "/campaigns/{name}/next", responses={204: {"description": "Nothing is left for you"}}, response_model=AssignmentView
)
def next_assignment(
    context: ContextDep, person: SignedIn, name: CampaignName, body: NextRequest
) -> AssignmentView | Response:
    """The image to describe next. Something held already comes back before something new."""
    lease_time = timedelta(minutes=context.settings.lease_minutes)
    with context.db.write() as session:
        lease = tasks.next_lease(session, name, person.id, body.hold, lease_time)
        if lease is None:
            return Response(status_code=status.HTTP_204_NO_CONTENT)
        return service.assignment_view(session, context.settings, lease, person.id)


@router.post("/assignments/{assignment_id}/submit")
def submit(
    jobs: JobsDep, context: ContextDep, person: SignedIn, assignment_id: AssignmentId, body: SubmitRequest
) -> StateReply:
    """Submit the description. The same `submission_id` again is fine."""
    with context.db.write() as session:
        service.submit(session, jobs, context.settings, assignment_id, person.id, body)
    return StateReply(state="submitted", undo_seconds=context.settings.undo_minutes * 60)


@router.post("/assignments/{assignment_id}/undo")
def undo(context: ContextDep, person: SignedIn, assignment_id: AssignmentId) -> AssignmentView:
    """Take back the last submission."""
    return service.undo(context, assignment_id, person.id)


@router.get("/me/last", responses={204: {"description": "There is nothing to undo"}}, response_model=LastSubmission)
def last_submission(
    context: ContextDep, person: SignedIn, campaign: Annotated[str, Query(max_length=64)]
) -> LastSubmission | Response:
    """What undo would take back."""
    with context.db.read() as session:
        event = tasks.last_submission(session, campaign, person.id)
        if event is None:
            return Response(status_code=status.HTTP_204_NO_CONTENT)
        thumb = session.scalars(
            select(Image.thumb_sha256).join(Task, Task.image_id == Image.id).where(Task.id == event.task_id)
        ).one()
    return LastSubmission(
        assignment_id=event.slot_id, submitted_at=event.at, image=Thumbnail(thumb_url=image_url(thumb))
    )


@router.post(
    "/assignments/{assignment_id}/recordings",
    status_code=status.HTTP_201_CREATED,
    responses={200: {"model": TakeView, "description": "The take exists already"}},
)
def start_take(
    response: Response, context: ContextDep, person: SignedIn, assignment_id: AssignmentId, body: StartTake
) -> TakeView:
    """Begin a take. The same id again is fine."""
    with context.db.write() as session:
        recording, new = recordings.start(session, assignment_id, person.id, body)
        if not new:
            response.status_code = status.HTTP_200_OK
        return service.take_view(session, recording)


@router.get("/recordings/{recording_id}")
def get_take(context: ContextDep, person: SignedIn, recording_id: RecordingId) -> TakeView:
    """A take, its transcription and its transcript."""
    with context.db.read() as session:
        return service.take_view(session, recordings.mine(session, recording_id, person.id))


@router.post("/recordings/{recording_id}/finish")
def finish_take(
    jobs: JobsDep, context: ContextDep, person: SignedIn, recording_id: RecordingId, body: FinishTake
) -> TakeView:
    """Say that the take is whole. It is checked, and its transcription begins. Again is fine."""
    with context.db.read() as session:
        recording = recordings.mine(session, recording_id, person.id)
        max_seconds = session.scalars(
            select(Campaign.max_seconds).join(Task, Task.campaign_id == Campaign.id).where(Task.id == recording.task_id)
        ).one()
    recordings.finish(context, jobs, recording_id, person.id, body, max_seconds)
    with context.db.read() as session:
        return service.take_view(session, recordings.mine(session, recording_id, person.id))


@router.post("/recordings/{recording_id}/discard")
def discard_take(context: ContextDep, person: SignedIn, recording_id: RecordingId) -> TakeView:
    """Put a take aside to speak again."""
    with context.db.write() as session:
        return service.take_view(session, recordings.discard(session, recording_id, person.id))
