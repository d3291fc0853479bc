"""Submitting a description: what must be there, and what it sets going."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from pixmo.campaigns import service as campaigns
from pixmo.context import Context
from pixmo.describe import service
from pixmo.describe.schemas import SubmitRequest
from pixmo.ids import new_id
from pixmo.jobs import Jobs, job_counts
from pixmo.recordings.models import Recording, RecordingState
from pixmo.recordings.service import NoSuchTake
from pixmo.tasks import service as tasks
from pixmo.tasks.models import TaskAction, TaskEvent
from pixmo.transcripts.models import Outcome, Transcript, TranscriptOrigin
from tests import fill

TEXT = "A red car stands before a bakery."


@dataclass
class Desk:
    """A store with one campaign; helpers for one annotator after another."""

    context: Context
    jobs: Jobs

    def lease(self, person: str) -> tasks.Lease:
        with self.context.db.write() as session:
            lease = tasks.next_lease(session, "street", person, [], timedelta(minutes=1))
        assert lease is not None
        return lease

    def take(self, person: str, lease: tasks.Lease, **changes: Any) -> str:
        """A finished take of 50 voiced seconds."""
        row = {
            "id": new_id(), "slot_id": lease.slot_id, "task_id": lease.task_id, "user_id": person,
            "fence": lease.fence, "state": RecordingState.finished, "mime": "audio/webm", "duration": 60.0,
            "voiced": 50.0,
        } | changes  # fmt: skip
        with self.context.db.write() as session:
            session.add(Recording(**row))
        return str(row["id"])

    def transcript(self, take: str, text: str = TEXT, outcome: Outcome = Outcome.ok, voiced: float = 50) -> str:
        with self.context.db.write() as session:
            transcript = Transcript(
                recording_id=take, revision=1, origin=TranscriptOrigin.asr, outcome=outcome, text=text, language="en",
                voiced=voiced,
            )  # fmt: skip
            session.add(transcript)
            session.flush()
            return transcript.id

    def submit(self, person: str, lease: tasks.Lease, take: str, text: str | None = None, **changes: Any) -> None:
        request = SubmitRequest.model_validate(
            {"fence": lease.fence, "submission_id": new_id(), "recording_id": take, "text": text} | changes
        )
        with self.context.db.write() as session:
            service.submit(session, self.jobs, self.context.settings, lease.slot_id, person, request)

    def captions_queued(self) -> int:
        with self.context.db.read() as session:
            return job_counts(session).get("caption", {}).get("queued", 0)

    def answers(self) -> list[dict[str, Any]]:
        with self.context.db.read() as session:
            events = select(TaskEvent.answer).where(TaskEvent.action == TaskAction.submitted).order_by(TaskEvent.id)
            return list(session.scalars(events))


@pytest.fixture
def desk(context: Context) -> Iterator[Desk]:
    jobs = Jobs(context.settings.database)
    yield Desk(context, jobs)
    jobs.close()


@pytest.fixture
def person(desk: Desk) -> str:
    """An annotator before a campaign that asks for 40 seconds and five words."""
    with desk.context.db.write() as session:
        fill.campaign(session, 2, min_voiced_seconds=40, min_words=5)
        return fill.people(session, 1)[0]


def test_a_submission_names_its_transcript_and_enqueues_the_caption(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    take = desk.take(person, lease)
    transcript = desk.transcript(take)
    desk.submit(person, lease, take, TEXT, covered=["q1", "q3"], elapsed_ms=70_000)
    assert desk.answers() == [
        {"recording_id": take, "transcript_id": transcript, "covered": ["q1", "q3"], "elapsed_ms": 70_000}
    ]
    assert desk.captions_queued() == 1


def test_a_correction_becomes_a_revision_of_its_own(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    take = desk.take(person, lease)
    desk.transcript(take)
    desk.submit(person, lease, take, TEXT.replace("bakery", "library"))
    with desk.context.db.read() as session:
        revisions = session.scalars(select(Transcript).order_by(Transcript.revision)).all()
    assert [revision.text for revision in revisions] == [TEXT, "A red car stands before a library."]
    assert revisions[1].origin is TranscriptOrigin.human
    assert revisions[1].user_id == person
    assert desk.answers()[0]["transcript_id"] == revisions[1].id


def test_white_space_is_no_correction(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    take = desk.take(person, lease)
    transcript = desk.transcript(take)
    desk.submit(person, lease, take, "  A red car\nstands before a bakery. ")
    assert desk.answers()[0]["transcript_id"] == transcript


def test_without_a_transcript_the_caption_waits(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    desk.submit(person, lease, desk.take(person, lease))
    assert desk.answers()[0]["transcript_id"] is None
    assert desk.captions_queued() == 0


def test_with_overlap_the_caption_waits_for_everybody(desk: Desk) -> None:
    with desk.context.db.write() as session:
        fill.campaign(session, 1, overlap=2)
        people = fill.people(session, 2)
    for number, person in enumerate(people):
        assert desk.captions_queued() == 0
        lease = desk.lease(person)
        take = desk.take(person, lease)
        desk.transcript(take)
        desk.submit(person, lease, take, f"{TEXT} Seen by {number}.")
    assert desk.captions_queued() == 1


@pytest.mark.parametrize(
    ("take", "heard", "text", "error"),
    [
        ({"state": RecordingState.open}, None, None, service.TakeNotFinished),
        ({"state": RecordingState.rejected}, None, None, service.TakeNotFinished),
        ({"state": RecordingState.discarded}, None, None, service.TakeNotFinished),
        ({"voiced": 20.0}, 20, None, service.TooShort),
        ({}, 50, "Too few words.", service.TooFewWords),
    ],
)
def test_what_is_not_accepted(
    desk: Desk, person: str, take: dict[str, Any], heard: float | None, text: str | None, error: type[Exception]
) -> None:
    lease = desk.lease(person)
    recording = desk.take(person, lease, **take)
    if heard is not None:
        desk.transcript(recording, voiced=heard)
    with pytest.raises(error):
        desk.submit(person, lease, recording, text)
    assert desk.answers() == []


def test_no_speech_is_not_accepted(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    take = desk.take(person, lease)
    desk.transcript(take, text="", outcome=Outcome.no_speech)
    with pytest.raises(service.NoSpeech):
        desk.submit(person, lease, take, "I typed all of this instead of speaking about it.")


def test_a_full_ring_is_never_refused_for_a_small_difference(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    take = desk.take(person, lease, voiced=35.0)
    desk.transcript(take, voiced=34)
    desk.submit(person, lease, take, TEXT)
    assert len(desk.answers()) == 1


def test_a_take_of_another_task_or_person_is_not_accepted(desk: Desk, person: str) -> None:
    with desk.context.db.write() as session:
        other = fill.people(session, 1)[0]
    lease, elsewhere = desk.lease(person), desk.lease(other)
    take = desk.take(other, elsewhere)
    desk.transcript(take)
    with pytest.raises(NoSuchTake):
        desk.submit(person, lease, take, TEXT)


def test_the_page_gets_its_take_back_with_the_lease(desk: Desk, person: str) -> None:
    lease = desk.lease(person)
    take = desk.take(person, lease)
    again = desk.lease(person)
    with desk.context.db.read() as session:
        view = service.assignment_view(session, desk.context.settings, again, person)
        assert campaigns.by_name(session, "street").name == view.campaign
    assert view.recording is not None
    assert view.recording.id == take
    assert view.image.url == f"/api/images/{again.image['web_sha256']}"
