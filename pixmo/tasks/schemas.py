"""Assignments as the API shows and accepts them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

Uuid = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Fence = Annotated[int, Field(ge=0, le=2**31)]
SkipReason = Literal["image_broken", "inappropriate", "cannot_describe", "personal", "other"]


class NextRequest(BaseModel):
    """`hold`: the assignments that the page has already."""

    hold: list[Uuid] = Field(default=[], max_length=10)


class HeartbeatRequest(BaseModel):
    fence: Fence


class HeartbeatReply(BaseModel):
    expires_at: datetime


class SkipRequest(BaseModel):
    fence: Fence
    reason: SkipReason
    note: str | None = Field(None, max_length=500)


class StateReply(BaseModel):
    state: Literal["submitted", "skipped"]
    undo_seconds: float | None = None


class ImageView(BaseModel):
    """The image to show: `url` at most 1024 pixels on its longer side, `full_url` upright in full size."""

    id: str
    url: str
    full_url: str
    thumb_url: str
    width: int
    height: int
    attribution: str | None
    licence: str | None


class Thumbnail(BaseModel):
    thumb_url: str


class LastSubmission(BaseModel):
    assignment_id: str
    submitted_at: datetime
    image: Thumbnail
