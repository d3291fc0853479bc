"""Leases: nobody gets what somebody else has, nothing is answered twice, nothing is lost."""

import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from sqlalchemy.dialects import sqlite

from pixmo.campaigns import service as campaigns
from pixmo.campaigns.models import CampaignStatus
from pixmo.database import Database
from pixmo.ids import new_id
from pixmo.images.models import Image
from pixmo.tasks import service as tasks
from pixmo.tasks.models import Slot, SlotState, TaskAction, TaskEvent
from tests import fill

MINUTE = timedelta(minutes=1)
ENDED = timedelta(seconds=-1)


def lease(db: Database, person: str, hold: list[str] | None = None, term: timedelta = MINUTE) -> tasks.Lease | None:
    with db.write() as session:
        return tasks.next_lease(session, "street", person, hold or [], term)


def submit(db: Database, person: str, held: tasks.Lease, submission: str | None = None) -> bool:
    with db.write() as session:
        return tasks.submit(session, held.slot_id, person, held.fence, submission or new_id(), {"by": person})


@pytest.fixture
def pair(db: Database) -> list[str]:
    """Two people before one campaign of three images."""
    with db.write() as session:
        fill.campaign(session, 3)
        return fill.people(session, 2)


def test_32_annotators_share_without_overlap_loss_or_repetition(db: Database) -> None:
    overlap, number, crowd = 3, 40, 32
    with db.write() as session:
        fill.campaign(session, number, overlap=overlap)
        annotators = fill.people(session, crowd)
    barrier = threading.Barrier(crowd)
    acknowledged: list[tuple[str, str]] = []

    def work(person: str) -> None:
        chance = random.Random(person)
        barrier.wait()
        while (held := lease(db, person)) is not None:
            if chance.random() < 0.1:
                with db.write() as session:
                    tasks.skip(session, held.slot_id, person, held.fence, "other", None)
                continue
            submission = new_id()
            for _ in range(2 if chance.random() < 0.3 else 1):  # a page that sends again
                submit(db, person, held, submission)
            acknowledged.append((held.task_id, person))

    with ThreadPoolExecutor(crowd) as pool:
        for future in [pool.submit(work, person) for person in annotators]:
            future.result()

    with db.read() as session:
        answered = session.execute(select(Slot.task_id, Slot.user_id).where(Slot.state == SlotState.submitted)).all()
        events = session.scalar(select(func.count()).where(TaskEvent.action == TaskAction.submitted))
    per_task = Counter(task_id for task_id, _ in answered)
    assert len(per_task) == number
    assert set(per_task.values()) == {overlap}, "over- or under-annotated"
    assert len({tuple(row) for row in answered}) == len(answered), "one person answered a task twice"
    assert sorted(acknowledged) == sorted(tuple(row) for row in answered), "an acknowledged answer is missing"
    assert events == overlap * number


def test_two_people_never_hold_the_same_slot(db: Database, pair: list[str]) -> None:
    first, second = lease(db, pair[0]), lease(db, pair[1])
    assert first is not None
    assert second is not None
    assert first.task_id != second.task_id


def test_reload_returns_what_is_held(db: Database, pair: list[str]) -> None:
    first = lease(db, pair[0])
    assert first is not None
    again = lease(db, pair[0])
    assert again is not None
    assert (again.slot_id, again.fence, again.new) == (first.slot_id, first.fence, False)
    assert again.image == first.image


def test_prefetch_gets_another_one_up_to_a_limit(db: Database, pair: list[str]) -> None:
    hold: list[str] = []
    for _ in range(3):
        held = lease(db, pair[0], hold)
        assert held is not None
        assert held.slot_id not in hold
        hold.append(held.slot_id)
    assert lease(db, pair[0], hold) is None


def test_a_lease_that_ended_goes_to_the_next_person_and_the_first_is_told(db: Database, pair: list[str]) -> None:
    late = lease(db, pair[0], term=ENDED)
    assert late is not None
    with db.write() as session:
        assert tasks.expire(session) == 1
    taken: list[tasks.Lease] = []
    while late.slot_id not in [held.slot_id for held in taken]:
        held = lease(db, pair[1], [held.slot_id for held in taken])
        assert held is not None
        taken.append(held)
    with pytest.raises(tasks.LeaseLost):
        submit(db, pair[0], late)
    assert submit(db, pair[1], taken[-1])


def test_a_late_answer_counts_if_nobody_else_has_the_task(db: Database, pair: list[str]) -> None:
    late = lease(db, pair[0], term=ENDED)
    assert late is not None
    with db.write() as session:
        tasks.expire(session)
    assert submit(db, pair[0], late)


def test_a_heartbeat_takes_an_ended_lease_up_again(db: Database, pair: list[str]) -> None:
    late = lease(db, pair[0], term=ENDED)
    assert late is not None
    with db.write() as session:
        tasks.expire(session)
        tasks.extend(session, late.slot_id, pair[0], late.fence, MINUTE)
    with db.write() as session:
        assert tasks.expire(session) == 0


def test_somebody_else_cannot_submit_skip_or_extend(db: Database, pair: list[str]) -> None:
    held = lease(db, pair[0])
    assert held is not None
    with pytest.raises(tasks.LeaseLost):
        submit(db, pair[1], held)
    with db.write() as session, pytest.raises(tasks.LeaseLost):
        tasks.skip(session, held.slot_id, pair[1], held.fence, "other", None)
    with db.write() as session, pytest.raises(tasks.LeaseLost):
        tasks.extend(session, held.slot_id, pair[1], held.fence, MINUTE)


def test_a_skipped_task_does_not_come_back_to_the_same_person(db: Database, pair: list[str]) -> None:
    seen = []
    while (held := lease(db, pair[0])) is not None:
        seen.append(held.task_id)
        with db.write() as session:
            tasks.skip(session, held.slot_id, pair[0], held.fence, "personal", "my own street")
            tasks.skip(session, held.slot_id, pair[0], held.fence, "personal", "my own street")
    assert len(seen) == len(set(seen)) == 3
    assert lease(db, pair[1]) is not None
    with db.read() as session:
        notes = session.scalars(select(TaskEvent.answer).where(TaskEvent.action == TaskAction.skipped)).all()
    assert notes == [{"reason": "personal", "note": "my own street"}] * 3


def test_submitting_twice_is_submitting_once(db: Database, pair: list[str]) -> None:
    held = lease(db, pair[0])
    assert held is not None
    assert submit(db, pair[0], held, "0" * 36)
    assert not submit(db, pair[0], held, "0" * 36)
    with pytest.raises(tasks.LeaseLost):
        submit(db, pair[0], held, "1" * 36)


def test_undo_reopens_only_the_last_submission(db: Database, pair: list[str]) -> None:
    first = lease(db, pair[0])
    assert first is not None
    submit(db, pair[0], first)
    second = lease(db, pair[0])
    assert second is not None
    submit(db, pair[0], second)
    with db.write() as session, pytest.raises(tasks.CannotUndo):
        tasks.undo(session, first.slot_id, pair[0], MINUTE, MINUTE)
    with db.write() as session:
        reopened = tasks.undo(session, second.slot_id, pair[0], MINUTE, MINUTE)
    assert reopened.slot_id == second.slot_id
    assert reopened.fence > second.fence
    with db.write() as session, pytest.raises(tasks.CannotUndo):
        tasks.undo(session, first.slot_id, pair[0], MINUTE, MINUTE)
    with pytest.raises(tasks.LeaseLost):
        submit(db, pair[0], second)
    assert submit(db, pair[0], reopened)


def test_undo_ends_after_a_while(db: Database, pair: list[str]) -> None:
    held = lease(db, pair[0])
    assert held is not None
    submit(db, pair[0], held)
    with db.write() as session, pytest.raises(tasks.CannotUndo):
        tasks.undo(session, held.slot_id, pair[0], timedelta(0), MINUTE)


def test_a_paused_campaign_hands_out_nothing_but_takes_answers(db: Database, pair: list[str]) -> None:
    held = lease(db, pair[0])
    assert held is not None
    with db.write() as session:
        campaigns.set_status(session, "street", CampaignStatus.paused)
    assert lease(db, pair[1]) is None
    assert submit(db, pair[0], held)


def test_priority_comes_first(db: Database, pair: list[str]) -> None:
    with db.write() as session:
        other = campaigns.create(session, campaigns.CampaignDraft("urgent"))
        first, second, third = session.scalars(select(Image.id)).all()
        tasks.create(session, other, [first, second])
        tasks.create(session, other, [third], priority=1)
    with db.write() as session:
        held = tasks.next_lease(session, "urgent", pair[0], [], MINUTE)
    assert held is not None
    assert held.image["image_id"] == third


def test_adding_images_again_adds_only_new_ones(db: Database, pair: list[str]) -> None:
    with db.write() as session:
        campaign = campaigns.by_name(session, "street")
        assert tasks.create(session, campaign, session.scalars(select(Image.id))) == 0
        assert tasks.progress(session, campaign.id).total == 3


def test_progress_counts_for_all_and_for_one(db: Database, pair: list[str]) -> None:
    first = lease(db, pair[0])
    assert first is not None
    submit(db, pair[0], first)
    assert lease(db, pair[0]) is not None
    with db.read() as session:
        campaign = campaigns.by_name(session, "street")
        mine = tasks.progress(session, campaign.id, pair[0])
        other = tasks.progress(session, campaign.id, pair[1])
    assert (mine.total, mine.done, mine.in_progress, mine.open) == (3, 1, 1, 1)
    assert (mine.done_by_me, mine.remaining_for_me) == (1, 2)
    assert (other.done_by_me, other.remaining_for_me) == (0, 1)


def test_the_queue_is_found_by_index_whatever_its_length(db: Database, pair: list[str]) -> None:
    statement = tasks._offer.compile(dialect=sqlite.dialect())
    with db.read() as session:
        plan = session.connection().exec_driver_sql(
            f"EXPLAIN QUERY PLAN {statement}", tuple("x" for _ in statement.positiontup or ())
        )
        steps = [row[3] for row in plan]
    assert any("ix_slots_queue" in step for step in steps)
    assert not [step for step in steps if step.startswith("SCAN")]
