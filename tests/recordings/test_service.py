"""Takes: every piece once and in order, nothing acknowledged lost, nothing unusable accepted."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, select, update

from pixmo.accounts.models import Consent
from pixmo.accounts.service import ConsentNeeded
from pixmo.context import Context
from pixmo.ids import new_id
from pixmo.jobs import Jobs, job_counts
from pixmo.recordings import service
from pixmo.recordings.audio import AudioRejected
from pixmo.recordings.models import Recording, RecordingState
from pixmo.recordings.schemas import FinishTake, StartTake
from pixmo.tasks import service as tasks
from tests import fill

SPEECH = Path(__file__).parent.parent / "data" / "speech"
TAKE = (SPEECH / "short" / "01_kitchen.joe.webm").read_bytes()
CHUNKS = [TAKE[start : start + 4000] for start in range(0, len(TAKE), 4000)]


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass
class Speaker:
    """A person with a task and a take that has begun."""

    context: Context
    jobs: Jobs
    person: str
    lease: tasks.Lease
    take: str

    def put(self, seq: int, data: bytes) -> int:
        return service.put_chunk(self.context, self.take, self.person, seq, digest(data), data)

    def put_all(self, data: bytes = TAKE) -> int:
        chunks = [data[start : start + 100_000] for start in range(0, len(data), 100_000)]
        for seq, chunk in enumerate(chunks):
            self.put(seq, chunk)
        return len(chunks)

    def finish(self, chunks: int, data: bytes = TAKE, duration_ms: float = 0, max_seconds: float = 600) -> None:
        claim = FinishTake(
            chunks=chunks, sha256=digest(data), bytes=len(data), duration_ms=duration_ms, voiced_ms=duration_ms
        )
        service.finish(self.context, self.jobs, self.take, self.person, claim, max_seconds)

    def row(self) -> Recording:
        with self.context.db.read() as session:
            return session.get_one(Recording, self.take)


@pytest.fixture
def speaker(context: Context) -> Iterator[Speaker]:
    with context.db.write() as session:
        fill.campaign(session, 1)
        person = fill.people(session, 1)[0]
        lease = tasks.next_lease(session, "street", person, [], timedelta(minutes=10))
        assert lease is not None
        take = StartTake(id=new_id(), fence=lease.fence, mime="audio/webm;codecs=opus")
        service.start(session, lease.slot_id, person, take)
    jobs = Jobs(context.settings.database)
    yield Speaker(context, jobs, person, lease, take.id)
    jobs.close()


def test_a_take_in_chunks_becomes_one_file_and_one_job(speaker: Speaker) -> None:
    for seq, chunk in enumerate(CHUNKS):
        assert speaker.put(seq, chunk) == seq + 1
    speaker.finish(len(CHUNKS), duration_ms=7000)
    speaker.finish(len(CHUNKS), duration_ms=7000)
    row = speaker.row()
    assert row.state is RecordingState.finished
    assert row.audio_sha256 == digest(TAKE)
    assert speaker.context.storage.read("audio", row.audio_sha256) == TAKE
    assert row.container == "webm"
    assert row.duration == pytest.approx(6.6, abs=1.5)
    assert row.voiced is not None
    assert 3 < row.voiced <= row.duration
    assert len(row.peaks) == 300
    assert row.playback_sha256 is not None
    with speaker.context.db.read() as session:
        assert job_counts(session) == {"transcribe": {"queued": 1}}


def test_the_same_chunk_again_is_fine_and_other_bytes_are_not(speaker: Speaker) -> None:
    speaker.put(0, CHUNKS[0])
    assert speaker.put(0, CHUNKS[0]) == 1
    with pytest.raises(service.ChunkDiffers):
        speaker.put(0, CHUNKS[1])


def test_gaps_and_swaps_are_refused(speaker: Speaker) -> None:
    speaker.put(0, CHUNKS[0])
    with pytest.raises(service.ChunkGap) as gap:
        speaker.put(2, CHUNKS[2])
    assert gap.value.extra == {"expected": 1}
    speaker.put(1, CHUNKS[2])
    speaker.put(2, CHUNKS[1])
    for seq in range(3, len(CHUNKS)):
        speaker.put(seq, CHUNKS[seq])
    with pytest.raises(service.Unprocessable, match="not the take"):
        speaker.finish(len(CHUNKS))
    assert speaker.row().state is RecordingState.open


def test_a_chunk_that_changed_on_the_way_is_refused(speaker: Speaker) -> None:
    with pytest.raises(service.ChunkCorrupt):
        service.put_chunk(speaker.context, speaker.take, speaker.person, 0, digest(CHUNKS[0]), CHUNKS[0] + b"!")
    with pytest.raises(service.ChunkCorrupt):
        speaker.put(0, b"")


def test_finishing_with_chunks_missing_says_which_comes_next(speaker: Speaker) -> None:
    speaker.put(0, CHUNKS[0])
    with pytest.raises(service.ChunkGap) as gap:
        speaker.finish(len(CHUNKS))
    assert gap.value.extra == {"expected": 1}


def test_nothing_is_added_to_a_finished_take(speaker: Speaker) -> None:
    count = speaker.put_all()
    speaker.finish(count)
    assert speaker.put(0, TAKE) == count
    with pytest.raises(service.TakeFinished):
        speaker.put(count, b"more")


def test_a_take_shorter_than_the_page_heard_is_truncated(speaker: Speaker) -> None:
    count = speaker.put_all()
    with pytest.raises(AudioRejected, match="end of the recording"):
        speaker.finish(count, duration_ms=20_000)
    row = speaker.row()
    assert (row.state, row.reject_reason) == (RecordingState.rejected, "truncated")
    with pytest.raises(AudioRejected, match="end of the recording"):
        speaker.finish(count, duration_ms=20_000)
    with speaker.context.db.read() as session:
        assert job_counts(session) == {}


def test_a_take_longer_than_the_campaign_allows(speaker: Speaker) -> None:
    count = speaker.put_all()
    with pytest.raises(AudioRejected, match="longer than"):
        speaker.finish(count, max_seconds=3)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("html.webm", "not_audio"),
        ("random.webm", "not_audio"),
        ("no_header.webm", "not_audio"),
        ("text.webm", "not_audio"),
        ("video_only.webm", "no_audio_stream"),
        ("header_only.webm", "too_short"),
        ("corrupt_middle.webm", "corrupt"),
        ("silence60.webm", "silent"),
    ],
)
def test_bad_bytes_are_kept_and_rejected_with_their_reason(speaker: Speaker, name: str, reason: str) -> None:
    data = (SPEECH / "bad" / name).read_bytes()
    count = speaker.put_all(data)
    with pytest.raises(AudioRejected) as rejected:
        speaker.finish(count, data)
    assert rejected.value.extra["reason"] == reason
    row = speaker.row()
    assert row.reject_reason == reason
    assert speaker.context.storage.read("audio", row.audio_sha256 or "") == data


def test_starting_twice_is_starting_once_and_needs_the_lease(speaker: Speaker) -> None:
    with speaker.context.db.write() as session:
        again = StartTake(id=speaker.take, fence=speaker.lease.fence, mime="audio/webm")
        recording, new = service.start(session, speaker.lease.slot_id, speaker.person, again)
        assert (recording.id, new) == (speaker.take, False)
        stale = StartTake(id=new_id(), fence=speaker.lease.fence + 1, mime="audio/webm")
        with pytest.raises(tasks.LeaseLost):
            service.start(session, speaker.lease.slot_id, speaker.person, stale)


def test_nobody_is_recorded_without_their_consent(speaker: Speaker) -> None:
    with speaker.context.db.write() as session:
        session.execute(update(Recording).values(consent_id=None))
        session.execute(delete(Consent))
    take = StartTake(id=new_id(), fence=speaker.lease.fence, mime="audio/webm")
    with speaker.context.db.write() as session, pytest.raises(ConsentNeeded):
        service.start(session, speaker.lease.slot_id, speaker.person, take)


def test_other_people_cannot_touch_a_take(speaker: Speaker) -> None:
    with speaker.context.db.write() as session:
        other = fill.people(session, 1)[0]
        take = StartTake(id=speaker.take, fence=speaker.lease.fence, mime="audio/webm")
        with pytest.raises(service.NoSuchTake):
            service.start(session, speaker.lease.slot_id, other, take)
    with pytest.raises(service.NoSuchTake):
        service.put_chunk(speaker.context, speaker.take, other, 0, digest(CHUNKS[0]), CHUNKS[0])


def test_speech_is_taken_even_after_the_lease_is_lost(speaker: Speaker) -> None:
    speaker.put(0, CHUNKS[0])
    with speaker.context.db.write() as session:
        slot = tasks.assignment(session, speaker.lease.slot_id, speaker.person)
        slot.user_id, slot.fence = fill.people(session, 1)[0], slot.fence + 1
    for seq, chunk in enumerate(CHUNKS):
        speaker.put(seq, chunk)
    speaker.finish(len(CHUNKS))
    assert speaker.row().state is RecordingState.finished


def test_the_sweep_removes_what_a_stored_take_holds_and_nothing_else(speaker: Speaker) -> None:
    for seq, chunk in enumerate(CHUNKS):
        speaker.put(seq, chunk)
    stray = speaker.context.storage.put("chunks", b"a chunk whose row was never written")
    at_once = timedelta(seconds=-1)
    assert service.sweep(speaker.context) == 0
    assert service.sweep(speaker.context, older_than=at_once) == 1
    assert not speaker.context.storage.exists("chunks", stray)
    speaker.finish(len(CHUNKS))
    assert service.sweep(speaker.context, older_than=at_once) == len(set(CHUNKS))
    assert speaker.context.storage.read("audio", speaker.row().audio_sha256 or "") == TAKE


def test_a_redone_take_is_put_aside_but_kept(speaker: Speaker) -> None:
    count = speaker.put_all()
    speaker.finish(count)
    with speaker.context.db.write() as session:
        service.discard(session, speaker.take, speaker.person)
    with speaker.context.db.read() as session:
        assert service.newest(session, speaker.lease.slot_id, speaker.person) is None
        kept = session.scalars(select(Recording)).one()
    assert speaker.context.storage.exists("audio", kept.audio_sha256 or "")
