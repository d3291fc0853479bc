"""Takes: what an annotator said about an image, in the chunks in which the browser sent it."""

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import Enum, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base


class RecordingState(enum.StrEnum):
    """`open`: chunks arrive. `finished`: whole and checked. `rejected`: not usable, with a reason. `discarded`: redone."""

    open = "open"
    finished = "finished"
    rejected = "rejected"
    discarded = "discarded"


class Recording(Base):
    """One take. Its id is made by the browser, so that starting a take twice makes one. Times are seconds."""

    __tablename__ = "recordings"
    __table_args__ = (Index(None, "slot_id", "started_at"), Index(None, "user_id"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    slot_id: Mapped[str] = mapped_column(ForeignKey("slots.id"))
    task_id: Mapped[str] = mapped_column(ForeignKey("tasks.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    consent_id: Mapped[str | None] = mapped_column(ForeignKey("consents.id"))
    fence: Mapped[int]
    state: Mapped[RecordingState] = mapped_column(
        Enum(RecordingState, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states]),
        default=RecordingState.open,
    )
    mime: Mapped[str] = mapped_column(String(80))
    started_at: Mapped[datetime] = mapped_column(default=now)
    finished_at: Mapped[datetime | None]
    chunk_count: Mapped[int | None]
    byte_size: Mapped[int | None]
    audio_sha256: Mapped[str | None] = mapped_column(String(64), index=True)
    playback_sha256: Mapped[str | None] = mapped_column(String(64))
    container: Mapped[str | None] = mapped_column(String(8))
    duration: Mapped[float | None]
    voiced: Mapped[float | None]
    client: Mapped[dict[str, Any]] = mapped_column(default=dict)
    levels: Mapped[dict[str, Any]] = mapped_column(default=dict)
    peaks: Mapped[list[float]] = mapped_column(default=list)
    reject_reason: Mapped[str | None] = mapped_column(String(32))


class RecordingChunk(Base):
    """One acknowledged chunk: its bytes are a blob of kind `chunks`."""

    __tablename__ = "recording_chunks"

    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    sha256: Mapped[str] = mapped_column(String(64))
    byte_size: Mapped[int]
    received_at: Mapped[datetime] = mapped_column(default=now)
