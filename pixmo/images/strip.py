"""Metadata taken out of JPEG and PNG files without decoding them: the compressed pixels stay as they are, byte for byte.

JPEG is read by its marker segments (ITU-T T.81, annex B; JFIF 1.02; Exif 2.3), PNG by its chunks (W3C PNG, third
edition). What is not known to be needed for the pixels is dropped, and so is whatever follows the end of the image,
where phones keep a second picture and programs keep anything.
"""

import re
import struct

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_APP0, _APP1, _APP2, _APP14 = 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_TABLES = {0xC4, 0xCC, 0xDB, 0xDC, 0xDD}
"""DHT, DAC, DQT, DNL, DRI."""
_AFTER_SCAN = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
"""A marker other than a restart marker or a stuffed zero, which both belong to the entropy-coded data."""

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHUNKS = {b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"sRGB", b"IDAT", b"IEND"}


class NotStrippable(ValueError):
    """The file does not follow its format closely enough to be cut without decoding it."""


def _orientation_segment(orientation: int) -> bytes:
    """An APP1 segment (length field 34) whose Exif block holds the tag Orientation and nothing else."""
    ifd = struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, orientation, 0, 0)
    body = b"Exif\0\0" + b"MM\0*" + struct.pack(">I", 8) + ifd
    return b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body


def _kept(marker: int, body: bytes) -> bytes | None:
    """What remains of a segment's body: all, a part, or None if the segment goes."""
    if marker in _FRAMES or marker in _TABLES or marker == _SOS:
        return body
    if marker == _APP0 and body.startswith(b"JFIF\0") and len(body) >= 14:
        return body[:12] + b"\0\0"  # a JFIF thumbnail shows the picture as it was before any edit
    if marker == _APP2 and body.startswith(b"ICC_PROFILE\0"):
        return body
    if marker == _APP14 and body.startswith(b"Adobe") and len(body) >= 12:
        return body[:12]
    return None


def strip_jpeg(data: bytes, orientation: int = 1) -> bytes:
    """A JPEG file without Exif, GPS, XMP, IPTC, comments, thumbnails and trailing bytes; its pixels are unchanged.

    Kept are the coding tables and scans, JFIF density, the ICC profile and Adobe's colour transform.
    `orientation` (1 to 8, Exif tag 0x0112) is written back when it is not 1.

    Raises `NotStrippable` if the segments cannot be followed to the end of the image.
    """
    if not data.startswith(b"\xff\xd8"):
        raise NotStrippable("no start of image")
    segments = [b"\xff\xd8"]
    exif_at = 1
    at, frames, scans = 2, 0, 0
    while True:
        start = at
        while data[at : at + 1] == b"\xff":
            at += 1
        if at == start or at >= len(data):
            raise NotStrippable(f"no marker at byte {start}")
        marker = data[at]
        at += 1
        if marker == _EOI:
            break
        length = int.from_bytes(data[at : at + 2])
        body = data[at + 2 : at + length]
        if marker < 0xC0 or 0xD0 <= marker <= _SOI or length < 2 or len(body) != length - 2:
            raise NotStrippable(f"broken segment at byte {start}")
        kept = _kept(marker, body)
        if kept is not None:
            segments.append(bytes((0xFF, marker)) + struct.pack(">H", len(kept) + 2) + kept)
            exif_at = 2 if marker == _APP0 and len(segments) == 2 else exif_at
        at += length
        frames += marker in _FRAMES
        if marker == _SOS:
            scans += 1
            found = _AFTER_SCAN.search(data, at)
            end = found.start() if found else len(data)
            segments.append(data[at:end])
            at = end
            if found is None:
                break
    if frames != 1 or scans == 0:
        raise NotStrippable(f"{frames} frames and {scans} scans")
    if orientation != 1:
        segments.insert(exif_at, _orientation_segment(orientation))
    return b"".join((*segments, b"\xff\xd9"))


def strip_png(data: bytes) -> bytes:
    """A PNG file with only the chunks that its first frame and its colours need; its pixels are unchanged.

    Raises `NotStrippable` if the chunks cannot be followed to the end of the image.
    """
    if not data.startswith(_PNG_SIGNATURE):
        raise NotStrippable("no PNG signature")
    chunks = [_PNG_SIGNATURE]
    at, name = len(_PNG_SIGNATURE), b""
    while name != b"IEND":
        name = data[at + 4 : at + 8]
        end = at + 12 + int.from_bytes(data[at : at + 4])
        if len(name) != 4 or end > len(data):
            raise NotStrippable(f"broken chunk at byte {at}")
        if name in _PNG_CHUNKS:
            chunks.append(data[at:end])
        elif not name[0] & 0x20:
            raise NotStrippable(f"unknown critical chunk at byte {at}")
        at = end
    if not any(chunk[4:8] == b"IDAT" for chunk in chunks):
        raise NotStrippable("no image data")
    return b"".join(chunks)
