"""A describe assignment: an image, and the take in which somebody described it."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from pixmo.recordings.schemas import RecordingView
from pixmo.tasks.schemas import Fence, ImageView, Uuid
from pixmo.transcripts.schemas import TranscriptionView, TranscriptView

MAX_TRANSCRIPT_CHARACTERS = 50_000


QuestionId = Annotated[str, Field(max_length=16)]


class TakeView(RecordingView):
    """A take with what became of it."""

    transcription: TranscriptionView
    transcript: TranscriptView | None


class AssignmentView(BaseModel):
    """A lease on a task: show `image`, carry on with `recording` if there is one."""

    id: str
    fence: int
    task_id: str
    campaign: str
    expires_at: datetime
    ttl_seconds: float
    image: ImageView
    recording: TakeView | None


class SubmitRequest(BaseModel):
    """`text`: the transcript as the annotator left it; null if they did not wait for it."""

    fence: Fence
    submission_id: Uuid
    recording_id: Uuid
    text: str | None = Field(None, max_length=MAX_TRANSCRIPT_CHARACTERS)
    covered: list[QuestionId] = Field(default=[], max_length=50)
    elapsed_ms: float = Field(0, ge=0, le=86_400_000)
