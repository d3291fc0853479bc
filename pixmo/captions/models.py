"""Captions: what the transcripts of one task became, with every call of a language model that helped."""

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import Enum, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base
from pixmo.ids import new_id


class CaptionMethod(enum.StrEnum):
    tidy = "tidy"
    llm = "llm"


class Caption(Base):
    """One revision of a task's caption. Never changed; a newer revision supersedes it.

    `transcript_ids` are all revisions that were read, in the order of their slots.
    `flags`: [{kind: "added_word" | "added_number", token, sentence}] of the faithfulness check.
    `receipt`: the signed chain from image and audio to this text.
    """

    __tablename__ = "captions"
    __table_args__ = (UniqueConstraint("task_id", "revision"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"))
    revision: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    method: Mapped[CaptionMethod] = mapped_column(
        Enum(CaptionMethod, native_enum=False, length=16, values_callable=lambda items: [i.value for i in items])
    )
    prompt: Mapped[str | None] = mapped_column(String(64))
    transcript_ids: Mapped[list[str]]
    llm_call_ids: Mapped[list[str]] = mapped_column(default=list)
    flags: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    receipt: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime] = mapped_column(default=now)
