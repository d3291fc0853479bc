"""The record of every call of a language model."""

from datetime import datetime
from typing import Any

from sqlalchemy import String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base
from pixmo.ids import new_id


class LlmCall(Base):
    """One call of a text-only language model: what was asked, what it answered. Never changed.

    `messages`: [{role, content}], text only. `prompt` names the versioned prompt file. `sha256` is over the canonical
    JSON of model, parameters and messages.
    """

    __tablename__ = "llm_calls"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    purpose: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[str] = mapped_column(String(36), index=True)
    endpoint: Mapped[str] = mapped_column(Text)
    model: Mapped[str] = mapped_column(String(200))
    parameters: Mapped[dict[str, Any]]
    prompt: Mapped[str] = mapped_column(String(64))
    messages: Mapped[list[dict[str, Any]]]
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    answer: Mapped[str | None] = mapped_column(Text)
    error: Mapped[str | None] = mapped_column(Text)
    usage: Mapped[dict[str, Any]] = mapped_column(default=dict)
    latency: Mapped[float]
    at: Mapped[datetime] = mapped_column(default=now)
