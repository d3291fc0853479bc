"""Takes as the API shows and accepts them."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from pixmo.recordings.models import RecordingState

Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class StartTake(BaseModel):
    """Begin a take. `id` is made by the page, so that asking twice begins one."""

    id: Uuid
    fence: int = Field(ge=0, le=2**31)
    mime: str = Field(max_length=80, pattern=r"^(audio|video)/[\x20-\x7e]+$")
    client_started_at: datetime | None = None


class FinishTake(BaseModel):
    """What the page says the whole take is. Times are milliseconds of recorded time, pauses excluded."""

    chunks: int = Field(ge=0, le=100_000)
    sha256: Sha256
    bytes: int = Field(ge=0, le=2**31)
    duration_ms: float = Field(ge=0, le=86_400_000)
    voiced_ms: float = Field(0, ge=0, le=86_400_000)


class ChunkReceipt(BaseModel):
    next_seq: int


class RecordingView(BaseModel):
    """A take. Times are seconds; `peaks` are 0 to 1."""

    id: str
    assignment_id: str
    state: RecordingState
    next_seq: int
    bytes: int
    mime: str
    reject_reason: str | None
    duration_s: float | None
    voiced_s: float | None
    audio_url: str | None
    peaks: list[float] | None
    gate: dict[str, Any] | None
