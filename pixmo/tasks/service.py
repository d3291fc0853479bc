"""Who does what next. Every function here is one short transaction of the caller's.

Reads and writes `slots`, appends to `task_events`. A lease names its holder, ends at `expires_at` unless a heartbeat
moves that, and carries a fencing token: whoever answers with an old token learns that the lease is lost. A slot that
expired stays free for its last holder to answer late, until somebody else takes it.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    union_all,
    update,
)  # fmt: skip

from pixmo.campaigns.models import Campaign, CampaignStatus
from pixmo.clock import now
from pixmo.database import ReadSession, WriteSession, table
from pixmo.errors import Conflict, NotFound
from pixmo.ids import new_id
from pixmo.images.models import Image
from pixmo.tasks.models import Slot, SlotState, Task, TaskAction, TaskEvent

MAX_HELD = 3
CREATE_BATCH = 500

# Written out, not bound: only then does SQLite see that a partial index fits.
_OPEN: ColumnElement[SlotState] = literal_column("'open'")
_LEASED: ColumnElement[SlotState] = literal_column("'leased'")
_SKIPPED: ColumnElement[TaskAction] = literal_column("'skipped'")


class LeaseLost(Conflict):
    code = "lease_lost"
    title = "This task is no longer yours"

    def __init__(self) -> None:
        super().__init__("The task went back to the queue and somebody else has taken it. What you recorded is kept.")


class NoSuchAssignment(NotFound):
    code = "assignment_unknown"

    def __init__(self) -> None:
        super().__init__("There is no such assignment, or it is not yours.")


class CannotUndo(Conflict):
    code = "cannot_undo"

    def __init__(self) -> None:
        super().__init__("Only your last submission can be taken back, and only for a few minutes.")


@dataclass(frozen=True)
class Lease:
    """A slot that somebody holds, with the image to show; `image` has the keys that `_IMAGE` names.

    `new`: taken just now, not held before.
    """

    slot_id: str
    task_id: str
    campaign: str
    fence: int
    expires_at: datetime
    image: Mapping[str, Any]
    new: bool = False


# What runs between two images is built once, without the ORM: building costs more than running.
_slots, _tasks, _images, _events, _campaigns = map(table, (Slot, Task, Image, TaskEvent, Campaign))
_IMAGE = (
    _images.c.id.label("image_id"), _images.c.served_sha256, _images.c.web_sha256, _images.c.thumb_sha256,
    _images.c.width, _images.c.height, _images.c.attribution, _images.c.licence,
)  # fmt: skip


def create(
    session: WriteSession, campaign: Campaign, image_ids: Iterable[str], *, priority: int = 0, seed: int | None = None
) -> int:
    """Make a task for each image that has none in this campaign; returns how many were made.

    A higher `priority` comes first; within one the order is random (`seed` fixes it for tests).
    """
    shuffle = random.Random(seed)  # noqa: S311 - the order of work is no secret
    known = set(session.scalars(select(Task.image_id).where(Task.campaign_id == campaign.id)))
    fresh = [image_id for image_id in dict.fromkeys(image_ids) if image_id not in known]
    for start in range(0, len(fresh), CREATE_BATCH):
        tasks, slots = [], []
        for image_id in fresh[start : start + CREATE_BATCH]:
            task_id, rank = new_id(), shuffle.random() - priority
            tasks.append({"id": task_id, "campaign_id": campaign.id, "image_id": image_id})
            slots += [
                {"id": new_id(), "task_id": task_id, "campaign_id": campaign.id, "number": number, "rank": rank}
                for number in range(campaign.overlap)
            ]
        session.execute(insert(Task), tasks)
        session.execute(insert(Slot), slots)
    return len(fresh)


def _leases(condition: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return (
        select(
            _slots.c.id,
            _slots.c.task_id,
            _slots.c.state,
            _slots.c.fence,
            _slots.c.expires_at,
            _slots.c.leased_at,
            *_IMAGE,
        )
        .select_from(
            _slots.join(_tasks, _tasks.c.id == _slots.c.task_id).join(_images, _images.c.id == _tasks.c.image_id)
        )
        .where(condition)
    )


def _offer_statement() -> CompoundSelect[*tuple[Any, ...]]:
    """What the person holds, and the first open slot that they may have, in one statement."""
    free, other = _slots.alias(), _slots.alias()
    person: BindParameter[str] = bindparam("person")
    campaign = select(_campaigns.c.id).where(_campaigns.c.name == bindparam("campaign"))
    first = (
        select(free.c.id)
        .where(
            free.c.campaign_id == campaign.where(_campaigns.c.status == CampaignStatus.active).scalar_subquery(),
            free.c.state == _OPEN,
            ~exists().where(other.c.task_id == free.c.task_id, other.c.user_id == person, other.c.id != free.c.id),
            ~exists().where(
                _events.c.task_id == free.c.task_id, _events.c.user_id == person, _events.c.action == _SKIPPED
            ),
        )
        .order_by(free.c.rank, free.c.number)
        .limit(1)
    )
    mine = and_(
        _slots.c.user_id == person,
        _slots.c.campaign_id == campaign.scalar_subquery(),
        _slots.c.state == SlotState.leased,
    )
    return union_all(_leases(mine), _leases(_slots.c.id == first.scalar_subquery()))


_offer = _offer_statement()
_take = (
    update(_slots)
    .where(_slots.c.id == bindparam("slot"), _slots.c.fence == bindparam("seen"), _slots.c.state == SlotState.open)
    .values(
        state=SlotState.leased,
        user_id=bindparam("person"),
        fence=bindparam("next"),
        leased_at=bindparam("at"),
        expires_at=bindparam("until"),
    )
)
_mine = and_(
    _slots.c.id == bindparam("slot"),
    _slots.c.user_id == bindparam("person"),
    _slots.c.fence == bindparam("held"),
    _slots.c.state.in_([SlotState.leased, SlotState.open]),
)
_submit = (
    update(_slots)
    .where(_mine)
    .values(state=SlotState.submitted, submission_id=bindparam("submission"), expires_at=None)
    .returning(_slots.c.task_id, _slots.c.campaign_id)
)
_append_event = insert(_events)


def next_lease(
    session: WriteSession, campaign: str, person: str, hold: Sequence[str], lease: timedelta
) -> Lease | None:
    """The lease that the page does not know of yet, or a new one; None if nothing is left or too much is held.

    Returning what is held already is what brings a person back to their image after a reload. Nobody gets a task
    twice: not one they answered, nor one they skipped, nor two slots of the same one.
    """
    connection = session.connection()
    rows = connection.execute(_offer, {"person": person, "campaign": campaign}).all()
    mine = sorted((row for row in rows if row.state is SlotState.leased), key=lambda row: row.leased_at)
    for row in mine:
        if row.id not in hold:
            return _lease(campaign, row, row.fence, extend(session, row.id, person, row.fence, lease))
    free = next((row for row in rows if row.state is SlotState.open), None)
    if free is None or len(mine) >= MAX_HELD:
        return None
    at = now()
    claimed = connection.execute(
        _take,
        {"slot": free.id, "seen": free.fence, "person": person, "next": free.fence + 1, "at": at, "until": at + lease},
    )
    if claimed.rowcount == 0:
        return next_lease(session, campaign, person, hold, lease)
    return _lease(campaign, free, free.fence + 1, at + lease, new=True)


def _lease(campaign: str, row: Row[*tuple[Any, ...]], fence: int, expires_at: datetime, *, new: bool = False) -> Lease:
    image = {column.key: getattr(row, column.key) for column in _IMAGE}
    return Lease(row.id, row.task_id, campaign, fence, expires_at, image, new)


def extend(session: WriteSession, slot_id: str, person: str, fence: int, lease: timedelta) -> datetime:
    """Heartbeat: move the end of a lease to `lease` from now and return it. Raises `LeaseLost`.

    An expired slot that nobody took meanwhile is leased to its last holder again.
    """
    expires_at = session.scalar(
        update(Slot)
        .where(_is_mine(slot_id, person, fence))
        .values(state=SlotState.leased, expires_at=now() + lease)
        .returning(Slot.expires_at)
        .execution_options(synchronize_session=False)
    )
    if expires_at is None:
        raise LeaseLost
    return expires_at


def touch(session: WriteSession, slot_id: str, person: str, fence: int, minutes: float) -> None:
    """A heartbeat that does not mind a lost lease."""
    session.execute(
        update(Slot)
        .where(_is_mine(slot_id, person, fence), Slot.state == SlotState.leased)
        .values(expires_at=now() + timedelta(minutes=minutes))
        .execution_options(synchronize_session=False)
    )


def _is_mine(slot_id: str, person: str, fence: int) -> ColumnElement[bool]:
    return and_(
        Slot.id == slot_id,
        Slot.user_id == person,
        Slot.fence == fence,
        or_(Slot.state == SlotState.leased, Slot.state == SlotState.open),
    )


def submit(
    session: WriteSession, slot_id: str, person: str, fence: int, submission_id: str, answer: dict[str, Any]
) -> bool:
    """Record the answer. False if this very submission is recorded already. Raises `LeaseLost`."""
    row = (
        session.connection()
        .execute(_submit, {"slot": slot_id, "person": person, "held": fence, "submission": submission_id})
        .one_or_none()
    )
    if row is None:
        repeated = session.scalar(
            select(Slot.id).where(Slot.id == slot_id, Slot.user_id == person, Slot.submission_id == submission_id)
        )
        if repeated is None:
            raise LeaseLost
        return False
    _append(session, TaskAction.submitted, slot_id, row.task_id, row.campaign_id, person, fence, answer)
    return True


def skip(session: WriteSession, slot_id: str, person: str, fence: int, reason: str, note: str | None) -> None:
    """Give a task back with a reason; `person` will not see it again. Skipping twice is one skip."""
    row = session.execute(
        update(Slot)
        .where(_is_mine(slot_id, person, fence))
        .values(state=SlotState.open, user_id=None, expires_at=None)
        .returning(Slot.task_id, Slot.campaign_id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        repeated = exists().where(
            TaskEvent.slot_id == slot_id, TaskEvent.user_id == person, TaskEvent.fence == fence,
            TaskEvent.action == TaskAction.skipped,
        )  # fmt: skip
        if not session.scalar(select(repeated)):
            raise LeaseLost
        return
    answer = {"reason": reason} | ({"note": note} if note else {})
    _append(session, TaskAction.skipped, slot_id, row.task_id, row.campaign_id, person, fence, answer)


def last_submission(session: ReadSession | WriteSession, campaign: str, person: str) -> TaskEvent | None:
    """The submission that `undo` would take back, whatever its age."""
    event = session.scalar(
        select(TaskEvent)
        .join(Campaign, Campaign.id == TaskEvent.campaign_id)
        .where(
            TaskEvent.user_id == person,
            Campaign.name == campaign,
            TaskEvent.action.in_([TaskAction.submitted, TaskAction.undone]),
        )
        .order_by(TaskEvent.id.desc())
        .limit(1)
    )
    return event if event is not None and event.action is TaskAction.submitted else None


def undo(session: WriteSession, slot_id: str, person: str, within: timedelta, lease: timedelta) -> Lease:
    """Reopen the person's last submission with a new fencing token. Raises `CannotUndo`."""
    slot = assignment(session, slot_id, person)
    campaign = session.scalars(select(Campaign.name).where(Campaign.id == slot.campaign_id)).one()
    last = last_submission(session, campaign, person)
    if slot.state is not SlotState.submitted or last is None or last.slot_id != slot_id or last.at < now() - within:
        raise CannotUndo
    slot.state, slot.fence, slot.submission_id = SlotState.leased, slot.fence + 1, None
    slot.leased_at, slot.expires_at = now(), now() + lease
    session.flush()
    _append(session, TaskAction.undone, slot.id, slot.task_id, slot.campaign_id, person, slot.fence, {})
    row = session.execute(_leases(_slots.c.id == slot_id)).one()
    return _lease(campaign, row, slot.fence, now() + lease)


def assignment(session: ReadSession | WriteSession, slot_id: str, person: str) -> Slot:
    """The slot, if `person` is its present or last holder. Raises `NoSuchAssignment`."""
    slot = session.scalar(select(Slot).where(Slot.id == slot_id, Slot.user_id == person))
    if slot is None:
        raise NoSuchAssignment
    return slot


def expire(session: WriteSession) -> int:
    """Put every lease that has ended back into the queue; returns how many."""
    rows = session.execute(
        update(Slot)
        .where(Slot.state == _LEASED, Slot.expires_at < now())
        .values(state=SlotState.open)
        .returning(Slot.id, Slot.task_id, Slot.campaign_id, Slot.user_id, Slot.fence)
        .execution_options(synchronize_session=False)
    ).all()
    for row in rows:
        _append(session, TaskAction.expired, row.id, row.task_id, row.campaign_id, row.user_id, row.fence, {})
    return len(rows)


def _append(
    session: WriteSession, action: TaskAction, slot_id: str, task_id: str, campaign_id: str, person: str | None,
    fence: int, answer: dict[str, Any],
) -> None:  # fmt: skip
    session.connection().execute(
        _append_event,
        {
            "at": now(), "action": action, "slot_id": slot_id, "task_id": task_id, "campaign_id": campaign_id,
            "user_id": person, "fence": fence, "answer": answer,
        },
    )  # fmt: skip


@dataclass(frozen=True)
class Progress:
    """Numbers of one campaign. A task is done when nobody is to answer it any more."""

    total: int
    done: int
    in_progress: int
    open: int
    done_by_me: int
    remaining_for_me: int


def progress(session: ReadSession | WriteSession, campaign_id: str, person: str | None = None) -> Progress:
    """Counts by task; with `person`, also what they did and what is left for them."""
    per_task = (
        select(
            func.min(Slot.state.in_([SlotState.submitted, SlotState.closed])).label("done"),
            func.max(Slot.state != SlotState.open).label("touched"),
            func.max(Slot.state == SlotState.open).label("free"),
            func.coalesce(func.max(and_(Slot.user_id == person, Slot.state == SlotState.submitted)), 0).label("mine"),
            func.coalesce(func.max(and_(Slot.user_id == person, Slot.state == SlotState.leased)), 0).label("held"),
            Slot.task_id,
        )
        .where(Slot.campaign_id == campaign_id)
        .group_by(Slot.task_id)
        .subquery()
    )
    skipped = exists().where(
        TaskEvent.task_id == per_task.c.task_id, TaskEvent.user_id == person, TaskEvent.action == TaskAction.skipped
    )
    left = and_(or_(per_task.c.free == 1, per_task.c.held == 1), per_task.c.mine == 0, ~skipped)
    row = session.execute(
        select(
            func.count(),
            func.count().filter(per_task.c.done == 1),
            func.count().filter(and_(per_task.c.done == 0, per_task.c.touched == 1)),
            func.count().filter(per_task.c.touched == 0),
            func.count().filter(per_task.c.mine == 1),
            func.count().filter(left),
        ).select_from(per_task)
    ).one()
    return Progress(*row)
