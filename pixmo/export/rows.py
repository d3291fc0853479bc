"""Reading what is exported: every task with a caption, with all that the caption came from."""

import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Select, and_, func, select, tuple_
from sqlalchemy.orm import Session

from pixmo.accounts.models import Consent
from pixmo.campaigns.models import Campaign, CampaignKind
from pixmo.captions.answers import standing_answers
from pixmo.captions.models import Caption
from pixmo.database import ReadSession
from pixmo.errors import Conflict
from pixmo.images.models import Image
from pixmo.language.models import LlmCall
from pixmo.language.schemas import Message, PictureRefused, canonical_json
from pixmo.recordings.models import Recording
from pixmo.storage import Storage
from pixmo.tasks.models import Slot, SlotState, Task
from pixmo.transcripts.models import Transcript, TranscriptOrigin

PAGE = 100
_IMAGES = "images"
_Row = TypeVar("_Row", Image, Campaign, Consent, LlmCall, Recording)


class ImageDamaged(Conflict):
    code = "image_damaged"
    title = "A stored image is damaged"


@dataclass(frozen=True)
class Take:
    """One person's answer. `revisions`: of the transcript, up to the one that the caption was made from."""

    recording: Recording
    revisions: Sequence[Transcript]
    consent_version: str | None
    annotator: str
    used: bool

    @property
    def text(self) -> str:
        return self.revisions[-1].text

    @property
    def origin(self) -> str:
        return self.revisions[-1].origin.value

    @property
    def recognised(self) -> Transcript | None:
        """The newest revision by a recogniser: a person's correction has no word times."""
        return next((one for one in reversed(self.revisions) if one.origin is TranscriptOrigin.asr), None)


@dataclass(frozen=True)
class Described:
    """One image of one campaign with the caption that holds. `annotator` of a take is a pseudonym."""

    image: Image
    image_bytes: bytes
    campaign: Campaign
    caption: Caption
    takes: Sequence[Take]
    calls: Sequence[LlmCall]

    @property
    def image_url(self) -> str:
        """Where the image came from. An image without an address is named by its hash, so that no row lacks one."""
        return self.image.source_url or f"urn:sha256:{self.image.sha256}"


def pseudonym(key: bytes, user_id: str) -> str:
    """`a_` and 10 hex digits of HMAC-SHA256: stable while the key is, and not to be guessed without it."""
    return "a_" + hmac.new(key, user_id.encode(), hashlib.sha256).hexdigest()[:10]


def provenance(one: Described) -> dict[str, Any]:
    """The columns that say where a row came from: everything of the `enriched` configuration but the published ones."""
    image, caption, takes = one.image, one.caption, one.takes
    return {
        "image": {"bytes": one.image_bytes, "path": f"{image.served_sha256}.{image.served_format}"},
        "image_sha256": image.sha256,
        "served_sha256": image.served_sha256,
        "pixel_sha256": image.pixel_sha256,
        "width": image.width,
        "height": image.height,
        "topic": image.topic,
        "licence": image.licence,
        "attribution": image.attribution,
        "campaign": one.campaign.name,
        "language": one.campaign.language,
        "caption_revision": caption.revision,
        "caption_method": caption.method.value,
        "caption_prompt": caption.prompt,
        "caption_model": one.calls[-1].model if one.calls else None,
        "flags": caption.flags,
        "transcript_origins": [take.origin for take in takes],
        "transcript_models": [take.recognised and take.recognised.model for take in takes],
        "transcript_used": [take.used for take in takes],
        "word_times": [take.recognised.words if take.recognised else [] for take in takes],
        "audio_sha256": [take.recording.audio_sha256 for take in takes],
        "durations": [take.recording.duration for take in takes],
        "voiced_seconds": [take.recording.voiced for take in takes],
        "annotators": [take.annotator for take in takes],
        "consent_versions": [take.consent_version for take in takes],
        "annotated_on": [take.recording.started_at.date() for take in takes],
        "steps": list(_steps(one)),
        "split_cluster": image.cluster_id,
        "receipt": canonical_json(caption.receipt).decode(),
    }


def _steps(one: Described) -> Iterator[dict[str, Any]]:
    for i, take in enumerate(one.takes):
        yield _step(f"audio_sha256[{i}]", "human", saw_image=True)
        for revision in take.revisions:
            human = revision.origin is TranscriptOrigin.human
            origin, model, model_revision = revision.origin.value, revision.model, revision.model_revision
            yield _step(f"transcripts[{i}]", origin, model, model_revision, saw_image=human)
    for call in one.calls:
        yield _step("caption", "llm_text", call.model, call.prompt, saw_image=not _is_text(call))
    if not one.calls:
        yield _step("caption", "script", saw_image=False)


def _step(
    field: str, origin: str, model: str | None = None, model_revision: str | None = None, *, saw_image: bool
) -> dict[str, Any]:
    return {
        "field": field, "origin": origin, "model": model, "model_revision": model_revision, "saw_image": saw_image
    }  # fmt: skip


def _is_text(call: LlmCall) -> bool:
    """Whether the record of a call shows that nothing but text was sent."""
    try:
        for message in call.messages:
            Message.model_validate(message)
    except (ValidationError, PictureRefused):
        return False
    return True


def count(session: ReadSession, campaign: str | None) -> int:
    """How many tasks have a caption."""
    return session.scalar(_tasks(campaign).with_only_columns(func.count())) or 0


def count_waiting(session: ReadSession, campaign: str | None) -> int:
    """How many tasks are submitted in full but have no caption yet."""
    slot = select(Slot.id).where(Slot.task_id == Task.id)
    unfinished = slot.where(Slot.state != SlotState.submitted)
    statement = _tasks(campaign, captioned=False).where(slot.exists(), ~unfinished.exists())
    return session.scalar(statement.with_only_columns(func.count())) or 0


def read(
    session: ReadSession,
    storage: Storage,
    key: bytes,
    campaign: str | None,
    *,
    left_out: Counter[str],
    advance: Callable[[int], None],
) -> Iterator[Described]:
    """Everything to export, ordered by image and task, page by page: memory does not grow with the store.

    A caption made from an answer that was withdrawn since is counted in `left_out`. `advance` is told how many tasks
    were read.
    """
    after: tuple[str, str] | None = None
    while True:
        statement = _tasks(campaign)
        if after is not None:
            statement = statement.where(tuple_(Task.image_id, Task.id) > after)
        tasks = session.scalars(statement.order_by(Task.image_id, Task.id).limit(PAGE)).all()
        if not tasks:
            return
        yield from _page(session, storage, key, tasks, left_out)
        advance(len(tasks))
        after = (tasks[-1].image_id, tasks[-1].id)
        session.expunge_all()


def _tasks(campaign: str | None, *, captioned: bool = True) -> Select[Task]:
    has_caption = select(Caption.id).where(Caption.task_id == Task.id).exists()
    statement = (
        select(Task)
        .join(Campaign, Campaign.id == Task.campaign_id)
        .where(Campaign.kind == CampaignKind.describe, has_caption if captioned else ~has_caption)
    )
    return statement if campaign is None else statement.where(Campaign.name == campaign)


def _page(
    session: ReadSession, storage: Storage, key: bytes, tasks: Sequence[Task], left_out: Counter[str]
) -> Iterator[Described]:
    task_ids = [task.id for task in tasks]
    newest = (
        select(Caption.task_id, func.max(Caption.revision).label("revision"))
        .where(Caption.task_id.in_(task_ids))
        .group_by(Caption.task_id)
        .subquery()
    )
    captions = {
        caption.task_id: caption
        for caption in session.scalars(
            select(Caption).join(
                newest, and_(newest.c.task_id == Caption.task_id, newest.c.revision == Caption.revision)
            )
        )
    }
    images = _by_id(session, Image, {task.image_id for task in tasks})
    campaigns = _by_id(session, Campaign, {task.campaign_id for task in tasks})
    calls = _by_id(session, LlmCall, {id_ for caption in captions.values() for id_ in caption.llm_call_ids})
    answers = standing_answers(session, task_ids)
    standing = {answer.recording_id for of_task in answers.values() for answer in of_task}
    recordings = _by_id(session, Recording, standing)
    consents = _by_id(session, Consent, {one.consent_id for one in recordings.values() if one.consent_id})
    revisions: dict[str, list[Transcript]] = {}
    for transcript in session.scalars(
        select(Transcript).where(Transcript.recording_id.in_(standing)).order_by(Transcript.revision)
    ):
        revisions.setdefault(transcript.recording_id, []).append(transcript)
    by_id = {transcript.id: transcript for of_take in revisions.values() for transcript in of_take}

    for task in tasks:
        caption, image = captions[task.id], images[task.image_id]
        if not all(transcript_id in by_id for transcript_id in caption.transcript_ids):
            left_out["withdrawn"] += 1
            continue
        used = [take["used"] for take in caption.receipt.get("takes", [])]
        takes = []
        for i, transcript_id in enumerate(caption.transcript_ids):
            last = by_id[transcript_id]
            recording = recordings[last.recording_id]
            takes.append(
                Take(
                    recording=recording,
                    revisions=[one for one in revisions[recording.id] if one.revision <= last.revision],
                    consent_version=consents[recording.consent_id].version if recording.consent_id else None,
                    annotator=pseudonym(key, recording.user_id),
                    used=i < len(used) and used[i],
                )
            )
        yield Described(
            image=image,
            image_bytes=_image_bytes(storage, image),
            campaign=campaigns[task.campaign_id],
            caption=caption,
            takes=takes,
            calls=[calls[call_id] for call_id in caption.llm_call_ids],
        )


def _by_id(session: Session, model: type[_Row], ids: set[str]) -> Mapping[str, _Row]:
    return {row.id: row for row in session.scalars(select(model).where(model.id.in_(ids)))}


def _image_bytes(storage: Storage, image: Image) -> bytes:
    data = storage.read(_IMAGES, image.served_sha256)
    if hashlib.sha256(data).hexdigest() != image.served_sha256:
        raise ImageDamaged(f"The stored bytes of image {image.sha256} are damaged. Restore them from a backup.")
    return data
