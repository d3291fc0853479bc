"""The two jobs behind a description: transcribe a take, caption a task. Both may run twice without harm."""

import threading
from collections.abc import Iterable
from contextlib import suppress
from functools import partial

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError

from pixmo.campaigns.models import Campaign
from pixmo.captions.service import is_final, run_caption
from pixmo.clock import now
from pixmo.context import Context
from pixmo.describe.service import CAPTION, request_caption
from pixmo.errors import PixmoError
from pixmo.jobs import Job, Jobs, JobState, Parked
from pixmo.recordings import audio
from pixmo.recordings.models import Recording, RecordingState
from pixmo.recordings.service import AUDIO, TRANSCRIBE
from pixmo.settings import Settings
from pixmo.tasks.models import Slot, SlotState, Task
from pixmo.transcripts.asr import AsrOptions, AsrUnavailable, Transcription, WhisperX
from pixmo.transcripts.models import Transcript, TranscriptOrigin

_lock = threading.Lock()
_recognisers: dict[AsrOptions, WhisperX] = {}


def asr_options(settings: Settings) -> AsrOptions:
    """The part of the settings that the recogniser needs."""
    return AsrOptions(
        model=settings.asr_model,
        device=settings.asr_device,
        compute_type=settings.asr_compute_type,
        align_model=settings.asr_align_model,
        beam_size=settings.asr_beam_size,
        batch_size=settings.asr_batch_size,
        threads=settings.asr_threads,
        download=settings.asr_download,
    )


def _recogniser(settings: Settings) -> WhisperX:
    """One for a process: the model is loaded with the first take and kept."""
    options = asr_options(settings)
    with _lock:
        return _recognisers.setdefault(options, WhisperX(options))


def warm_up(settings: Settings, languages: Iterable[str]) -> None:
    """Load the recogniser now, so that the first person does not wait for it. What fails is left to the takes."""
    for language in languages:
        with suppress(AsrUnavailable):
            _recogniser(settings).load(language)


def transcribe(context: Context, jobs: Jobs, recording_id: str) -> None:
    """Make the first revision of a take's transcript.

    A missing model or an impossible language parks the job at once: trying again cannot help.
    """
    with context.db.read() as session:
        row = session.execute(
            select(Recording, Campaign.language, Campaign.max_seconds)
            .join(Task, Task.id == Recording.task_id)
            .join(Campaign, Campaign.id == Task.campaign_id)
            .where(Recording.id == recording_id)
        ).one()
        done = session.scalar(select(Transcript.id).where(Transcript.recording_id == recording_id).limit(1))
    recording, language, max_seconds = row.tuple()
    if done is not None or recording.state is not RecordingState.finished or recording.audio_sha256 is None:
        return
    try:
        sound = audio.decode(context.storage.path(AUDIO, recording.audio_sha256), max_seconds=max_seconds)
        result = _recogniser(context.settings).transcribe(
            sound.as_float(), language, partial(_show_partial, context, recording_id)
        )
    except AsrUnavailable as error:
        raise Parked(error.detail) from error
    with context.db.write() as session:
        try:
            with session.begin_nested():
                session.add(_revision(recording_id, result))
        except IntegrityError:
            return  # Another worker was quicker with the same job.
        slot = session.get_one(Slot, recording.slot_id)
        if slot.state is SlotState.submitted:
            request_caption(session, jobs, recording.task_id)


def _revision(recording_id: str, result: Transcription) -> Transcript:
    return Transcript(
        recording_id=recording_id,
        revision=1,
        origin=TranscriptOrigin.asr,
        outcome=result.outcome,
        text=result.text,
        language=result.language,
        words=[dict(word) for word in result.words],
        segments=[dict(segment) for segment in result.segments],
        flags=result.flags,
        voiced=result.voiced_s,
        model=result.model,
        model_revision=result.model_revision or result.model_sha256,
        model_settings={"sha256": result.model_sha256, "settings": result.settings, "versions": result.versions},
    )


def _show_partial(context: Context, recording_id: str, text: str) -> None:
    with context.db.write() as session:
        session.execute(
            update(JobState)
            .where(JobState.job == TRANSCRIBE, JobState.subject_id == recording_id)
            .values(partial=text, updated_at=now())
        )


def caption(context: Context, task_id: str) -> None:
    """Make the caption of a task from what its annotators submitted."""
    try:
        run_caption(context.db, context.storage, context.settings, task_id, recipe=context.settings.cap_pipeline)
    except PixmoError as error:
        if is_final(error):
            raise Parked(error.detail) from error
        raise


def describe_jobs(jobs: Jobs) -> list[Job]:
    """The jobs that a worker runs for describe campaigns. Speech fills a worker; captions mostly wait for the LLM."""
    return [
        Job(TRANSCRIBE, lambda context, recording_id: transcribe(context, jobs, recording_id)),
        Job(CAPTION, caption, slots=4),
    ]
