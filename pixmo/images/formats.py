"""Which image formats are read, told from the first bytes alone. The name of a file is never believed."""

import re
from typing import Literal, get_args

Format = Literal["jpeg", "png", "webp", "gif", "bmp", "tiff", "avif"]
FORMATS: tuple[Format, ...] = get_args(Format)
BLOBS = "images"
"""The kind of blob (`Storage`) that images are served from."""
ORIGINALS = "originals"
"""The kind of blob that keeps the bytes as they came, EXIF and all. Nothing serves or exports it."""
HEAD_BYTES = 512
"""How many bytes of a file `sniff` and `foreign` look at."""

_AVIF_BRANDS = {b"avif", b"avis"}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_SVG = re.compile(
    rb"\A(?:\xef\xbb\xbf)?\s*(?:<\?xml[^>]*>\s*|<!--.*?-->\s*|<!DOCTYPE\s+svg[^>]*>\s*)*<svg[\s>]", re.S | re.I
)


def _brands(head: bytes) -> set[bytes]:
    """Major and compatible brands of an ISO base media file (ISO/IEC 14496-12, box `ftyp`)."""
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4]), len(head))
    return {head[8:12]} | {head[at : at + 4] for at in range(16, end - 3, 4)}


def sniff(head: bytes) -> Format | None:
    """The format of a file that begins with `head`, or None if it is not one that pixmo reads."""
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "gif"
    if head.startswith(b"BM") and len(head) >= 26 and 12 <= int.from_bytes(head[14:18], "little") <= 124:
        return "bmp"
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "tiff"
    if _brands(head) & _AVIF_BRANDS:
        return "avif"
    return None


def foreign(head: bytes) -> str | None:
    """The name of an image format that pixmo knows but does not read, or None."""
    if _brands(head) & _HEIF_BRANDS:
        return "HEIC"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "JPEG XL"
    if head.startswith((b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")):
        return "JPEG 2000"
    if head.startswith(b"8BPS"):
        return "Photoshop"
    if head.startswith(b"\0\0\x01\0"):
        return "icon"
    if head.startswith(b"%PDF-"):
        return "PDF"
    if _SVG.match(head):
        return "SVG"
    return None


def media_type(name: Format) -> str:
    """The media type under which a format is served (IANA registry)."""
    return f"image/{name}"
