"""The describe campaign: an image is spoken about, the take is transcribed, the text checked and submitted.

Composes tasks, recordings, transcripts and captions; owns no table.
"""

from datetime import timedelta

from sqlalchemy import select

from pixmo.campaigns.models import Campaign
from pixmo.captions import service as captions
from pixmo.context import Context
from pixmo.database import ReadSession, WriteSession
from pixmo.describe.schemas import AssignmentView, SubmitRequest, TakeView
from pixmo.errors import Conflict, Unprocessable
from pixmo.images.service import image_url
from pixmo.jobs import Jobs
from pixmo.recordings import service as recordings
from pixmo.recordings.models import Recording, RecordingState
from pixmo.settings import Settings
from pixmo.tasks import service as tasks
from pixmo.tasks.models import Task
from pixmo.tasks.schemas import ImageView
from pixmo.transcripts import service as transcripts
from pixmo.transcripts.models import Outcome, Transcript

CAPTION = "caption"


class TakeNotFinished(Conflict):
    code = "take_not_finished"

    def __init__(self) -> None:
        super().__init__("The take is not finished yet. Wait until all speech is saved, then submit.")


class TooShort(Unprocessable):
    code = "too_short"

    def __init__(self, voiced: float, minimum: float) -> None:
        super().__init__(
            f"You spoke for {voiced:.0f} seconds; this campaign asks for {minimum:.0f}. Record again and say more.",
            voiced_seconds=round(voiced, 1), min_voiced_seconds=minimum,
        )  # fmt: skip


class TooFewWords(Unprocessable):
    code = "too_few_words"

    def __init__(self, words: int, minimum: int) -> None:
        super().__init__(
            f"The text has {words} words; this campaign asks for {minimum}. Complete it or record again.",
            words=words, min_words=minimum,
        )  # fmt: skip


class NoSpeech(Unprocessable):
    code = "no_speech"

    def __init__(self) -> None:
        super().__init__("No speech was found in the take. Check the microphone and record again.")


def take_view(session: ReadSession | WriteSession, recording: Recording) -> TakeView:
    """A take with its transcription."""
    finished = recording.state is RecordingState.finished
    return TakeView(
        **recordings.view(session, recording).model_dump(),
        transcription=transcripts.transcription_view(session, recording.id),
        transcript=transcripts.transcript_view(session, recording.id) if finished else None,
    )


def assignment_view(
    session: ReadSession | WriteSession, settings: Settings, lease: tasks.Lease, person: str
) -> AssignmentView:
    """A lease as the page needs it. A first lease has no take yet, so none is looked for."""
    take = recordings.newest(session, lease.slot_id, person) if lease.fence > 1 or not lease.new else None
    image = lease.image
    return AssignmentView(
        id=lease.slot_id,
        fence=lease.fence,
        task_id=lease.task_id,
        campaign=lease.campaign,
        expires_at=lease.expires_at,
        ttl_seconds=settings.lease_minutes * 60,
        image=ImageView(
            id=image["image_id"],
            url=image_url(image["web_sha256"]),
            full_url=image_url(image["served_sha256"]),
            thumb_url=image_url(image["thumb_sha256"]),
            width=image["width"],
            height=image["height"],
            attribution=image["attribution"],
            licence=image["licence"],
        ),
        recording=take_view(session, take) if take else None,
    )


def submit(
    session: WriteSession, jobs: Jobs, settings: Settings, slot_id: str, person: str, request: SubmitRequest
) -> None:
    """Accept a description: the take must be finished, long enough, and hold speech as far as that is known.

    Enqueues the caption if this was the last answer that the task waited for. Idempotent by `submission_id`.

    Raises: `LeaseLost`, `TakeNotFinished`, `TooShort`, `TooFewWords`, `NoSpeech`.
    """
    row = session.execute(
        select(Recording, Transcript, Campaign)
        .join(Task, Task.id == Recording.task_id)
        .join(Campaign, Campaign.id == Task.campaign_id)
        .outerjoin(Transcript, Transcript.recording_id == Recording.id)
        .where(Recording.id == request.recording_id, Recording.slot_id == slot_id, Recording.user_id == person)
        .order_by(Transcript.revision.desc())
        .limit(1)
    ).one_or_none()
    if row is None:
        raise recordings.NoSuchTake
    recording, transcript, campaign = row.tuple()
    if recording.state is not RecordingState.finished:
        raise TakeNotFinished
    _check(recording, transcript, campaign, settings, request.text)
    transcript_id = None
    if transcript is not None:
        transcript_id = transcript.id
        if request.text is not None and request.text.strip():
            transcript_id = transcripts.correct(session, transcript, request.text, person)
    answer = {
        "recording_id": recording.id,
        "transcript_id": transcript_id,
        "covered": request.covered,
        "elapsed_ms": request.elapsed_ms,
    }
    if tasks.submit(session, slot_id, person, request.fence, request.submission_id, answer) and transcript_id:
        request_caption(session, jobs, recording.task_id, alone=campaign.overlap == 1)


def _check(
    recording: Recording, transcript: Transcript | None, campaign: Campaign, settings: Settings, text: str | None
) -> None:
    voiced = max(recording.voiced or 0, (transcript.voiced or 0) if transcript else 0)
    if transcript is not None and transcript.outcome is Outcome.no_speech:
        raise NoSpeech
    if voiced < campaign.min_voiced_seconds * settings.voice_tolerance:
        raise TooShort(voiced, campaign.min_voiced_seconds)
    if transcript is not None:
        words = len((text or transcript.text).split())
        if words < campaign.min_words:
            raise TooFewWords(words, campaign.min_words)


def request_caption(session: WriteSession, jobs: Jobs, task_id: str, *, alone: bool = False) -> None:
    """Enqueue the caption of a task once every slot is submitted and every submitted take has its transcript.

    `alone`: the task has one slot, which the caller knows to be ready.
    """
    if alone or captions.caption_due(session, task_id):
        jobs.enqueue(session, CAPTION, task_id)


def undo(context: Context, slot_id: str, person: str) -> AssignmentView:
    """Reopen the last submission. Raises `CannotUndo`."""
    settings = context.settings
    with context.db.write() as session:
        lease = tasks.undo(
            session, slot_id, person, timedelta(minutes=settings.undo_minutes), timedelta(minutes=settings.lease_minutes)
        )
        return assignment_view(session, settings, lease, person)
