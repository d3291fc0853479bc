"""The bytes of images, by their hash."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Response
from fastapi.responses import FileResponse

from pixmo.accounts.dependencies import SignedIn
from pixmo.dependencies import ContextDep
from pixmo.images.formats import BLOBS, HEAD_BYTES, media_type, sniff
from pixmo.images.service import NoSuchImage

router = APIRouter(prefix="/api/images", tags=["images"])

Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", description="SHA-256 of the bytes, lower-case hexadecimal.")]
IfNoneMatch = Annotated[str | None, Header()]


@router.get(
    "/{sha256}",
    response_class=Response,
    responses={
        200: {"description": "The image.", "content": {"image/jpeg": {}, "image/png": {}, "image/webp": {}}},
        304: {"description": "The browser has it already."},
    },
)
def image(sha256: Sha256, context: ContextDep, _: SignedIn, if_none_match: IfNoneMatch = None) -> Response:
    """An image in one of its stored sizes, without metadata. It never changes, so a browser asks once."""
    headers = {
        "Cache-Control": "private, max-age=31536000, immutable",
        "ETag": f'"{sha256}"',
        "X-Content-Type-Options": "nosniff",
    }
    path = context.storage.path(BLOBS, sha256)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except FileNotFoundError:
        raise NoSuchImage(f"There is no image {sha256}.") from None
    known = sniff(head)
    if known is None:
        raise NoSuchImage(f"There is no image {sha256}.")
    if if_none_match is not None and sha256 in if_none_match:
        return Response(status_code=304, headers=headers)
    return FileResponse(path, media_type=media_type(known), headers=headers)
