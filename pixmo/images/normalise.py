"""One image from untrusted bytes to what pixmo stores of it. Pure: bytes in, bytes and numbers out.

The order is the defence: size, then magic bytes, then the header alone, and only then the pixels.
"""

import hashlib
import io
import struct
import warnings
import zlib
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from pixmo.images import colour
from pixmo.images.fingerprints import pdq, pixel_sha256
from pixmo.images.formats import HEAD_BYTES, Format, foreign, sniff
from pixmo.images.strip import NotStrippable, strip_jpeg, strip_png

WEB_PIXELS = 1024
THUMB_PIXELS = 256
"""Longest sides of the versions made for the page."""

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    ArithmeticError,
    TypeError,
    EOFError,
    struct.error,
    zlib.error,
)
"""What Pillow's decoders raise on hostile bytes."""
_WEBP_MAX_SIDE = 16_383
_JPEG_MAX_SIDE = 65_535


class Reason(StrEnum):
    """Why a source gave no image."""

    ZERO_SIZE = "zero_size"
    TOO_LARGE = "too_large"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED = "unsupported"
    BOMB = "bomb"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    HASH_MISMATCH = "hash_mismatch"
    DOWNLOAD_FAILED = "download_failed"
    UNREADABLE = "unreadable"


class BadImage(Exception):
    """A source that is not taken; nothing else is stopped by it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Limits:
    """What a file may ask of us. Pixels are counted before they are decoded."""

    max_bytes: int = 100 * 2**20
    max_pixels: int = 80_000_000


@dataclass(frozen=True)
class Normalised:
    """An image ready to be stored. Sizes are upright pixels.

    `served` is the full-size version without metadata: a JPEG or PNG with its own compressed pixels wherever that is
    possible, else encoded anew. `web` and `thumb` are upright sRGB JPEGs of at most 1024 and 256 pixels.
    """

    sha256: str
    pixel_sha256: str
    format: Format
    width: int
    height: int
    frames: int
    byte_size: int
    served: bytes
    served_format: Format
    web: bytes
    thumb: bytes
    pdq: str
    pdq_quality: int


def check_sha256(data: bytes, expected: str | None) -> str:
    """SHA-256 of `data` in hex. Raises `BadImage` if another one was expected."""
    found = hashlib.sha256(data).hexdigest()
    if expected is not None and found != expected:
        raise BadImage(Reason.HASH_MISMATCH, f"SHA-256 is {found}, the list says {expected}")
    return found


def _open(data: bytes, limits: Limits) -> tuple[Image.Image, Format]:
    """The header of an image, pixels not yet decoded."""
    if not data:
        raise BadImage(Reason.ZERO_SIZE, "the file is empty")
    if len(data) > limits.max_bytes:
        raise BadImage(Reason.TOO_LARGE, f"{len(data):,} bytes, the limit is {limits.max_bytes:,}")
    head = data[:HEAD_BYTES]
    kind = sniff(head)
    if kind is None:
        known = foreign(head)
        if known:
            raise BadImage(Reason.UNSUPPORTED, f"{known} is not read; convert it to JPEG or PNG")
        raise BadImage(Reason.NOT_AN_IMAGE, f"begins with {head[:16]!r}")
    try:
        image = Image.open(io.BytesIO(data), formats=[kind.upper()])
    except Image.DecompressionBombError as error:
        raise BadImage(Reason.BOMB, str(error)) from None
    except _DECODER_ERRORS as error:
        raise BadImage(Reason.CORRUPT, f"the {kind.upper()} header cannot be read ({type(error).__name__})") from None
    pixels = image.width * image.height
    if pixels == 0:
        raise BadImage(Reason.ZERO_SIZE, f"{image.width} x {image.height} pixels")
    if pixels > limits.max_pixels:
        reason = Reason.BOMB if pixels > 2 * limits.max_pixels else Reason.TOO_LARGE
        raise BadImage(reason, f"{image.width} x {image.height} pixels, the limit is {limits.max_pixels:,}")
    return image, kind


def _load(image: Image.Image) -> None:
    """Decode frame 0 completely: `Image.verify` accepts half a JPEG, this does not."""
    try:
        image.load()
    except _DECODER_ERRORS as error:
        reason = Reason.TRUNCATED if "truncated" in str(error) else Reason.CORRUPT
        raise BadImage(reason, f"{type(error).__name__}: {error}") from None


def _frames(image: Image.Image) -> int:
    try:
        return int(getattr(image, "n_frames", 1))
    except _DECODER_ERRORS:
        return 1  # only later frames are broken; frame 0, which is used, was decoded


def _jpeg(image: Image.Image, quality: int, *, subsampling: str = "4:2:0") -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, subsampling=subsampling, optimize=True)
    return out.getvalue()


def _lossless(image: Image.Image) -> tuple[bytes, Format]:
    out = io.BytesIO()
    if max(image.size) <= _WEBP_MAX_SIDE:
        image.save(out, "WEBP", lossless=True, method=0, quality=0)  # higher efforts cost seconds and save a tenth
        return out.getvalue(), "webp"
    image.save(out, "PNG", compress_level=1)
    return out.getvalue(), "png"


def _serve(
    data: bytes, source: Image.Image, kind: Format, pixels: Image.Image, orientation: int
) -> tuple[bytes, Format]:
    """The full-size version and its format. `pixels` is `source` as upright sRGB."""
    try:
        if kind == "jpeg" and source.mode in {"L", "RGB"}:
            return strip_jpeg(data, orientation), "jpeg"
        opaque = source.mode in {"1", "L", "P", "RGB"} and not source.has_transparency_data
        if kind == "png" and opaque and orientation == 1 and data[24] <= 8:  # bits per sample in IHDR
            return strip_png(data), "png"
    except NotStrippable:
        pass
    lossy = kind in {"jpeg", "avif"} or (kind == "webp" and b"VP8 " in data[12:64])
    if lossy and max(pixels.size) <= _JPEG_MAX_SIDE:
        return _jpeg(pixels, 95, subsampling="4:4:4"), "jpeg"
    return _lossless(pixels)


def _fit(image: Image.Image, side: int, *, gap: float) -> Image.Image:
    """`image` scaled down so that its longest side is at most `side` pixels.

    It is first halved, or divided by a greater whole number, by plain averages until it is less than twice `gap` too
    large: several times faster than one careful step.
    """
    longest = max(image.size)
    if longest <= side:
        return image
    width, height = (max(1, round(length * side / longest)) for length in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=gap)


def normalise(data: bytes, limits: Limits, expected_sha256: str | None = None) -> Normalised:
    """Check `data` and make everything that pixmo stores of an image.

    Pixels become upright (Exif orientation applied) 8-bit sRGB; an ICC profile is converted, transparency is laid
    over white, of an animation frame 0 is taken and the number of frames is kept. No served byte string holds Exif
    (but for the orientation tag), GPS, XMP, IPTC or comments.

    Raises `BadImage` with the reason, and `MemoryError` if the process may not have the memory.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of odd metadata; sizes are checked here
        source, kind = _open(data, limits)
        sha256 = check_sha256(data, expected_sha256)
        _load(source)
        turned = colour.orientation(source)
        try:
            pixels = colour.upright(colour.to_srgb(source), turned)
        except colour.NoSuchColour as error:
            raise BadImage(Reason.UNSUPPORTED, str(error)) from None
        pixels.info = {}  # Pillow would write a comment or profile found here into the versions
        served, served_format = _serve(data, source, kind, pixels, turned)
        frames = _frames(source)
    web = _fit(pixels, WEB_PIXELS, gap=1.5)
    half = _fit(web, WEB_PIXELS // 2, gap=1.0)
    digest, quality = pdq(half)
    return Normalised(
        sha256=sha256,
        pixel_sha256=pixel_sha256(pixels),
        format=kind,
        width=pixels.width,
        height=pixels.height,
        frames=frames,
        byte_size=len(data),
        served=served,
        served_format=served_format,
        web=served if web is pixels and served_format == "jpeg" else _jpeg(web, 85),
        thumb=_jpeg(_fit(half, THUMB_PIXELS, gap=1.0), 80),
        pdq=digest,
        pdq_quality=quality,
    )
