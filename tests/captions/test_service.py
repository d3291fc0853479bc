import hashlib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pipelines import cap
from pixmo.captions import receipt
from pixmo.captions.answers import standing_answers
from pixmo.captions.models import Caption, CaptionMethod
from pixmo.captions.service import (
    NothingSaid,
    TakeDamaged,
    caption_due,
    is_final,
    latest_caption,
    latest_captions,
    run_caption,
)  # fmt: skip
from pixmo.context import Context
from pixmo.errors import Conflict, PixmoError
from pixmo.language.models import LlmCall
from pixmo.language.schemas import PictureRefused
from pixmo.language.service import LanguageFailed, LanguageUnavailable
from pixmo.recordings.models import Recording
from pixmo.tasks.models import Slot, SlotState, TaskAction
from pixmo.transcripts.models import Transcript
from tests.export.filling import SAID, Filler
from tests.language.endpoint import Reply, answer, serve


class Kitchen(Filler):
    """One image, described by two people, not captioned yet."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.persons = self.people()
        campaign = self.campaign()
        self.task_id = self.task(campaign, self.image(1), self.persons[:2], SAID)

    def run(self, **settings: Any) -> Caption | None:
        context = self.context
        return run_caption(
            context.db, context.storage, context.settings.model_copy(update=settings), self.task_id
        )  # fmt: skip

    def recordings(self) -> list[str]:
        with self.context.db.read() as session:
            return [answer.recording_id for answer in standing_answers(session, [self.task_id])[self.task_id]]

    def withdraw(self, number: int = 0) -> None:
        with self.context.db.write() as session:
            slot = session.scalars(select(Slot).where(Slot.task_id == self.task_id, Slot.number == number)).one()
            slot.state = SlotState.leased
            self.event(session, slot, TaskAction.undone, {})

    def submit_again(self, number: int = 0) -> None:
        with self.context.db.write() as session:
            slot = session.scalars(select(Slot).where(Slot.task_id == self.task_id, Slot.number == number)).one()
            slot.state = SlotState.submitted
            recording = session.scalars(select(Recording.id).where(Recording.slot_id == slot.id)).one()
            self.event(session, slot, TaskAction.submitted, {"recording_id": recording, "transcript_id": None})

    def correct(self, number: int, text: str) -> None:
        recording = self.recordings()[number]
        with self.context.db.write() as session:
            self.transcript(session, recording, text, revision=2, user_id=self.persons[number])

    def due(self) -> bool:
        with self.context.db.read() as session:
            return caption_due(session, self.task_id)

    def captions(self) -> list[Caption]:
        with self.context.db.read() as session:
            return list(session.scalars(select(Caption).order_by(Caption.revision)))


@pytest.fixture
def kitchen(context: Context) -> Kitchen:
    return Kitchen(context)


def test_without_a_language_model_the_richest_transcript_is_tidied(kitchen: Kitchen) -> None:
    caption = kitchen.run()
    assert caption is not None
    assert caption.text == "There is a red kettle on the stove and two blue cups, next to it."
    assert (caption.method, caption.prompt, caption.revision, caption.flags) == (CaptionMethod.tidy, None, 1, [])
    assert len(caption.transcript_ids) == 2
    assert [take["used"] for take in caption.receipt["takes"]] == [True, False]


def test_the_receipt_chains_every_step(kitchen: Kitchen) -> None:
    kitchen.correct(1, "a kettle that is red stands on a black stove")
    caption = kitchen.run()
    assert caption is not None
    signed = caption.receipt
    key = receipt.server_key(kitchen.context.settings)
    receipt.verify(
        signed,
        signer=receipt.key_id(key.public_key()),
        image_sha256=signed["image"]["sha256"],
        caption=caption.text,
    )
    for take in signed["takes"]:
        data = kitchen.context.storage.read("audio", take["audio_sha256"])
        for chunk in take["chunks"]:
            piece, data = data[: chunk["bytes"]], data[chunk["bytes"] :]
            assert hashlib.sha256(piece).hexdigest() == chunk["sha256"]
        assert data == b""
    asr, human = signed["takes"][1]["transcripts"]
    assert (asr["origin"], asr["model"], asr["sha256"]) == ("asr", "whisper-tiny", receipt.sha256(SAID[1]))
    assert (human["origin"], human["model"]) == ("human", None)
    assert human["sha256"] == receipt.sha256("a kettle that is red stands on a black stove")
    assert signed["caption"] == {
        "revision": 1, "method": "tidy", "prompt": None, "sha256": receipt.sha256(caption.text)
    }  # fmt: skip


def test_a_receipt_tells_no_time_of_day(kitchen: Kitchen) -> None:
    caption = kitchen.run()
    assert caption is not None
    ids = [caption.id, caption.task_id, *caption.transcript_ids, *kitchen.recordings(), *kitchen.persons]
    assert not [id_ for id_ in ids if id_ in str(caption.receipt)]


def test_running_again_gives_no_new_revision(kitchen: Kitchen) -> None:
    first, second = kitchen.run(), kitchen.run()
    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert len(kitchen.captions()) == 1


def test_a_correction_gives_a_new_revision(kitchen: Kitchen) -> None:
    kitchen.run()
    kitchen.correct(0, "There is a red kettle and three blue cups and a spoon and a towel on the stove.")
    caption = kitchen.run()
    assert caption is not None
    assert caption.revision == 2
    assert "towel" in caption.text
    assert [one.revision for one in kitchen.captions()] == [1, 2]


def test_a_task_is_due_when_every_slot_is_submitted_and_transcribed(kitchen: Kitchen) -> None:
    assert kitchen.due()
    kitchen.withdraw()
    assert not kitchen.due()
    assert kitchen.run() is None
    kitchen.submit_again()
    assert kitchen.due()
    with kitchen.context.db.write() as session:
        for transcript in session.scalars(select(Transcript).where(Transcript.recording_id == kitchen.recordings()[0])):
            session.delete(transcript)
    assert not kitchen.due()
    assert kitchen.run() is None


def test_an_unknown_task_is_not_due(context: Context) -> None:
    with context.db.read() as session:
        assert not caption_due(session, "nothing")
    assert run_caption(context.db, context.storage, context.settings, "nothing") is None


def test_a_silent_take_is_left_out(kitchen: Kitchen) -> None:
    kitchen.correct(0, "  ")
    caption = kitchen.run()
    assert caption is not None
    assert caption.text == "A kettle that is red stands on a black stove with three knobs."
    assert len(caption.transcript_ids) == 1


@pytest.mark.parametrize("text", ["", "um, uh"])
def test_nothing_said_is_an_error_that_no_retry_cures(kitchen: Kitchen, text: str) -> None:
    kitchen.correct(0, text)
    kitchen.correct(1, text)
    with pytest.raises(NothingSaid):
        kitchen.run()
    assert kitchen.captions() == []


def test_damaged_audio_is_not_signed(kitchen: Kitchen) -> None:
    with kitchen.context.db.read() as session:
        recording = session.get_one(Recording, kitchen.recordings()[0])
    path = kitchen.context.storage.path("audio", recording.audio_sha256 or "")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(TakeDamaged, match=recording.id):
        kitchen.run()


def test_a_pipeline_file_of_ones_own_makes_the_caption(kitchen: Kitchen, tmp_path: Path) -> None:
    file = tmp_path / "my_cap.py"
    file.write_text(Path(cap.__file__).read_text("utf-8").replace("richest(tidied, language)", "1"), "utf-8")
    context = kitchen.context
    caption = run_caption(context.db, context.storage, context.settings, kitchen.task_id, recipe=file)
    assert caption is not None
    assert caption.text == "A kettle that is red stands on a black stove with three knobs."


def test_a_language_model_merges_all_transcripts(kitchen: Kitchen) -> None:
    with serve(answer("A red kettle stands on a black stove beside seven blue cups.")) as endpoint:
        caption = kitchen.run(llm_base_url=endpoint.url, llm_model="small-1")
        again = kitchen.run(llm_base_url=endpoint.url, llm_model="small-1")
    assert caption is not None
    assert again is not None
    assert again.id == caption.id
    assert len(endpoint.requests) == 1
    assert (caption.method, caption.prompt) == (CaptionMethod.llm, "cap-merge-v1")
    assert caption.flags == [{"kind": "added_number", "token": "seven", "sentence": 0}]
    with kitchen.context.db.read() as session:
        (call,) = session.scalars(select(LlmCall))
    assert caption.llm_call_ids == [call.id]
    assert (call.subject_id, call.purpose) == (kitchen.task_id, "caption")
    assert all(text in call.messages[1]["content"] for text in SAID)
    (chained,) = caption.receipt["llm_calls"]
    assert chained["request_sha256"] == call.sha256
    assert chained["answer_sha256"] == receipt.sha256(call.answer or "")
    assert [take["used"] for take in caption.receipt["takes"]] == [True, True]


@pytest.mark.parametrize(
    ("error", "final"),
    [
        (NothingSaid("x"), True),
        (TakeDamaged("x"), True),
        (PictureRefused("x"), True),
        (LanguageUnavailable("x"), True),
        (LanguageFailed("x", retryable=False), True),
        (LanguageFailed("x", retryable=True), False),
        (Conflict("x"), False),
    ],
)
def test_which_errors_a_retry_cannot_cure(error: PixmoError, final: bool) -> None:
    assert is_final(error) is final


def test_a_transcript_that_carries_an_image_is_not_sent(kitchen: Kitchen) -> None:
    kitchen.correct(0, "see https://photos.example/kettle.jpg")
    with serve(answer("never")) as endpoint:
        with pytest.raises(PictureRefused, match="the address of an image"):
            kitchen.run(llm_base_url=endpoint.url, llm_model="small-1")
        assert endpoint.requests == []


def test_a_failing_language_model_leaves_nothing_but_its_record(kitchen: Kitchen) -> None:
    with serve(Reply(400, b"no")) as endpoint, pytest.raises(LanguageFailed):
        kitchen.run(llm_base_url=endpoint.url, llm_model="small-1")
    assert kitchen.captions() == []
    with kitchen.context.db.read() as session:
        assert len(session.scalars(select(LlmCall)).all()) == 1


def test_a_correction_during_the_call_is_not_lost(kitchen: Kitchen) -> None:
    def corrected_meanwhile(_: dict[str, Any]) -> Reply:
        kitchen.correct(0, "there is a green kettle")
        return answer("A red kettle.")

    with serve(corrected_meanwhile, answer("A green kettle.")) as endpoint:
        caption = kitchen.run(llm_base_url=endpoint.url, llm_model="small-1")
    assert caption is not None
    assert caption.text == "A green kettle."
    assert "green" in endpoint.requests[1]["messages"][1]["content"]
    assert [one.text for one in kitchen.captions()] == ["A green kettle."]


def test_an_answer_withdrawn_during_the_call_gives_no_caption(kitchen: Kitchen) -> None:
    def withdrawn_meanwhile(_: dict[str, Any]) -> Reply:
        kitchen.withdraw()
        return answer("A red kettle.")

    with serve(withdrawn_meanwhile) as endpoint:
        assert kitchen.run(llm_base_url=endpoint.url, llm_model="small-1") is None
    assert kitchen.captions() == []


def test_the_database_is_free_while_the_model_thinks(kitchen: Kitchen) -> None:
    def write_meanwhile(_: dict[str, Any]) -> Reply:
        kitchen.people(["another"])
        return answer("A red kettle.")

    with serve(write_meanwhile) as endpoint:
        assert kitchen.run(llm_base_url=endpoint.url, llm_model="small-1") is not None


def test_the_newest_captions_come_first_one_per_task(kitchen: Kitchen) -> None:
    kitchen.run()
    kitchen.correct(1, "a kettle, a stove, a window, a door, a lamp, a chair, a table and a cat")
    newest = kitchen.run()
    task_id = kitchen.task(kitchen.campaign("other", overlap=1), kitchen.image(2), kitchen.persons[:1], SAID[:1])
    kitchen.caption(task_id)
    assert newest is not None
    with kitchen.context.db.read() as session:
        rows = latest_captions(session, 10)
        assert [caption.task_id for caption, _ in rows] == [task_id, kitchen.task_id]
        assert rows[1][0].id == newest.id
        assert rows[1][1] == kitchen.recordings()
        assert len(latest_captions(session, 1)) == 1
        latest = latest_caption(session, kitchen.task_id)
    assert latest is not None
    assert latest.revision == 2
