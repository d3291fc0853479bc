"""Takes: begun, received chunk by chunk, finished, checked.

Bytes are on disk under their hash before a row names them, and a row is committed before the page is told: what was
acknowledged cannot be lost. Chunks arrive in order or not at all, because a lost or swapped chunk decodes without an
error. Reads `slots`, writes `recordings`, `recording_chunks`; hands on to the `transcribe` job.
"""

import hashlib
from dataclasses import asdict
from datetime import timedelta

from sqlalchemy import func, insert, select, update

from pixmo.accounts import service as accounts
from pixmo.accounts.models import Consent
from pixmo.clock import now
from pixmo.context import Context
from pixmo.database import ReadSession, WriteSession
from pixmo.errors import Conflict, NotFound, TooLarge, Unprocessable
from pixmo.jobs import Jobs
from pixmo.recordings import audio, gate
from pixmo.recordings.models import Recording, RecordingChunk, RecordingState
from pixmo.recordings.schemas import FinishTake, RecordingView, StartTake
from pixmo.tasks import service as tasks

CHUNKS, AUDIO, PLAYBACK = "chunks", "audio", "playback"
TRANSCRIBE = "transcribe"
MEDIA_TYPES = {
    "webm": "audio/webm",
    "mp4": "audio/mp4",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
}


class NoSuchTake(NotFound):
    code = "take_unknown"

    def __init__(self) -> None:
        super().__init__("There is no such take, or it is not yours.")


class TakeFinished(Conflict):
    code = "take_finished"

    def __init__(self) -> None:
        super().__init__("This take is finished; nothing can be added to it. Begin a new one.")


class ChunkGap(Conflict):
    code = "chunk_gap"

    def __init__(self, expected: int) -> None:
        super().__init__(f"Chunk {expected} comes next. Send the chunks from there on.", expected=expected)


class ChunkDiffers(Conflict):
    code = "chunk_differs"

    def __init__(self, seq: int) -> None:
        super().__init__(f"Chunk {seq} was received before, with other bytes.")


class ChunkCorrupt(Unprocessable):
    code = "chunk_corrupt"

    def __init__(self) -> None:
        super().__init__("The chunk's bytes do not match their SHA-256. Send it again.")


def start(session: WriteSession, slot_id: str, person: str, take: StartTake) -> tuple[Recording, bool]:
    """Begin a take, or find the one with this id; says whether it is new.

    Raises: `ConsentNeeded`, `LeaseLost`, `NoSuchTake`.
    """
    known = session.get(Recording, take.id)
    if known is not None:
        if known.user_id != person or known.slot_id != slot_id:
            raise NoSuchTake
        return known, False
    if not accounts.has_consented(session, person):
        raise accounts.ConsentNeeded("Read what is recorded and why, and agree to it, before you speak.")
    slot = tasks.assignment(session, slot_id, person)
    if slot.fence != take.fence:
        raise tasks.LeaseLost
    recording = Recording(
        id=take.id,
        slot_id=slot_id,
        task_id=slot.task_id,
        user_id=person,
        consent_id=session.scalar(
            select(Consent.id).where(Consent.user_id == person).order_by(Consent.given_at.desc()).limit(1)
        ),
        fence=take.fence,
        mime=take.mime,
        client={"started_at": take.client_started_at.isoformat()} if take.client_started_at else {},
    )
    session.add(recording)
    session.flush()
    return recording, True


def mine(session: ReadSession | WriteSession, recording_id: str, person: str) -> Recording:
    """The person's own take. Raises `NoSuchTake`."""
    recording = session.get(Recording, recording_id)
    if recording is None or recording.user_id != person:
        raise NoSuchTake
    return recording


def put_chunk(context: Context, recording_id: str, person: str, seq: int, sha256: str, data: bytes) -> int:
    """Store one chunk and return the sequence number that comes next. The same chunk again is fine.

    Raises: `ChunkCorrupt`, `ChunkGap`, `ChunkDiffers`, `TakeFinished`, `NoSuchTake`, `TooLarge`.
    """
    if len(data) > context.settings.max_chunk_bytes:
        raise TooLarge(f"A chunk may have at most {context.settings.max_chunk_bytes} bytes.")
    if not data or hashlib.sha256(data).hexdigest() != sha256:
        raise ChunkCorrupt
    with context.db.read() as session:
        mine(session, recording_id, person)
    context.storage.put(CHUNKS, data)
    with context.db.write() as session:
        recording = mine(session, recording_id, person)
        next_seq = _next_seq(session, recording_id)
        if seq < next_seq:
            stored = session.get(RecordingChunk, (recording_id, seq))
            if stored is None or stored.sha256 != sha256:
                raise ChunkDiffers(seq)
            return next_seq
        if recording.state is not RecordingState.open:
            raise TakeFinished
        if seq > next_seq:
            raise ChunkGap(next_seq)
        session.execute(
            insert(RecordingChunk).values(recording_id=recording_id, seq=seq, sha256=sha256, byte_size=len(data))
        )
        # Speaking keeps the task; speech is taken even if the task has gone to somebody else.
        tasks.touch(session, recording.slot_id, person, recording.fence, context.settings.lease_minutes)
    return next_seq + 1


def _next_seq(session: ReadSession | WriteSession, recording_id: str) -> int:
    last = session.scalar(select(func.max(RecordingChunk.seq)).where(RecordingChunk.recording_id == recording_id))
    return 0 if last is None else last + 1


def finish(context: Context, jobs: Jobs, recording_id: str, person: str, claim: FinishTake, max_seconds: float) -> None:
    """Put the take together, check it, and hand it to transcription in the same transaction. Idempotent.

    Raises `ChunkGap` if chunks are missing and `AudioRejected` if the sound cannot be used; a rejected take is kept.
    """
    with context.db.read() as session:
        recording = mine(session, recording_id, person)
        if recording.state is RecordingState.rejected and recording.reject_reason is not None:
            raise audio.AudioRejected(audio.RejectReason(recording.reject_reason))
        if recording.state is not RecordingState.open:
            return
        chunks = session.scalars(
            select(RecordingChunk).where(RecordingChunk.recording_id == recording_id).order_by(RecordingChunk.seq)
        ).all()
    if len(chunks) < claim.chunks:
        raise ChunkGap(len(chunks))
    if len(chunks) > claim.chunks:
        raise Unprocessable(f"The take has {len(chunks)} chunks, not {claim.chunks}.", code="chunk_count")
    data = b"".join(context.storage.read(CHUNKS, chunk.sha256) for chunk in chunks)
    if hashlib.sha256(data).hexdigest() != claim.sha256 or len(data) != claim.bytes:
        raise Unprocessable(
            "The chunks together are not the take that the page recorded. Send it again, or record again.",
            code="take_rejected", reason="hash_mismatch",
        )  # fmt: skip
    audio_sha256 = context.storage.put(AUDIO, data)
    values: dict[str, object] = {
        "finished_at": now(),
        "chunk_count": len(chunks),
        "byte_size": len(data),
        "audio_sha256": audio_sha256,
        "client": recording.client | {"duration_ms": claim.duration_ms, "voiced_ms": claim.voiced_ms},
    }
    rejected: audio.AudioRejected | None = None
    try:
        sound = audio.decode(data, max_seconds=max_seconds)
        audio.check(sound, client_ms=claim.duration_ms or None)
        levels = gate.measure(sound)
        values |= {
            "state": RecordingState.finished,
            "container": sound.container.value,
            "duration": sound.duration_s,
            "voiced": levels.voiced_s,
            "levels": asdict(levels),
            "peaks": audio.peaks(sound),
            "playback_sha256": context.storage.put(PLAYBACK, audio.remux(data)),
        }
    except audio.AudioRejected as error:
        rejected = error
        values |= {"state": RecordingState.rejected, "reject_reason": error.reason.value}
    with context.db.write() as session:
        changed = session.execute(
            update(Recording)
            .where(Recording.id == recording_id, Recording.state == RecordingState.open)
            .values(**values)
            .returning(Recording.id)
        ).one_or_none()
        if changed is not None and rejected is None:
            jobs.enqueue(session, TRANSCRIBE, recording_id)
    if rejected is not None:
        raise rejected


def discard(session: WriteSession, recording_id: str, person: str) -> Recording:
    """Put a take aside because it is spoken again. Its bytes stay."""
    recording = mine(session, recording_id, person)
    slot = tasks.assignment(session, recording.slot_id, person)
    if slot.submission_id is not None:
        raise Conflict("This take has been submitted. Undo the submission first.", code="take_submitted")
    recording.state = RecordingState.discarded
    session.flush()
    return recording


def newest(session: ReadSession | WriteSession, slot_id: str, person: str) -> Recording | None:
    """The take that a reload shows: the newest one of this assignment that was not put aside."""
    return session.scalar(
        select(Recording)
        .where(Recording.slot_id == slot_id, Recording.user_id == person)
        .where(Recording.state != RecordingState.discarded)
        .order_by(Recording.started_at.desc())
        .limit(1)
    )


def view(session: ReadSession | WriteSession, recording: Recording) -> RecordingView:
    """The take itself, without what was made of it."""
    received = session.scalar(
        select(func.coalesce(func.sum(RecordingChunk.byte_size), 0)).where(RecordingChunk.recording_id == recording.id)
    )
    return RecordingView(
        id=recording.id,
        assignment_id=recording.slot_id,
        state=recording.state,
        next_seq=_next_seq(session, recording.id),
        bytes=received or 0,
        mime=recording.mime,
        reject_reason=recording.reject_reason,
        duration_s=recording.duration,
        voiced_s=recording.voiced,
        audio_url=f"/api/recordings/{recording.id}/audio" if recording.playback_sha256 else None,
        peaks=recording.peaks or None,
        gate=recording.levels or None,
    )


def sweep(context: Context, *, older_than: timedelta = timedelta(days=1)) -> int:
    """Remove chunk files that are part of a stored take by now, or that no row ever named; returns how many.

    The chunks of a take that was never finished stay: somebody's speech is in them. The age keeps the sweep off a
    chunk whose row is being written.
    """
    limit = (now() - older_than).timestamp()
    with context.db.read() as session:
        needed = set(
            session.scalars(
                select(RecordingChunk.sha256)
                .join(Recording, Recording.id == RecordingChunk.recording_id)
                .where(Recording.audio_sha256.is_(None))
            )
        )
    removed = 0
    for sha256, path in context.storage.walk(CHUNKS):
        if sha256 not in needed and path.stat().st_mtime < limit:
            context.storage.delete(CHUNKS, sha256)
            removed += 1
    return removed
