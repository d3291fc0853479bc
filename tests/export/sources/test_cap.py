from typing import Any

import pytest
from sqlalchemy import event, select, update

from pixmo.accounts.models import User
from pixmo.captions.answers import standing_answers
from pixmo.captions.models import Caption
from pixmo.captions.receipt import ReceiptInvalid
from pixmo.context import Context
from pixmo.database import ReadSession
from pixmo.export import splits
from pixmo.export.models import ImageSplit, Subject
from pixmo.export.pages import Reading
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources import cap
from pixmo.export.sources.cap import SET, TASKS, waiting
from pixmo.images.models import Image
from pixmo.recordings.models import Recording
from pixmo.tasks.models import Slot, Task, TaskAction
from pixmo.transcripts.models import Transcript
from tests.export.conftest import IMAGES
from tests.export.filling import SAID, Filler
from tests.export.making import corrected, described
from tests.export.sources.asking import Asking, made


@pytest.fixture
def asking(filled: Context) -> Asking:
    """The filled store, whose images have their splits."""
    with filled.db.write() as session:
        splits.assign(session, {})
    return Asking(filled)


def assigned(asking: Asking) -> None:
    with asking.context.db.write() as session:
        splits.assign(session, {})


def first_task(session: ReadSession) -> str:
    return session.scalars(select(Task.id).order_by(Task.id)).first() or ""


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("cap") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}
    assert list(SET.enriched)[:4] == ["image_url", "caption", "transcripts", "row_id"]


def test_every_captioned_task_once_in_the_order_of_first_answers(
    asking: Asking, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = asking.rows(SET)
    assert [row["row_id"] for row in whole] == [1, 3, 5, 7, 9]
    assert not asking.left_out
    assert asking.count(SET) == IMAGES
    assert TASKS > 1
    for page in (1, 2, 3):
        monkeypatch.setattr(cap, "TASKS", page)
        assert asking.rows(SET) == whole


def test_the_number_of_queries_does_not_grow_with_the_rows_of_a_page(asking: Asking, filler: Filler) -> None:
    def queries() -> int:
        counted = 0

        def count(*_: Any) -> None:
            nonlocal counted
            counted += 1

        event.listen(asking.context.db.reader, "before_cursor_execute", count)
        asking.rows(SET)
        event.remove(asking.context.db.reader, "before_cursor_execute", count)
        return counted

    before = queries()
    for number in range(3):
        described(filler, 100 + number, campaign=f"more {number}")
    assigned(asking)
    assert queries() == before


def test_a_recognised_and_a_corrected_take(asking: Asking, filler: Filler) -> None:
    context = asking.context
    with context.db.read() as session:
        task = first_task(session)
        recording = session.get_one(Recording, standing_answers(session, [task])[task][1].recording_id)
    with context.db.write() as session:
        filler.transcript(session, recording.id, "a tin kettle", revision=2, user_id=recording.user_id)
    filler.caption(task)
    row = asking.rows(SET)[0]
    assert row["transcripts"][1] == "a tin kettle"
    assert row["caption_revision"] == 2
    assert row["transcript_origins"] == ["asr", "human"]
    assert row["transcript_models"] == ["whisper-tiny", "whisper-tiny"]
    assert row["word_times"][1][0] == {"text": "a", "start": 0.0, "end": 0.4, "confidence": None}
    assert row["transcript_used"] == [True, False]
    assert [str(day) for day in row["annotated_on"]] == ["2026-03-01", "2026-03-02"]
    assert row["consent_versions"] == ["2026-01", "2026-01"]
    assert row["durations"] == [61.5, 61.5]
    assert row["voiced_seconds"] == [48.25, 48.25]
    assert row["steps"] == [
        made("audio_sha256[0]", "human", saw=True),
        made("transcripts[0]", "asr", "whisper-tiny", "abc123", saw=False),
        made("audio_sha256[1]", "human", saw=True),
        made("transcripts[1]", "asr", "whisper-tiny", "abc123", saw=False),
        made("transcripts[1]", "human", saw=True),
        made("caption", "script", saw=False),
    ]


def test_a_correction_after_the_caption_waits_for_the_next_caption(asking: Asking, filler: Filler) -> None:
    before = asking.rows(SET)
    with asking.context.db.write() as session:
        recording = session.scalars(select(Recording)).first()
        assert recording is not None
        filler.transcript(session, recording.id, "something else", revision=2, user_id=recording.user_id)
    assert asking.rows(SET) == before


def test_the_newest_revision_of_a_caption_counts(asking: Asking) -> None:
    with asking.context.db.read() as session:
        task = first_task(session)
    corrected(asking.context, task)
    assert ["dark red" in row["caption"] for row in asking.rows(SET)] == [True, *[False] * (IMAGES - 1)]


def test_a_caption_of_a_withdrawn_answer_is_left_out(asking: Asking, filler: Filler) -> None:
    with asking.context.db.write() as session:
        slot = session.scalars(select(Slot).order_by(Slot.id)).first()
        assert slot is not None
        filler.event(session, slot, TaskAction.undone, {})
    assert [row["row_id"] for row in asking.rows(SET)] == [3, 5, 7, 9]
    assert asking.left_out == {"withdrawn": 1}


def test_what_was_taken_down_is_left_out(asking: Asking, filler: Filler) -> None:
    described(filler)
    assigned(asking)
    with asking.context.db.read() as session:
        image = session.scalars(select(Image.id).order_by(Image.id)).first() or ""
        person = session.scalars(select(User.id).where(User.display_name == "person 50")).one()
    asking.take_down(Subject.image, image)
    asking.take_down(Subject.annotator, person)
    assert [row["row_id"] for row in asking.rows(SET)] == [3, 5, 7, 9]
    assert asking.left_out == {"taken_down": 2}


def test_an_image_without_a_split_is_left_out(asking: Asking) -> None:
    with asking.context.db.write() as session:
        session.execute(update(ImageSplit).values(split="withheld"))
    assert asking.rows(SET) == []
    assert asking.left_out == {"withheld": IMAGES}


def test_one_campaign_only(asking: Asking, filler: Filler) -> None:
    described(filler)
    assigned(asking)
    with asking.context.db.read() as session:
        campaign = session.scalars(select(Task.campaign_id).order_by(Task.id.desc())).first()
    assert [row["campaign"] for row in asking.rows(SET, campaign=campaign)] == ["other"]
    assert (asking.count(SET), asking.count(SET, campaign=campaign)) == (IMAGES + 1, 1)


def test_finished_tasks_without_a_caption_are_counted(asking: Asking, filler: Filler) -> None:
    filler.task(filler.campaign("other", overlap=1), filler.image(50), filler.people(["late"]), SAID[:1])
    with asking.context.db.read() as session:
        assert waiting(Reading(session, b"", lambda row: ("", ""))) == 1
    assert asking.count(SET) == IMAGES


def test_a_plain_page_reads_what_is_published_alone(asking: Asking) -> None:
    rows = asking.rows(SET, enriched=False)
    assert set(rows[0]) == {
        "image_url", "image_sha256", "split", "caption", "transcripts", "row_id", "annotators", "original_sha256"
    }  # fmt: skip
    whole = asking.rows(SET)
    assert rows == [{name: row[name] for name in rows[0]} for row in whole]


@pytest.mark.parametrize(
    ("model", "values"),
    [(Caption, {"text": " \n"}), (Transcript, {"text": ""})],
)
def test_an_empty_text_is_named_by_its_row(asking: Asking, model: Any, values: dict[str, str]) -> None:
    with asking.context.db.write() as session:
        session.execute(update(model).values(**values))
    with pytest.raises(RowInvalid, match=r"Row 1 has an empty caption or transcript\. Redo its task"):
        asking.rows(SET)


@pytest.mark.parametrize("change", [{}, {"image": None}, {"image": {"sha256": "0" * 64}}, {"caption": "text"}])
def test_a_receipt_about_something_else_stops_it(asking: Asking, change: dict[str, Any]) -> None:
    with asking.context.db.write() as session:
        caption = session.scalars(select(Caption).order_by(Caption.id.desc())).first()
        assert caption is not None
        receipt = {**caption.receipt, **change} if change else {}
        session.execute(update(Caption).where(Caption.id == caption.id).values(receipt=receipt))
    with pytest.raises(ReceiptInvalid, match=r"Row \d: the receipt is about another image or caption"):
        asking.rows(SET)
    assert len(asking.rows(SET, enriched=False)) == IMAGES
