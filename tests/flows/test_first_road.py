"""The first road without a browser: invite, next, take, transcript, correction, caption, undo."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from sqlalchemy import select, update

from pixmo.campaigns.models import Campaign
from pixmo.captions.models import Caption
from pixmo.jobs import WorkerProcess, wait_for_jobs
from pixmo.recordings.models import Recording
from pixmo.transcripts.models import Transcript, TranscriptOrigin
from tests.page import SPEECH, Page
from tests.server import LiveServer

TAKE = (SPEECH / "short" / "01_kitchen.joe.webm").read_bytes()


Join = Callable[[LiveServer], Page]


def until(ask: Callable[[], Any], seconds: float = 180) -> Any:
    end = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)
    return answer


def ease(server: LiveServer) -> None:
    """Ask for little speech, so that short takes will do."""
    with server.context() as context, context.db.write() as session:
        session.execute(update(Campaign).values(min_voiced_seconds=3, min_words=3))


@pytest.fixture
def join() -> Iterator[Join]:
    """Sign somebody in as an annotator."""
    with ExitStack() as stack:
        yield lambda server: stack.enter_context(Page(server.url, server.invite()))


def transcribed(page: Page, take: str) -> Any:
    def ask() -> Any:
        view = page.get(f"/api/recordings/{take}")
        return view if view["transcription"]["state"] in ("done", "parked") else None

    return until(ask)


def test_speak_correct_submit_and_undo(live_server: LiveServer, join: Join) -> None:
    ease(live_server)
    page = join(live_server)
    campaign = page.get("/api/campaigns/demo")
    assert len(campaign["questions"]) == 7
    assignment = page.next()
    assert assignment is not None
    image = page.client.get(assignment["image"]["url"])
    assert image.headers["content-type"] == "image/jpeg"
    take = page.record(assignment, TAKE)
    view = transcribed(page, take)
    assert view["transcription"]["outcome"] == "ok"
    assert "kitchen" in view["transcript"]["text"].lower()
    assert all(word["end"] <= view["duration_s"] + 0.5 for word in view["transcript"]["words"])
    sound = page.client.get(view["audio_url"], headers={"Range": "bytes=0-99"})
    assert (sound.status_code, len(sound.content)) == (206, 100)

    corrected = view["transcript"]["text"] + " And a green bottle."
    page.submit(assignment, take, corrected)
    with live_server.context() as context:
        assert wait_for_jobs(context, seconds=120)["caption"] == {"done": 1}
        with context.db.read() as session:
            revisions = session.scalars(select(Transcript).order_by(Transcript.revision)).all()
            caption = session.scalars(select(Caption)).one()
        assert [revision.origin for revision in revisions] == [TranscriptOrigin.asr, TranscriptOrigin.human]
        assert "green bottle" in caption.text
        assert caption.transcript_ids == [revisions[1].id]

        reopened = page.post(f"/api/assignments/{assignment['id']}/undo")
        assert reopened["recording"]["id"] == take
        assert reopened["recording"]["transcript"]["text"] == corrected
        page.submit(reopened, take, corrected.replace("green", "blue"))
        wait_for_jobs(context, seconds=120)
        with context.db.read() as session:
            newest = session.scalars(select(Caption).order_by(Caption.revision.desc())).first()
        assert newest is not None
        assert newest.revision == 2
        assert "blue bottle" in newest.text


def test_submitting_without_waiting_still_gets_a_caption(server: LiveServer, join: Join) -> None:
    server.workers = 0
    server.start()
    ease(server)
    page = join(server)
    assignment = page.next()
    assert assignment is not None
    take = page.record(assignment, TAKE)
    page.submit(assignment, take, None)
    server.kill()
    server.workers = 1
    server.start()
    with server.context() as context:
        counts = until(lambda: (c := wait_for_jobs(context, seconds=120)).get("caption") and c)
        assert counts == {"transcribe": {"done": 1}, "caption": {"done": 1}}
        with context.db.read() as session:
            assert "kitchen" in session.scalars(select(Caption.text)).one().lower()


def test_server_killed_between_chunk_and_finish(live_server: LiveServer, join: Join) -> None:
    ease(live_server)
    page = join(live_server)
    assignment = page.next()
    assert assignment is not None
    take = page.start_take(assignment)
    page.send(take, TAKE, last=2)
    live_server.kill()
    live_server.start()
    resumed = page.next()
    assert resumed is not None
    assert (resumed["id"], resumed["fence"]) == (assignment["id"], assignment["fence"])
    assert resumed["recording"]["next_seq"] == 2
    count = page.send(take, TAKE, first=resumed["recording"]["next_seq"])
    live_server.kill()
    live_server.start()
    assert page.finish(take, TAKE, count).is_success
    assert transcribed(page, take)["transcription"]["state"] == "done"


def test_worker_killed_while_it_transcribes(live_server: LiveServer, join: Join) -> None:
    ease(live_server)
    page = join(live_server)
    assignment = page.next()
    assert assignment is not None
    take = page.record(assignment, (SPEECH / "01_kitchen.joe.webm").read_bytes())
    until(lambda: page.get(f"/api/recordings/{take}")["transcription"]["state"] == "running")
    with live_server.context() as context:
        with context.db.read() as session:
            worker = session.scalars(select(WorkerProcess)).one()
        os.kill(worker.pid, signal.SIGKILL)
        view = transcribed(page, take)
        assert view["transcription"]["state"] == "done"
        assert view["transcription"]["attempts"] >= 2
        with context.db.read() as session:
            assert len(session.scalars(select(Transcript)).all()) == 1
            assert len(session.scalars(select(WorkerProcess)).all()) == 2


def test_unusable_takes_say_why_and_can_be_spoken_again(live_server: LiveServer, join: Join) -> None:
    ease(live_server)
    page = join(live_server)
    assignment = page.next()
    assert assignment is not None
    bad = (SPEECH / "bad" / "html.webm").read_bytes()
    take = page.start_take(assignment)
    reply = page.finish(take, bad, page.send(take, bad))
    assert (reply.status_code, reply.json()["code"], reply.json()["reason"]) == (422, "take_rejected", "not_audio")
    page.post(f"/api/recordings/{take}/discard")

    music = page.record(assignment, (SPEECH / "bad" / "music40.webm").read_bytes())
    view = transcribed(page, music)
    assert view["transcription"]["outcome"] == "no_speech"
    refused = page.client.post(
        f"/api/assignments/{assignment['id']}/submit", json=page.submission(assignment, music, None)
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "no_speech")
    page.post(f"/api/recordings/{music}/discard")

    good = page.record(assignment, TAKE)
    page.submit(assignment, good, transcribed(page, good)["transcript"]["text"])
    with live_server.context() as context, context.db.read() as session:
        assert len(session.scalars(select(Recording)).all()) == 3
