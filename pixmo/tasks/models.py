"""Tasks and their slots: who does what next.

A task is one image in one campaign; it has as many slots as the campaign's overlap. A slot is taken by a lease: the
row then names the annotator, the time at which it falls back to the queue, and a fencing token that grows with every
lease, so that a late answer from a lost lease is recognised. What happened is appended to `task_events`.
"""

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import Enum, ForeignKey, Index, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base
from pixmo.ids import new_id


class SlotState(enum.StrEnum):
    """`closed`: nobody is to answer, because the image was taken down."""

    open = "open"
    leased = "leased"
    submitted = "submitted"
    closed = "closed"


class TaskAction(enum.StrEnum):
    submitted = "submitted"
    skipped = "skipped"
    undone = "undone"
    expired = "expired"


def _values(cls: type[enum.StrEnum]) -> Enum:
    return Enum(cls, native_enum=False, length=16, values_callable=lambda items: [item.value for item in items])


class Task(Base):
    """One image in one campaign."""

    __tablename__ = "tasks"
    __table_args__ = (UniqueConstraint("campaign_id", "image_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class Slot(Base):
    """One place for one annotator's answer to a task. Its id is what the annotator's page calls an assignment.

    `rank` orders the queue: lower first; random within a priority, equal for the slots of one task.
    """

    __tablename__ = "slots"
    __table_args__ = (
        UniqueConstraint("task_id", "number"),
        Index("ix_slots_queue", "campaign_id", "rank", "number", sqlite_where=text("state = 'open'"),
              postgresql_where=text("state = 'open'")),
        Index("ix_slots_leases", "expires_at", sqlite_where=text("state = 'leased'"),
              postgresql_where=text("state = 'leased'")),
        Index("ix_slots_annotator", "user_id", "campaign_id", "state"),
        Index("uq_slots_person", "task_id", "user_id", unique=True, sqlite_where=text("user_id IS NOT NULL"),
              postgresql_where=text("user_id IS NOT NULL")),
    )  # fmt: skip

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    number: Mapped[int]
    rank: Mapped[float]
    state: Mapped[SlotState] = mapped_column(_values(SlotState), default=SlotState.open)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    fence: Mapped[int] = mapped_column(default=0)
    leased_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    submission_id: Mapped[str | None] = mapped_column(String(36), unique=True)


class TaskEvent(Base):
    """Something that happened to a slot. Append-only; `id` grows, so a snapshot is "all events up to N"."""

    __tablename__ = "task_events"
    __table_args__ = (
        Index(None, "slot_id"),
        Index("ix_task_events_skips", "task_id", "user_id", sqlite_where=text("action = 'skipped'"),
              postgresql_where=text("action = 'skipped'")),
        Index(None, "user_id", "id"),
        Index(None, "task_id", "id"),
        {"sqlite_autoincrement": True},
    )  # fmt: skip

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(default=now)
    action: Mapped[TaskAction] = mapped_column(_values(TaskAction))
    slot_id: Mapped[str] = mapped_column(ForeignKey("slots.id"))
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    campaign_id: Mapped[str] = mapped_column(ForeignKey("campaigns.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    fence: Mapped[int]
    answer: Mapped[dict[str, Any]] = mapped_column(default=dict)
