"""From the submitted takes of a task to its caption: when it is due, what it is made of, and its receipt."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import func, select

from pixmo import pipeline
from pixmo.campaigns.models import Campaign
from pixmo.captions import receipt
from pixmo.captions.answers import standing_answers
from pixmo.captions.models import Caption, CaptionMethod
from pixmo.captions.schemas import Draft
from pixmo.database import Database, ReadSession, WriteSession
from pixmo.errors import Conflict, PixmoError
from pixmo.ids import new_id
from pixmo.images.models import Image
from pixmo.language import service as language
from pixmo.language.models import LlmCall
from pixmo.language.schemas import PictureRefused
from pixmo.recordings.models import Recording, RecordingChunk
from pixmo.settings import Settings
from pixmo.storage import Storage
from pixmo.tasks.models import Slot, SlotState, Task
from pixmo.transcripts.models import Transcript

_AUDIO = "audio"
_ROUNDS = 3


class NothingSaid(Conflict):
    """No take of the task holds any words; trying again cannot help."""

    code = "nothing_said"
    title = "There is nothing to make a caption of"


class TakeDamaged(Conflict):
    """Stored audio is not what its hashes say; trying again cannot help."""

    code = "take_damaged"
    title = "A stored take is damaged"


@dataclass(frozen=True)
class _Take:
    """A submitted take with its chunks and the revisions of its transcript, of which the last holds."""

    recording: Recording
    chunks: Sequence[RecordingChunk]
    revisions: Sequence[Transcript]

    @property
    def transcript(self) -> Transcript:
        return self.revisions[-1]


@dataclass(frozen=True)
class _Source:
    """Everything that a caption is made of. `takes` are those with words, in the order of their slots."""

    task_id: str
    image: Image
    language: str
    takes: Sequence[_Take]

    @property
    def transcript_ids(self) -> list[str]:
        return [take.transcript.id for take in self.takes]


def caption_due(session: ReadSession | WriteSession, task_id: str) -> bool:
    """Whether every slot of the task is submitted and every submitted take has a transcript."""
    states = session.scalars(select(Slot.state).where(Slot.task_id == task_id)).all()
    takes = {answer.recording_id for answer in standing_answers(session, [task_id]).get(task_id, [])}
    if not states or any(state is not SlotState.submitted for state in states) or len(takes) != len(states):
        return False
    transcribed = session.scalar(
        select(func.count(Transcript.recording_id.distinct())).where(Transcript.recording_id.in_(takes))
    )
    return transcribed == len(takes)


def run_caption(
    db: Database, storage: Storage, settings: Settings, task_id: str, *, recipe: Path | None = None
) -> Caption | None:
    """Make the caption of a task if it is due; safe to run at any time and any number of times.

    Reads in one session, asks the language model outside of any, writes in one. The same transcripts, method and
    prompt give no new revision and no new call. If somebody corrects or withdraws an answer meanwhile, it starts over.

    Returns the caption that holds now, None if it is not due. Raises `NothingSaid`, `TakeDamaged`, `PictureRefused`,
    `LanguageUnavailable` and `LanguageFailed`; `is_final` tells which of them a retry cannot cure.
    """
    cap = pipeline.load("cap", recipe)
    for _ in range(_ROUNDS):
        with db.read() as session:
            source = _read(session, task_id)
            latest = latest_caption(session, task_id)
        if source is None:
            return None
        if not source.takes:
            raise NothingSaid("None of the takes holds any words. Redo the task or close it.")
        texts = [take.transcript.text for take in source.takes]
        llm = None
        plan: tuple[CaptionMethod, str | None] = (CaptionMethod.tidy, None)
        if settings.llm_base_url:
            llm = partial(language.complete, db, settings, purpose="caption", subject_id=task_id)
            plan = (CaptionMethod.llm, cap.prompt_for(texts))
        if _holds(latest, source, *plan):
            return latest
        for take in source.takes:
            _check_take(storage, take)
        draft = cap.caption(texts, source.language, llm)
        if not draft.text.strip():
            raise NothingSaid("Nothing is left of the takes when fillers are left out. Redo the task or close it.")
        key = receipt.server_key(settings)
        with db.write() as session:
            source_now = _read(session, task_id)
            if source_now is None:
                return None
            if source_now.transcript_ids == source.transcript_ids:
                return _store(session, source, draft, key)
    raise Conflict("The transcripts of this task change faster than a caption is made. It will be tried again.")


def is_final(error: PixmoError) -> bool:
    """Whether running a caption again cannot cure what `run_caption` raised."""
    if isinstance(error, language.LanguageFailed):
        return not error.retryable
    return isinstance(error, NothingSaid | TakeDamaged | PictureRefused | language.LanguageUnavailable)


def latest_caption(session: ReadSession | WriteSession, task_id: str) -> Caption | None:
    """The revision that holds."""
    return session.scalar(
        select(Caption).where(Caption.task_id == task_id).order_by(Caption.revision.desc()).limit(1)
    )  # fmt: skip


def latest_captions(session: ReadSession | WriteSession, limit: int) -> list[tuple[Caption, list[str]]]:
    """The newest captions, one per task, each with the ids of the recordings that it was made from."""
    newest = select(func.max(Caption.revision)).where(Caption.task_id == Task.id).correlate(Task).scalar_subquery()
    captions = session.scalars(
        select(Caption)
        .join(Task, Task.id == Caption.task_id)
        .where(Caption.revision == newest)
        .order_by(Caption.created_at.desc(), Caption.id.desc())
        .limit(limit)
    ).all()
    ids = {transcript_id for caption in captions for transcript_id in caption.transcript_ids}
    rows = session.execute(select(Transcript.id, Transcript.recording_id).where(Transcript.id.in_(ids)))
    recordings = {row.id: row.recording_id for row in rows}
    return [(caption, [recordings[id_] for id_ in caption.transcript_ids]) for caption in captions]


def _read(session: ReadSession | WriteSession, task_id: str) -> _Source | None:
    if not caption_due(session, task_id):
        return None
    image, language_code = session.execute(
        select(Image, Campaign.language)
        .join(Task, Task.image_id == Image.id)
        .join(Campaign, Campaign.id == Task.campaign_id)
        .where(Task.id == task_id)
    ).one()
    takes = []
    for answer in standing_answers(session, [task_id])[task_id]:
        of_take = Transcript.recording_id == answer.recording_id
        take = _Take(
            recording=session.get_one(Recording, answer.recording_id),
            chunks=session.scalars(
                select(RecordingChunk)
                .where(RecordingChunk.recording_id == answer.recording_id)
                .order_by(RecordingChunk.seq)
            ).all(),
            revisions=session.scalars(select(Transcript).where(of_take).order_by(Transcript.revision)).all(),
        )
        if take.transcript.text.strip():
            takes.append(take)
    return _Source(task_id, image, language_code, takes)


def _holds(caption: Caption | None, source: _Source, method: CaptionMethod, prompt: str | None) -> bool:
    return caption is not None and (
        (caption.transcript_ids, caption.method, caption.prompt) == (source.transcript_ids, method, prompt)
    )


def _check_take(storage: Storage, take: _Take) -> None:
    """What the receipt will say of the audio is true of the bytes that are stored."""
    recording = take.recording
    data = storage.read(_AUDIO, recording.audio_sha256 or "")
    whole = hashlib.sha256(data).hexdigest() == recording.audio_sha256
    position = 0
    for chunk in take.chunks:
        piece = data[position : position + chunk.byte_size]
        whole = whole and hashlib.sha256(piece).hexdigest() == chunk.sha256
        position += chunk.byte_size
    if not whole or position != len(data):
        raise TakeDamaged(f"The audio of take {recording.id} is not what was recorded. Restore it from a backup.")


def _store(session: WriteSession, source: _Source, draft: Draft, key: Ed25519PrivateKey) -> Caption:
    latest = latest_caption(session, source.task_id)
    if latest is not None and _holds(latest, source, draft.method, draft.prompt):
        return latest
    caption = Caption(
        id=new_id(),
        task_id=source.task_id,
        revision=latest.revision + 1 if latest else 1,
        text=draft.text,
        method=draft.method,
        prompt=draft.prompt,
        transcript_ids=source.transcript_ids,
        llm_call_ids=list(draft.llm_call_ids),
        flags=[asdict(flag) for flag in draft.flags],
    )
    calls = [session.get_one(LlmCall, call_id) for call_id in draft.llm_call_ids]
    caption.receipt = receipt.sign(_chain(source, draft, caption, calls), key)
    session.add(caption)
    session.flush()
    return caption


def _chain(source: _Source, draft: Draft, caption: Caption, calls: Sequence[LlmCall]) -> dict[str, Any]:
    """The unsigned receipt: every step from the image to the text, by hash.

    It holds no id of the store, because ids tell the time of day at which somebody worked.
    """
    image = source.image
    return {
        "image": {"sha256": image.sha256, "pixel_sha256": image.pixel_sha256, "served_sha256": image.served_sha256},
        "takes": [
            {
                "audio_sha256": take.recording.audio_sha256,
                "chunks": [{"sha256": chunk.sha256, "bytes": chunk.byte_size} for chunk in take.chunks],
                "transcripts": [_revision(transcript) for transcript in take.revisions],
                "used": i in draft.used,
            }
            for i, take in enumerate(source.takes)
        ],
        "llm_calls": [
            {
                "model": call.model,
                "prompt": call.prompt,
                "request_sha256": call.sha256,
                "answer_sha256": receipt.sha256(call.answer or ""),
            }
            for call in calls
        ],
        "caption": {
            "revision": caption.revision,
            "method": caption.method.value,
            "prompt": caption.prompt,
            "sha256": receipt.sha256(caption.text),
        },
    }


def _revision(transcript: Transcript) -> dict[str, Any]:
    return {
        "revision": transcript.revision,
        "origin": transcript.origin.value,
        "model": transcript.model,
        "model_revision": transcript.model_revision,
        "sha256": receipt.sha256(transcript.text),
    }
