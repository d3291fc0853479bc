"""What was said, as text: revisions by a recogniser and by people."""

import enum
from datetime import datetime
from typing import Any

from sqlalchemy import Enum, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base
from pixmo.ids import new_id


class TranscriptOrigin(enum.StrEnum):
    asr = "asr"
    human = "human"


class Outcome(enum.StrEnum):
    """What came of a transcription. `suspect`: there is text, but a check says that it may not be what was said."""

    ok = "ok"
    no_speech = "no_speech"
    suspect = "suspect"


def _values(cls: type[enum.StrEnum]) -> Enum:
    return Enum(cls, native_enum=False, length=16, values_callable=lambda items: [item.value for item in items])


class Transcript(Base):
    """One revision of the words of a take. Never changed; a newer revision supersedes it.

    `words`: [{text, start, end, confidence}], seconds from the start of the take, null where unknown.
    `segments`: [{text, start, end, avg_logprob}].
    """

    __tablename__ = "transcripts"
    __table_args__ = (UniqueConstraint("recording_id", "revision"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    recording_id: Mapped[str] = mapped_column(ForeignKey("recordings.id"))
    revision: Mapped[int]
    origin: Mapped[TranscriptOrigin] = mapped_column(_values(TranscriptOrigin))
    outcome: Mapped[Outcome] = mapped_column(_values(Outcome))
    text: Mapped[str] = mapped_column(Text)
    language: Mapped[str] = mapped_column(String(8))
    words: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    segments: Mapped[list[dict[str, Any]]] = mapped_column(default=list)
    flags: Mapped[list[str]] = mapped_column(default=list)
    voiced: Mapped[float | None]
    model: Mapped[str | None] = mapped_column(String(200))
    model_revision: Mapped[str | None] = mapped_column(String(80))
    model_settings: Mapped[dict[str, Any]] = mapped_column(default=dict)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime] = mapped_column(default=now)
