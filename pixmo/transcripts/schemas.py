"""Transcripts as the API shows them. Times are seconds from the start of the take."""

from typing import Any, Literal

from pydantic import BaseModel

from pixmo.transcripts.models import Outcome, TranscriptOrigin


class TranscriptionView(BaseModel):
    """Where the transcription stands; `partial_text` grows while it runs."""

    state: Literal["none", "queued", "running", "retrying", "done", "parked"] = "none"
    attempts: int = 0
    reason: str | None = None
    outcome: Outcome | None = None
    partial_text: str | None = None


class TranscriptView(BaseModel):
    """The newest revision. `words`: {text, start, end, confidence}, null where unknown."""

    id: str
    revision: int
    origin: TranscriptOrigin
    text: str
    language: str
    words: list[dict[str, Any]]
    flags: list[str]
    voiced_s: float | None
