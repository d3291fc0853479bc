"""What is taken down is asked about no more, and can be deleted for good."""

import pytest
from sqlalchemy import select

from pixmo.accounts.models import AuditEvent, User
from pixmo.context import Context
from pixmo.errors import NotFound
from pixmo.export.takedown import Erased, erase, patch, put_back, take_down
from pixmo.export.verification import verify
from pixmo.recordings.models import Recording
from pixmo.tasks.models import Slot, SlotState, Task
from pixmo.tasks.service import progress
from tests.export.filling import Filler
from tests.export.making import cap, images, rows


def open_slot(filler: Filler, image_id: str, state: SlotState = SlotState.open) -> str:
    """A place for one more answer about an image; its id."""
    campaign = filler.campaign("later", overlap=1)
    with filler.context.db.write() as session:
        task = Task(id=filler.id(), campaign_id=campaign, image_id=image_id)
        session.add(task)
        session.flush()
        session.add(
            Slot(id=(slot := filler.id()), task_id=task.id, campaign_id=campaign, number=0, rank=0.5, state=state)
        )
    return slot


def slot_state(context: Context, slot_id: str) -> SlotState:
    with context.db.read() as session:
        return session.get_one(Slot, slot_id).state


def blobs(context: Context, kind: str) -> set[str]:
    return {sha256 for sha256, _ in context.storage.walk(kind)}


@pytest.mark.parametrize("state", [SlotState.open, SlotState.leased])
def test_nobody_is_asked_about_an_image_that_was_taken_down(filled: Context, filler: Filler, state: SlotState) -> None:
    image = images(filled)[0]
    other = open_slot(filler, images(filled)[1].id)
    filler._number += 100
    with filled.db.write() as session:
        task = session.scalars(select(Task).where(Task.image_id == image.id)).one()
        session.add(
            Slot(
                id=(slot := filler.id()), task_id=task.id, campaign_id=task.campaign_id, number=7, rank=0.1, state=state
            )
        )
    mine = filler.people(["newcomer"])[0]
    with filled.db.read() as session:
        before = progress(session, task.campaign_id, mine)
    assert before.done == before.total - 1
    take_down(filled, "image", image.id)
    assert slot_state(filled, slot) is SlotState.closed
    assert slot_state(filled, other) is SlotState.open
    with filled.db.read() as session:
        now = progress(session, task.campaign_id, mine)
    assert (now.total, now.done, now.in_progress, now.open) == (before.total, before.total, 0, 0)
    with filled.db.read() as session:
        answered = session.scalars(select(Slot.state).where(Slot.task_id == task.id, Slot.id != slot)).all()
    assert set(answered) == {SlotState.submitted}
    put_back(filled, "image", image.id)
    assert slot_state(filled, slot) is SlotState.open


def test_an_erased_image_leaves_no_bytes_and_cannot_come_back(filled: Context) -> None:
    cap(filled)
    image, kept = images(filled)[:2]
    with pytest.raises(NotFound, match="Take it down first"):
        erase(filled, "image", image.id)
    take_down(filled, "image", image.id)
    before = blobs(filled, "images")
    assert erase(filled, "image", image.id) == 1
    assert before - blobs(filled, "images") == {image.served_sha256}
    assert kept.served_sha256 in blobs(filled, "images")
    assert erase(filled, "image", image.id) == 0
    with pytest.raises(Erased, match="was erased and cannot come back"):
        put_back(filled, "image", image.id)
    made = patch(filled, "cap@1.0.0").folder
    verify(made.path)
    assert image.sha256 not in {row["original_sha256"] for row in rows(made.path, "enriched")}
    with filled.db.read() as session:
        trail = session.scalars(select(AuditEvent).where(AuditEvent.action == "erased")).all()
    assert [(event.subject, event.subject_id, event.detail) for event in trail] == [("image", image.id, {"blobs": 1})]


def test_an_erased_person_leaves_no_recording_but_those_that_others_made_too(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        person = session.scalars(select(User).where(User.display_name == "one")).one()
        other = session.scalars(select(User).where(User.display_name == "two")).one()
        mine = session.scalars(select(Recording).where(Recording.user_id == person.id).order_by(Recording.id)).all()
        theirs = session.scalars(select(Recording).where(Recording.user_id == other.id).order_by(Recording.id)).all()
        theirs[0].audio_sha256 = mine[0].audio_sha256
        mine[1].playback_sha256 = filled.storage.put("playback", b"to hear again")
        expected = {recording.audio_sha256 for recording in mine[1:]}
        person_id = person.id
    before = blobs(filled, "audio")
    take_down(filled, "annotator", person_id)
    assert erase(filled, "annotator", person_id) == len(expected) + 1
    assert before - blobs(filled, "audio") == expected
    assert blobs(filled, "playback") == set()
    put_back(filled, "annotator", person_id)  # the texts are still there
    assert cap(filled).folder.manifest["left_out"] == {}
