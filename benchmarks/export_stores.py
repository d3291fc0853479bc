"""Stores for the benchmark of exports, filled straight into the tables: what months of annotation leave behind."""

import hashlib
import random
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from pixmo import setup
from pixmo.accounts.models import Consent, Role, User
from pixmo.campaigns.models import Campaign, CampaignKind
from pixmo.captions import receipt
from pixmo.captions.models import Caption, CaptionMethod
from pixmo.context import Context
from pixmo.database import Base, WriteSession
from pixmo.images.models import Image
from pixmo.points.models import CollectionMethod, PointSet
from pixmo.recordings.models import Recording, RecordingState
from pixmo.settings import Settings
from pixmo.tasks.models import Slot, SlotState, Task, TaskAction, TaskEvent
from pixmo.transcripts.models import Outcome, Transcript, TranscriptOrigin

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
PEOPLE = 40
POINTS_AN_IMAGE = 5
WORDS = [
    "the",
    "a",
    "red",
    "blue",
    "kettle",
    "window",
    "on",
    "left",
    "of",
    "with",
    "two",
    "three",
    "people",
    "standing",
    "near",
    "wooden",
    "table",
    "light",
    "sky",
    "cloud",
    "behind",
    "green",
    "grass",
    "and",
    "small",
    "white",
    "dog",
    "sitting",
    "under",
    "tree",
    "which",
    "has",
    "many",
    "leaves",
    "in",
    "front",
    "there",
    "is",
    "also",
    "an",
    "old",
    "car",
]


def opened(folder: Path) -> Context:
    """The store in `folder`, made if there is none."""
    settings = Settings(data_dir=folder / "pixmo-data", exports_dir=folder / "exports")
    if not (folder / "pixmo-data" / "pixmo.db").exists():
        setup.prepare(settings)
    return Context.open(settings)


def points(folder: Path, rows: int) -> None:
    """`rows` referring expressions, 4.6 points each on average, five to an image."""
    with opened(folder).db.write() as session:
        people, campaign = _people(session)
        _images(session, ((None, i) for i in range(-(-rows // POINTS_AN_IMAGE))))
        _insert(session, PointSet, _point_sets(rows, people, campaign))


def captions(folder: Path, rows: int, image_bytes: int = 0) -> None:
    """`rows` images with a caption of about 2.5 kB, made of one transcript. `image_bytes`: size of their pictures."""
    context = opened(folder)
    pictures: Iterable[bytes | None] = (None for _ in range(rows))
    if image_bytes:
        pictures = (np.random.default_rng(i).bytes(image_bytes) for i in range(rows))
    stored = [None if data is None else context.storage.put("images", data) for data in pictures]
    key = receipt.server_key(context.settings)
    with context.db.write() as session:
        people, campaign = _people(session)
        _images(session, ((sha256, i) for i, sha256 in enumerate(stored)))
        for model, made in _described(rows, people, campaign, key).items():
            _insert(session, model, made)


def _people(session: WriteSession) -> tuple[list[str], str]:
    people = [_id("person", i) for i in range(PEOPLE)]
    session.add_all(User(id=id_, role=Role.annotator, display_name="annotator") for id_ in people)
    session.flush()
    session.add_all(Consent(id=id_, user_id=id_, version="2026-01", text_sha256="0" * 64) for id_ in people)
    campaign = Campaign(
        name="bench", kind=CampaignKind.describe, title="bench", instructions="", questions=[], language="en",
        overlap=1, min_voiced_seconds=0, max_seconds=180, min_words=1,
    )  # fmt: skip
    session.add(campaign)
    session.flush()
    return people, campaign.id


def _images(session: WriteSession, pictures: Iterable[tuple[str | None, int]]) -> None:
    def rows() -> Iterator[dict[str, Any]]:
        for stored, i in pictures:
            digest = hashlib.sha256(f"image {i}".encode()).hexdigest()
            yield {
                "id": _id("image", i), "sha256": digest, "pixel_sha256": digest, "format": "jpeg", "width": 1024,
                "height": 768, "byte_size": 1, "served_sha256": stored or digest, "served_format": "jpeg",
                "web_sha256": digest, "thumb_sha256": digest, "pdq": "0" * 64, "pdq_quality": 0,
                "cluster_id": _id("image", i), "licence": "CC0-1.0", "source_url": f"https://photos.example/{i}.jpg",
            }  # fmt: skip

    _insert(session, Image, rows())


def _point_sets(rows: int, people: list[str], campaign: str) -> Iterator[dict[str, Any]]:
    chance = random.Random(1)
    for i in range(rows):
        number = min(int(chance.expovariate(1 / 5.1)), 40)
        places = [{"x": round(chance.random(), 4), "y": round(chance.random(), 4)} for _ in range(number)]
        person = chance.choice(people)
        yield {
            "image_id": _id("image", i // POINTS_AN_IMAGE), "campaign_id": campaign, "user_id": person,
            "consent_id": person, "label": " ".join(chance.choices(WORDS, k=chance.randint(1, 4))),
            "method": chance.choice(list(CollectionMethod)), "points": places, "llm_call_ids": [],
            "created_at": BEGIN + timedelta(seconds=i),
        }  # fmt: skip


def _described(rows: int, people: list[str], campaign: str, key: Any) -> dict[type[Base], list[dict[str, Any]]]:
    chance = random.Random(2)
    made: dict[type[Base], list[dict[str, Any]]] = {
        model: [] for model in (Task, Slot, Recording, Transcript, TaskEvent, Caption)
    }
    for i in range(rows):
        task, slot, take, said, person = (_id(kind, i) for kind in ("task", "slot", "take", "said", "p"))
        person, at = people[i % PEOPLE], BEGIN + timedelta(seconds=90 * i)
        text = " ".join(chance.choices(WORDS, k=480))
        words = [
            {"text": word, "start": j / 2, "end": j / 2 + 0.4, "confidence": 0.9}
            for j, word in enumerate(text.split()[:120])
        ]
        signed = {"image": {"sha256": hashlib.sha256(f"image {i}".encode()).hexdigest()}, "caption": {"sha256": receipt.sha256(text)},
                  "takes": [{"used": True}]}  # fmt: skip
        made[Task].append({"id": task, "campaign_id": campaign, "image_id": _id("image", i), "created_at": at})
        made[Slot].append({
            "id": slot, "task_id": task, "campaign_id": campaign, "number": 0, "rank": 0.0,
            "state": SlotState.submitted, "user_id": person, "fence": 1, "submission_id": slot,
        })  # fmt: skip
        made[Recording].append({
            "id": take, "slot_id": slot, "task_id": task, "user_id": person, "consent_id": person, "fence": 1,
            "state": RecordingState.finished, "mime": "audio/webm", "started_at": at, "duration": 75.0, "voiced": 60.0,
            "audio_sha256": hashlib.sha256(take.encode()).hexdigest(), "client": {}, "levels": {}, "peaks": [],
        })  # fmt: skip
        made[Transcript].append({
            "id": said, "recording_id": take, "revision": 1, "origin": TranscriptOrigin.asr, "outcome": Outcome.ok,
            "text": text, "language": "en", "words": words, "segments": [], "flags": [], "model": "bench",
            "model_settings": {}, "created_at": at,
        })  # fmt: skip
        answer = {"recording_id": take, "transcript_id": said}
        made[TaskEvent].append({
            "at": at, "action": TaskAction.submitted, "slot_id": slot, "task_id": task, "campaign_id": campaign,
            "user_id": person, "fence": 1, "answer": answer,
        })  # fmt: skip
        made[Caption].append({
            "id": _id("caption", i), "task_id": task, "revision": 1, "text": text, "method": CaptionMethod.tidy,
            "transcript_ids": [said], "llm_call_ids": [], "flags": [], "receipt": receipt.sign(signed, key),
            "created_at": at,
        })  # fmt: skip
    return made


def _insert(session: WriteSession, model: type[Base], rows: Iterable[dict[str, Any]]) -> None:
    made = iter(rows)
    while some := list(islice(made, 10_000)):
        session.execute(insert(model), some)


def _id(kind: str, number: int) -> str:
    digest = hashlib.sha256(f"{kind} {number}".encode()).hexdigest()
    return f"{number:08x}-{digest[:4]}-7{digest[4:7]}-8{digest[7:10]}-{digest[10:22]}"
