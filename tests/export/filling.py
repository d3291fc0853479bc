"""Fill a store as if people had described images: the rows and blobs that the rest of pixmo would have left."""

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import PIL.Image

from pixmo.accounts.models import Consent, Role, User
from pixmo.campaigns.models import Campaign, CampaignKind
from pixmo.captions.service import run_caption
from pixmo.context import Context
from pixmo.database import WriteSession
from pixmo.images.models import Image
from pixmo.recordings.models import Recording, RecordingChunk, RecordingState
from pixmo.tasks.models import Slot, SlotState, Task, TaskAction, TaskEvent
from pixmo.transcripts.models import Outcome, Transcript, TranscriptOrigin

BEGIN = datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
SAID = (
    "um there is a a red kettle on the stove and two blue cups, you know, next to it",
    "a kettle that is red stands on a black stove with three knobs",
)

Say = Callable[[int, int], str]


def jpeg(number: int, size: tuple[int, int] = (48, 32)) -> bytes:
    """A photo-like JPEG, different for every number."""
    noise = np.random.default_rng(number).integers(0, 255, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
    file = io.BytesIO()
    PIL.Image.fromarray(noise).resize(size).save(file, "JPEG", quality=90)
    return file.getvalue()


@dataclass
class Filler:
    """Adds described images to the store of `context`. Everything it makes is a function of its arguments."""

    context: Context

    def __post_init__(self) -> None:
        self._number = 0

    def id(self) -> str:
        """Ids like UUIDv7 in their order of making, but the same on every run."""
        self._number += 1
        return f"01900000-0000-7000-8000-{self._number:012x}"

    def people(self, names: Sequence[str] = ("one", "two", "three")) -> list[str]:
        """Annotators who consented; their user ids."""
        ids = []
        with self.context.db.write() as session:
            for name in names:
                user = User(id=self.id(), role=Role.annotator, display_name=name)
                session.add(user)
                session.flush()
                session.add(Consent(id=self.id(), user_id=user.id, version="2026-01", text_sha256="0" * 64))
                ids.append(user.id)
        return ids

    def campaign(self, name: str = "kitchen", *, overlap: int = 2, language: str = "en") -> str:
        with self.context.db.write() as session:
            campaign = Campaign(
                id=self.id(), name=name, kind=CampaignKind.describe, title=name.title(), instructions="Speak.",
                questions=[], language=language, overlap=overlap, min_voiced_seconds=20, max_seconds=180, min_words=5,
            )  # fmt: skip
            session.add(campaign)
        return campaign.id

    def image(self, number: int, *, licence: str | None = "CC0-1.0", source_url: str | None = None) -> str:
        data = jpeg(number)
        sha256 = self.context.storage.put("images", data)
        with self.context.db.write() as session:
            image = Image(
                id=self.id(), sha256=hashlib.sha256(b"original" + data).hexdigest(),
                pixel_sha256=hashlib.sha256(b"pixels" + data).hexdigest(), format="jpeg", width=48, height=32,
                byte_size=len(data) + 8, served_sha256=sha256, served_format="jpeg", web_sha256=sha256,
                thumb_sha256=sha256, pdq="0" * 64, pdq_quality=100, cluster_id=f"cluster-{number // 2}",
                topic="kitchens", licence=licence, attribution="A. Photographer", source_url=source_url,
            )  # fmt: skip
            session.add(image)
        return image.id

    def task(self, campaign_id: str, image_id: str, people: Sequence[str], say: Sequence[str]) -> str:
        """A task that everybody in `people` has submitted, saying what `say` holds."""
        with self.context.db.write() as session:
            task = Task(id=self.id(), campaign_id=campaign_id, image_id=image_id)
            session.add(task)
            session.flush()
            for number, (person, text) in enumerate(zip(people, say, strict=True)):
                self._submitted(session, task, number, person, text)
        return task.id

    def _submitted(self, session: WriteSession, task: Task, number: int, person: str, text: str) -> None:
        slot = Slot(
            id=self.id(), task_id=task.id, campaign_id=task.campaign_id, number=number, rank=0.0,
            state=SlotState.submitted, user_id=person, fence=1, submission_id=self.id(),
        )  # fmt: skip
        session.add(slot)
        session.flush()
        chunks = [f"{slot.id}:{i}".encode() * 20 for i in range(3)]
        consent = session.query(Consent).filter_by(user_id=person).one()
        recording = Recording(
            id=self.id(), slot_id=slot.id, task_id=task.id, user_id=person, consent_id=consent.id, fence=1,
            state=RecordingState.finished, mime="audio/webm;codecs=opus", started_at=BEGIN + timedelta(hours=number),
            chunk_count=3, byte_size=sum(map(len, chunks)),
            audio_sha256=self.context.storage.put("audio", b"".join(chunks)), duration=61.5, voiced=48.25,
        )  # fmt: skip
        session.add(recording)
        session.flush()
        for seq, chunk in enumerate(chunks):
            sha256 = hashlib.sha256(chunk).hexdigest()
            session.add(
                RecordingChunk(recording_id=recording.id, seq=seq, sha256=sha256, byte_size=len(chunk))
            )  # fmt: skip
        transcript = self.transcript(session, recording.id, text)
        answer = {"recording_id": recording.id, "transcript_id": transcript.id, "covered": [], "elapsed_ms": 1}
        self.event(session, slot, TaskAction.submitted, answer)

    def transcript(
        self, session: WriteSession, recording_id: str, text: str, *, revision: int = 1, user_id: str | None = None
    ) -> Transcript:
        """A revision by the recogniser, or by `user_id`."""
        asr = user_id is None
        words = [
            {"text": word, "start": i / 2, "end": i / 2 + 0.4, "confidence": 0.9 if i % 3 else None}
            for i, word in enumerate(text.split())
        ]
        transcript = Transcript(
            id=self.id(), recording_id=recording_id, revision=revision, outcome=Outcome.ok, text=text, language="en",
            origin=TranscriptOrigin.asr if asr else TranscriptOrigin.human, words=words if asr else [],
            model="whisper-tiny" if asr else None, model_revision="abc123" if asr else None, user_id=user_id,
        )  # fmt: skip
        session.add(transcript)
        session.flush()
        return transcript

    def event(self, session: WriteSession, slot: Slot, action: TaskAction, answer: dict[str, object]) -> None:
        session.add(
            TaskEvent(
                action=action,
                slot_id=slot.id,
                task_id=slot.task_id,
                campaign_id=slot.campaign_id,
                user_id=slot.user_id,
                fence=slot.fence,
                answer=answer,
            )
        )

    def caption(self, task_id: str) -> None:
        """Run the caption job of a task."""
        assert run_caption(self.context.db, self.context.storage, self.context.settings, task_id) is not None


def fill(context: Context, *, images: int = 3, overlap: int = 2, said: Sequence[str] = SAID) -> Filler:
    """A campaign `kitchen` of which every image is described by `overlap` people and captioned."""
    filler = Filler(context)
    people, campaign = filler.people(), filler.campaign(overlap=overlap)
    for number in range(images):
        source = None if number % 2 else f"https://photos.example/{number}.jpg"
        image = filler.image(number, source_url=source)
        say = [f"{text} in picture number {number + 10}" for text in said[:overlap]]
        filler.caption(filler.task(campaign, image, people[:overlap], say))
    return filler


def tree(folder: Path) -> dict[str, str]:
    """The digest of every file below `folder`."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
