"""Transcript revisions: the recogniser's first, a person's corrections after it."""

from sqlalchemy import insert, select

from pixmo.database import ReadSession, WriteSession
from pixmo.ids import new_id
from pixmo.jobs import JobState
from pixmo.recordings.service import TRANSCRIBE
from pixmo.transcripts.models import Transcript, TranscriptOrigin
from pixmo.transcripts.schemas import TranscriptionView, TranscriptView


def latest(session: ReadSession | WriteSession, recording_id: str) -> Transcript | None:
    """The newest revision of a take's transcript."""
    return session.scalar(
        select(Transcript).where(Transcript.recording_id == recording_id).order_by(Transcript.revision.desc()).limit(1)
    )


def correct(session: WriteSession, base: Transcript, text: str, user_id: str) -> str:
    """Append `text` as a person's revision of `base`; returns the id of the revision that now holds.

    Text that only differs in white space is no correction. Word times stay with the recogniser's revision.
    """
    if text.split() == base.text.split():
        return base.id
    transcript_id = new_id()
    session.execute(
        insert(Transcript).values(
            id=transcript_id,
            recording_id=base.recording_id,
            revision=base.revision + 1,
            origin=TranscriptOrigin.human,
            outcome=base.outcome,
            text=text.strip(),
            language=base.language,
            voiced=base.voiced,
            user_id=user_id,
        )
    )
    return transcript_id


def transcription_view(session: ReadSession | WriteSession, recording_id: str) -> TranscriptionView:
    """Where the transcription of a take stands."""
    state = session.get(JobState, (TRANSCRIBE, recording_id))
    if state is None:
        return TranscriptionView()
    first = session.scalar(
        select(Transcript.outcome).where(Transcript.recording_id == recording_id, Transcript.revision == 1)
    )
    return TranscriptionView.model_validate(
        {
            "state": state.state,
            "attempts": state.attempts,
            "reason": state.reason,
            "outcome": first,
            "partial_text": state.partial,
        }
    )


def transcript_view(session: ReadSession | WriteSession, recording_id: str) -> TranscriptView | None:
    """The newest revision, with the word times of the revision that has them."""
    transcript = latest(session, recording_id)
    if transcript is None:
        return None
    return TranscriptView(
        id=transcript.id,
        revision=transcript.revision,
        origin=transcript.origin,
        text=transcript.text,
        language=transcript.language,
        words=transcript.words,
        flags=transcript.flags,
        voiced_s=transcript.voiced,
    )
