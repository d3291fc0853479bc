import json
from collections import Counter
from typing import Any

import pytest
from sqlalchemy import event, insert, select, update

from pixmo.captions.answers import standing_answers
from pixmo.captions.models import Caption
from pixmo.captions.receipt import ReceiptInvalid
from pixmo.context import Context
from pixmo.export.models import ImageSplit, Subject, Takedown
from pixmo.export.pages import Reading, pseudonym
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources import cap
from pixmo.export.sources.cap import SET
from pixmo.export.splits import assign
from pixmo.images.models import Image
from pixmo.recordings.models import Recording
from pixmo.tasks.models import Slot, Task, TaskAction
from pixmo.transcripts.models import Transcript
from tests.export.conftest import IMAGES
from tests.export.filling import SAID
from tests.export.sources.asking import KEY, Asking


@pytest.fixture
def store(filled: Context) -> Asking:
    """The filled store, all images in splits; not all in `train`."""
    split(filled)
    store = Asking(filled)
    store.filler._number = 10_000
    return store


def split(context: Context) -> None:
    with context.db.write() as session:
        assign(session, {"validation": 0.2, "test": 0.2})


def described(store: Asking, campaign: str, number: int, people: list[str], *, caption: bool = True) -> str:
    """A task that was described; a new image."""
    task = store.filler.task(campaign, store.filler.image(number), people, SAID[: len(people)])
    if caption:
        store.filler.caption(task)
    split(store.context)
    return task


def first_task(store: Asking) -> str:
    with store.context.db.read() as session:
        return session.scalars(select(Task.id).order_by(Task.id)).first() or ""


def first_take(store: Asking, place: int = 0) -> Recording:
    task = first_task(store)
    with store.context.db.read() as session:
        answers = standing_answers(session, [task])[task]
        return session.get_one(Recording, answers[place].recording_id)


def waiting(store: Asking) -> int:
    with store.context.db.read() as session:
        return cap.waiting(Reading(session, KEY, lambda row: ("", "")))


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("cap") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}


def test_every_described_image_once_in_the_order_of_the_first_answers(
    store: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = store.rows(SET)
    assert len(whole) == IMAGES == store.count(SET)
    assert store.left_out == {}
    assert [row["image_url"] for row in whole if not row["image_url"].startswith("urn")] == [
        f"https://photos.example/{number}.jpg" for number in range(0, IMAGES, 2)
    ]
    for tasks in (1, 2, 3):
        monkeypatch.setattr(cap, "TASKS", tasks)
        assert len(store.pages(SET)) == -(-IMAGES // tasks)
        assert store.rows(SET) == whole


def test_the_number_of_queries_does_not_grow_with_the_rows_of_a_page(store: Asking) -> None:
    def queries() -> int:
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        event.listen(store.context.db.reader, "before_cursor_execute", count)
        store.rows(SET)
        event.remove(store.context.db.reader, "before_cursor_execute", count)
        return counted

    before = queries()
    people, campaign = store.filler.people(), store.filler.campaign("more", overlap=1)
    for number in range(3):
        described(store, campaign, 100 + number, people[:1])
    assert queries() == before
    assert len(store.rows(SET)) == IMAGES + 3


def test_a_row_holds_what_was_said_and_what_is_known_of_the_image(store: Asking) -> None:
    with store.context.db.read() as session:
        task = session.get_one(Task, first_task(store))
        caption = session.scalars(select(Caption).where(Caption.task_id == task.id)).one()
        people = [session.get_one(Recording, first_take(store, i).id).user_id for i in range(2)]
    row = store.rows(SET)[0]
    known = store.of_image(task.image_id)
    assert {name: row[name] for name in known} == known
    assert row["image"] == known["image_file"]
    assert row["caption"] == caption.text
    assert row["transcripts"] == [f"{text} in picture number 10" for text in SAID]
    assert row["annotators"] == [pseudonym(KEY, user) for user in people]
    assert json.loads(row["receipt"]) == caption.receipt
    assert (row["caption_revision"], row["caption_method"], row["caption_model"]) == (1, "tidy", None)
    assert (row["campaign"], row["language"], row["agreement"]) == ("kitchen", "en", None)


def test_plain_rows_have_the_published_columns(store: Asking) -> None:
    rows = store.rows(SET, enriched=False)
    assert [row.keys() for row in rows] == [
        {"image_url", "image_sha256", "split", "caption", "transcripts", "row_id", "annotators", "original_sha256"}
    ] * IMAGES
    assert rows == [{name: row[name] for name in rows[0]} for row in store.rows(SET)]


def test_an_image_without_an_address_is_named_by_its_hash(store: Asking) -> None:
    row = store.rows(SET)[1]
    assert row["image_url"] == f"urn:sha256:{row['original_sha256']}"


def test_provenance_of_a_recognised_and_a_corrected_take(store: Asking) -> None:
    take = first_take(store, 1)
    with store.context.db.write() as session:
        store.filler.transcript(session, take.id, "a tin kettle", revision=2, user_id=take.user_id)
    store.filler.caption(first_task(store))
    row = store.rows(SET)[0]
    assert row["transcripts"][1] == "a tin kettle"
    assert row["transcript_origins"] == ["asr", "human"]
    assert row["transcript_models"] == ["whisper-tiny", "whisper-tiny"]
    assert row["word_times"][1][0] == {"text": "a", "start": 0.0, "end": 0.4, "confidence": None}
    assert row["transcript_used"] == [True, False]
    assert [str(day) for day in row["annotated_on"]] == ["2026-03-01", "2026-03-02"]
    assert row["consent_versions"] == ["2026-01", "2026-01"]
    assert (row["durations"], row["voiced_seconds"]) == ([61.5, 61.5], [48.25, 48.25])
    assert [(step["field"], step["origin"], step["model"], step["saw_image"]) for step in row["steps"]] == [
        ("audio_sha256[0]", "human", None, True),
        ("transcripts[0]", "asr", "whisper-tiny", False),
        ("audio_sha256[1]", "human", None, True),
        ("transcripts[1]", "asr", "whisper-tiny", False),
        ("transcripts[1]", "human", None, True),
        ("caption", "script", None, False),
    ]


def test_a_correction_after_the_caption_waits_for_the_next_caption(store: Asking) -> None:
    before, take = store.rows(SET), first_take(store)
    with store.context.db.write() as session:
        store.filler.transcript(session, take.id, "something else", revision=2, user_id=take.user_id)
    assert store.rows(SET) == before
    store.filler.caption(first_task(store))
    after = store.rows(SET)
    assert after[0]["transcripts"][0] == "something else"
    assert after[0]["caption_revision"] == 2
    assert after[1:] == before[1:]
    assert store.left_out == {}


def test_a_caption_of_a_withdrawn_answer_is_left_out(store: Asking) -> None:
    before = store.rows(SET)
    with store.context.db.write() as session:
        slot = session.scalars(select(Slot).where(Slot.task_id == first_task(store)).order_by(Slot.id)).first()
        assert slot is not None
        store.filler.event(session, slot, TaskAction.undone, {})
    assert store.rows(SET) == before[1:]
    assert store.left_out == {"withdrawn": 1}


def test_a_row_keeps_its_id_when_another_answer_comes(store: Asking) -> None:
    before = store.rows(SET)
    take = first_take(store)
    with store.context.db.write() as session:
        slot = session.get_one(Slot, take.slot_id)
        transcript = session.scalars(select(Transcript).where(Transcript.recording_id == take.id)).one()
        answer = {"recording_id": take.id, "transcript_id": transcript.id, "covered": [], "elapsed_ms": 1}
        store.filler.event(session, slot, TaskAction.submitted, answer)
    assert [row["row_id"] for row in store.rows(SET)] == [row["row_id"] for row in before]


def test_the_newest_revision_of_a_caption_counts(store: Asking) -> None:
    with store.context.db.write() as session:
        first = session.scalars(select(Caption).where(Caption.task_id == first_task(store))).one()
        values = {column.key: getattr(first, column.key) for column in Caption.__table__.columns}
        session.execute(insert(Caption).values(values | {"id": "newer", "revision": 2}))
    rows = store.rows(SET)
    assert [row["caption_revision"] for row in rows] == [2] + [1] * (IMAGES - 1)
    assert rows[0]["caption"] == first.text


def test_a_receipt_of_another_caption_is_refused(store: Asking) -> None:
    with store.context.db.write() as session:
        session.execute(update(Caption).where(Caption.task_id == first_task(store)).values(text="Something else."))
    with pytest.raises(ReceiptInvalid, match=r"Row \d+: the receipt is about another image or caption"):
        store.rows(SET)
    assert store.rows(SET, enriched=False)[0]["caption"] == "Something else."


@pytest.mark.parametrize("bad", ["", "  \n"])
def test_an_empty_caption_is_named(store: Asking, bad: str) -> None:
    row = store.rows(SET)[0]["row_id"]
    with store.context.db.write() as session:
        session.execute(update(Caption).where(Caption.task_id == first_task(store)).values(text=bad))
    with pytest.raises(RowInvalid, match=f"Row {row} has an empty caption"):
        store.rows(SET)


def test_one_campaign_only(store: Asking) -> None:
    other = store.filler.campaign("other", overlap=1)
    described(store, other, 50, store.filler.people()[:1])
    assert len(store.rows(SET)) == IMAGES + 1 == store.count(SET)
    assert [row["campaign"] for row in store.rows(SET, campaign=other)] == ["other"]
    assert store.count(SET, campaign=other) == 1


def test_finished_tasks_without_a_caption_are_counted(store: Asking) -> None:
    other = store.filler.campaign("other", overlap=1)
    task = described(store, other, 50, store.filler.people()[:1], caption=False)
    assert waiting(store) == 1
    assert len(store.rows(SET)) == IMAGES == store.count(SET)
    store.filler.caption(task)
    assert waiting(store) == 0
    assert len(store.rows(SET)) == IMAGES + 1


def test_what_was_taken_down_is_left_out(store: Asking) -> None:
    before = store.rows(SET)
    with store.context.db.read() as session:
        image = session.get_one(Task, first_task(store)).image_id
    store.take_down(Subject.image, image)
    assert store.rows(SET) == before[1:]
    assert store.left_out == {"taken_down": 1}
    campaign, people = store.filler.campaign("other", overlap=1), store.filler.people()
    described(store, campaign, 50, people[:1])
    described(store, campaign, 51, people[1:2])
    store.take_down(Subject.annotator, people[0])
    assert [row["annotators"] for row in store.rows(SET)[IMAGES - 1 :]] == [[pseudonym(KEY, people[1])]]
    assert store.left_out == {"taken_down": 2}
    with store.context.db.read() as session:
        assert Counter(session.scalars(select(Takedown.subject))) == {Subject.image: 1, Subject.annotator: 1}


def test_an_image_in_no_split_is_left_out(store: Asking) -> None:
    campaign, people = store.filler.campaign("other", overlap=1), store.filler.people()
    store.filler.caption(store.filler.task(campaign, store.filler.image(50), people[:1], SAID[:1]))
    assert len(store.rows(SET)) == IMAGES
    assert store.left_out == {"withheld": 1}
    split(store.context)
    rows = store.rows(SET)
    with store.context.db.read() as session:
        found = session.execute(select(Image.sha256, ImageSplit.split).join(ImageSplit)).all()
    assert {row["original_sha256"]: row["split"] for row in rows} == {digest: name.value for digest, name in found}


def test_measures_count_words(store: Asking) -> None:
    (page,) = store.pages(SET)
    captions, transcripts = (measure.of(page).to_pylist() for measure in SET.measures)
    assert captions == [len(text.split()) for text in page["caption"].to_pylist()]
    assert transcripts == [len(text.split()) for takes in page["transcripts"].to_pylist() for text in takes]
