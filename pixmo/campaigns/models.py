"""Campaigns: what is asked of which images."""

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import Enum, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base
from pixmo.ids import new_id


class CampaignKind(enum.StrEnum):
    describe = "describe"


class CampaignStatus(enum.StrEnum):
    active = "active"
    paused = "paused"
    closed = "closed"


def _values(cls: type[enum.StrEnum]) -> Enum:
    return Enum(cls, native_enum=False, length=16, values_callable=lambda items: [item.value for item in items])


class Campaign(Base):
    """One kind of question asked of a set of images. Times are seconds."""

    __tablename__ = "campaigns"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    kind: Mapped[CampaignKind] = mapped_column(_values(CampaignKind))
    title: Mapped[str] = mapped_column(String(120))
    instructions: Mapped[str] = mapped_column(Text)
    questions: Mapped[list[dict[str, Any]]]
    language: Mapped[str] = mapped_column(String(8))
    overlap: Mapped[int]
    min_voiced_seconds: Mapped[float]
    max_seconds: Mapped[float]
    min_words: Mapped[int]
    status: Mapped[CampaignStatus] = mapped_column(_values(CampaignStatus), default=CampaignStatus.active)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime | None] = mapped_column(onupdate=now)
