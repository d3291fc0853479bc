"""The bytes of takes: chunks in, sound out."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from pixmo.accounts.dependencies import SignedIn
from pixmo.accounts.models import Role
from pixmo.dependencies import ContextDep
from pixmo.errors import TooLarge
from pixmo.recordings import service
from pixmo.recordings.models import Recording
from pixmo.recordings.schemas import ChunkReceipt, Sha256, Uuid

router = APIRouter(prefix="/api/recordings", tags=["recordings"])
RecordingId = Annotated[Uuid, Path()]


@router.put(
    "/{recording_id}/chunks/{seq}",
    response_model=ChunkReceipt,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def put_chunk(
    request: Request,
    context: ContextDep,
    person: SignedIn,
    recording_id: RecordingId,
    seq: Annotated[int, Path(ge=0, le=100_000)],
    x_chunk_sha256: Annotated[Sha256, Header()],
) -> ChunkReceipt:
    """Store one chunk of a take. When this answers, the bytes are on disk. Sending it again is fine."""
    limit = context.settings.max_chunk_bytes
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > limit:
            raise TooLarge(f"A chunk may have at most {limit} bytes.")
    next_seq = await run_in_threadpool(
        service.put_chunk, context, recording_id, person.id, seq, x_chunk_sha256, bytes(body)
    )
    return ChunkReceipt(next_seq=next_seq)


@router.get("/{recording_id}/audio", response_class=FileResponse)
def get_audio(context: ContextDep, person: SignedIn, recording_id: RecordingId) -> Response:
    """The take as a file that a player can seek in. One's own takes; reviewers and admins may hear all."""
    with context.db.read() as session:
        if person.role is Role.annotator:
            recording = service.mine(session, recording_id, person.id)
        else:
            found = session.get(Recording, recording_id)
            if found is None:
                raise service.NoSuchTake
            recording = found
    if recording.playback_sha256 is None or recording.container is None:
        raise service.NoSuchTake
    return FileResponse(
        context.storage.path(service.PLAYBACK, recording.playback_sha256),
        media_type=service.MEDIA_TYPES[recording.container],
        headers={"Cache-Control": "private, max-age=31536000, immutable"},
    )
