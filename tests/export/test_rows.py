from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event, select

from pixmo.captions.answers import standing_answers
from pixmo.captions.models import Caption
from pixmo.context import Context
from pixmo.export import rows
from pixmo.export.rows import Described, ImageDamaged, provenance, pseudonym
from pixmo.images.models import Image
from pixmo.recordings.models import Recording
from pixmo.tasks.models import Slot, Task, TaskAction
from tests.export.conftest import IMAGES
from tests.export.filling import SAID, Filler

KEY = b"key"


def read(context: Context, campaign: str | None = None) -> tuple[list[Described], Counter[str]]:
    left_out: Counter[str] = Counter()
    with context.db.read() as session:
        found = list(
            rows.read(session, context.storage, KEY, campaign, left_out=left_out, advance=lambda tasks: None)
        )  # fmt: skip
    return found, left_out


def test_every_captioned_task_once_in_the_order_of_images(filled: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, left_out = read(filled)
    assert len(whole) == IMAGES
    assert [one.image.id for one in whole] == sorted(one.image.id for one in whole)
    assert not left_out
    for page in (1, 2, 3):
        monkeypatch.setattr(rows, "PAGE", page)
        assert [one.caption.id for one in read(filled)[0]] == [one.caption.id for one in whole]


def test_the_number_of_queries_does_not_grow_with_the_rows_of_a_page(filled: Context, filler: Filler) -> None:
    def queries() -> int:
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        event.listen(filled.db.reader, "before_cursor_execute", count)
        read(filled)
        event.remove(filled.db.reader, "before_cursor_execute", count)
        return counted

    before = queries()
    people, campaign = filler.people(), filler.campaign("more", overlap=1)
    for number in range(3):
        filler.caption(filler.task(campaign, filler.image(100 + number), people[:1], SAID[:1]))
    assert queries() == before


def test_an_image_without_an_address_is_named_by_its_hash(filled: Context) -> None:
    found, _ = read(filled)
    assert found[0].image_url == "https://photos.example/0.jpg"
    assert found[1].image_url == f"urn:sha256:{found[1].image.sha256}"


def test_provenance_of_a_recognised_and_a_corrected_take(filled: Context, filler: Filler) -> None:
    with filled.db.read() as session:
        task_id = session.scalars(select(Task.id).order_by(Task.image_id)).first() or ""
        recording = session.get_one(Recording, standing_answers(session, [task_id])[task_id][1].recording_id)
    with filled.db.write() as session:
        filler.transcript(session, recording.id, "a tin kettle", revision=2, user_id=recording.user_id)
    filler.caption(task_id)
    one = read(filled)[0][0]
    columns = provenance(one)
    assert columns["transcript_origins"] == ["asr", "human"]
    assert columns["transcript_models"] == ["whisper-tiny", "whisper-tiny"]
    assert columns["word_times"][1][0] == {"text": "a", "start": 0.0, "end": 0.4, "confidence": None}
    assert columns["transcript_used"] == [True, False]
    assert [str(day) for day in columns["annotated_on"]] == ["2026-03-01", "2026-03-02"]
    assert columns["consent_versions"] == ["2026-01", "2026-01"]
    assert columns["durations"] == [61.5, 61.5]
    assert [(step["field"], step["origin"], step["model"], step["saw_image"]) for step in columns["steps"]] == [
        ("audio_sha256[0]", "human", None, True),
        ("transcripts[0]", "asr", "whisper-tiny", False),
        ("audio_sha256[1]", "human", None, True),
        ("transcripts[1]", "asr", "whisper-tiny", False),
        ("transcripts[1]", "human", None, True),
        ("caption", "script", None, False),
    ]


def test_a_correction_after_the_caption_waits_for_the_next_caption(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        recording = session.scalars(select(Recording)).first()
        assert recording is not None
        filler.transcript(session, recording.id, "something else", revision=2, user_id=recording.user_id)
    found, left_out = read(filled)
    texts = [take.text for one in found for take in one.takes]
    assert len(found) == IMAGES
    assert "something else" not in texts
    assert not left_out


def test_a_caption_of_a_withdrawn_answer_is_left_out(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        slot = session.scalars(select(Slot).order_by(Slot.id)).first()
        assert slot is not None
        filler.event(session, slot, TaskAction.undone, {})
    found, left_out = read(filled)
    assert len(found) == IMAGES - 1
    assert slot.task_id not in [one.caption.task_id for one in found]
    assert left_out == {"withdrawn": 1}


def test_the_newest_revision_of_a_caption_counts(filled: Context) -> None:
    with filled.db.write() as session:
        first = session.scalars(select(Caption)).first()
        assert first is not None
        values = {column.key: getattr(first, column.key) for column in Caption.__table__.columns}
        session.add(Caption(**{**values, "id": "newer", "revision": 2, "text": "Newer."}))
    found, _ = read(filled)
    assert [one.caption.text for one in found].count("Newer.") == 1
    assert len(found) == IMAGES


def test_one_campaign_only(filled: Context, filler: Filler) -> None:
    task = filler.task(filler.campaign("other", overlap=1), filler.image(50), filler.people()[:1], SAID[:1])
    filler.caption(task)
    assert len(read(filled)[0]) == IMAGES + 1
    assert [one.campaign.name for one in read(filled, "other")[0]] == ["other"]
    with filled.db.read() as session:
        assert rows.count(session, None) == IMAGES + 1
        assert rows.count(session, "other") == 1
        assert rows.count(session, "none") == 0


def test_finished_tasks_without_a_caption_are_counted(filled: Context, filler: Filler) -> None:
    filler.task(filler.campaign("other", overlap=1), filler.image(50), filler.people()[:1], SAID[:1])
    with filled.db.read() as session:
        assert rows.count_waiting(session, None) == 1
        assert rows.count_waiting(session, "kitchen") == 0


def test_damaged_images_are_not_exported(filled: Context) -> None:
    with filled.db.read() as session:
        image = session.scalars(select(Image)).first()
        assert image is not None
    filled.storage.path("images", image.served_sha256).write_bytes(b"rotten")
    with pytest.raises(ImageDamaged, match=image.sha256):
        read(filled)


def test_pseudonyms_are_stable_and_keyed() -> None:
    assert pseudonym(b"key", "person") == "a_644b7ccb39"
    assert pseudonym(b"key", "person") != pseudonym(b"other", "person")
    assert pseudonym(b"key", "person") != pseudonym(b"key", "somebody")
