"""32 annotators at once against a real server, each speaking real takes: nothing shared wrongly, nothing lost."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from pixmo.campaigns import service as campaigns
from pixmo.images.models import Image
from pixmo.recordings.models import Recording, RecordingState
from pixmo.tasks import service as tasks
from pixmo.tasks.models import Slot, SlotState
from tests.page import SPEECH, Page
from tests.server import LiveServer

CROWD, OVERLAP = 32, 3
TAKE = (SPEECH / "short" / "02_street.joe.webm").read_bytes()


def test_32_annotators_speak_at_once(server: LiveServer) -> None:
    server.workers = 0
    with server.context() as context, context.db.write() as session:
        draft = campaigns.CampaignDraft("crowd", overlap=OVERLAP, min_voiced_seconds=1, min_words=1)
        images = session.scalars(select(Image.id)).all()
        tasks.create(session, campaigns.create(session, draft), images)
    server.start()
    invites = [server.invite() for _ in range(CROWD)]

    def work(invite: str) -> list[tuple[str, str, str]]:
        done = []
        with Page(server.url, invite) as page:
            while (assignment := page.next("crowd")) is not None:
                take = page.record(assignment, TAKE)
                submission = page.submission(assignment, take, None)
                for _ in range(2):  # a page that sends again
                    page.post(f"/api/assignments/{assignment['id']}/submit", submission)
                done.append((assignment["task_id"], page.me["user"]["id"], take))
        return done

    with ThreadPoolExecutor(CROWD) as pool:
        acknowledged = [entry for entries in pool.map(work, invites) for entry in entries]

    with server.context() as context, context.db.read() as session:
        slots = session.scalars(select(Slot).where(Slot.state == SlotState.submitted)).all()
        stored = [slot for slot in slots if slot.user_id is not None]
        takes = session.scalars(select(Recording).where(Recording.state == RecordingState.finished)).all()
        campaign = campaigns.by_name(session, "crowd")
        progress = tasks.progress(session, campaign.id)
    assert progress.done == progress.total == len(images)
    assert set(Counter(slot.task_id for slot in stored).values()) == {OVERLAP}
    assert sorted((task, person) for task, person, _ in acknowledged) == sorted(
        (slot.task_id, slot.user_id) for slot in stored
    )
    assert {take for *_, take in acknowledged} == {take.id for take in takes}
    assert {take.byte_size for take in takes} == {len(TAKE)}
