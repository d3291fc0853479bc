"""The describe campaign: an image is spoken about, the take is transcribed, the text checked and submitted.

Composes tasks, recordings, transcripts and captions; owns no table.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, bindparam, select

from pixmo.campaigns.models import Campaign
from pixmo.captions import service as captions
from pixmo.context import Context
from pixmo.database import ReadSession, WriteSession, table
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


_recordings, _transcripts, _tasks, _campaigns = map(table, (Recording, Transcript, Task, Campaign))
_submitted = (
    select(
        _recordings.c.state,
        _recordings.c.task_id,
        _recordings.c.voiced,
        _transcripts.c.id.label("transcript_id"),
        _transcripts.c.outcome,
        _transcripts.c.text,
        _transcripts.c.voiced.label("voiced_by_asr"),
        _campaigns.c.overlap,
        _campaigns.c.min_voiced_seconds,
        _campaigns.c.min_words,
    )
    .select_from(
        _recordings.join(_tasks, _tasks.c.id == _recordings.c.task_id)
        .join(_campaigns, _campaigns.c.id == _tasks.c.campaign_id)
        .outerjoin(_transcripts, _transcripts.c.recording_id == _recordings.c.id)
    )
    .where(
        _recordings.c.id == bindparam("recording"),
        _recordings.c.slot_id == bindparam("slot"),
        _recordings.c.user_id == bindparam("person"),
    )
    .order_by(_transcripts.c.revision.desc())
    .limit(1)
)


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
    row = (
        session.connection()
        .execute(_submitted, {"recording": request.recording_id, "slot": slot_id, "person": person})
        .one_or_none()
    )
    if row is None:
        raise recordings.NoSuchTake
    if row.state is not RecordingState.finished:
        raise TakeNotFinished
    _check(row, settings, request.text)
    transcript_id = row.transcript_id
    if transcript_id and request.text and request.text.split() != row.text.split():
        transcript = session.get_one(Transcript, transcript_id)
        transcript_id = transcripts.correct(session, transcript, request.text, person)
    answer = {
        "recording_id": request.recording_id,
        "transcript_id": transcript_id,
        "covered": request.covered,
        "elapsed_ms": request.elapsed_ms,
    }
    if tasks.submit(session, slot_id, person, request.fence, request.submission_id, answer) and transcript_id:
        request_caption(session, jobs, row.task_id, alone=row.overlap == 1)


def _check(row: Row[*tuple[Any, ...]], settings: Settings, text: str | None) -> None:
    if row.outcome is Outcome.no_speech:
        raise NoSpeech
    voiced = max(row.voiced or 0, row.voiced_by_asr or 0)
    if voiced < row.min_voiced_seconds * settings.voice_tolerance:
        raise TooShort(voiced, row.min_voiced_seconds)
    if row.transcript_id:
        words = len((text or row.text).split())
        if words < row.min_words:
            raise TooFewWords(words, row.min_words)


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
            session,
            slot_id,
            person,
            timedelta(minutes=settings.undo_minutes),
            timedelta(minutes=settings.lease_minutes),
        )
        return assignment_view(session, settings, lease, person)
