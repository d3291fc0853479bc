"""Pictures made on the spot, good and bad, and a run of ingest with one worker."""

import io
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image

from pixmo.database import Database
from pixmo.images.ingest import IngestOptions, Report, add_images, open_source
from pixmo.images.sources import Source
from pixmo.storage import Storage

GPS_DATE = "1987:06:05"
SECRETS = (GPS_DATE.encode(), b"Secret Camera", b"secret comment", b"secret xmp", b"secret iptc", b"secret tail")
"""What must be found in no served byte string."""


def picture(width: int = 160, height: int = 120, seed: int = 0, mode: str = "RGB") -> Image.Image:
    """A smooth picture like no other seed's."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def secret_exif(orientation: int = 1) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Secret Camera"
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSDateStamp] = GPS_DATE
    gps[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    gps[ExifTags.GPS.GPSLatitudeRef] = "N"
    return exif


def segment(marker: int, body: bytes) -> bytes:
    """One JPEG marker segment."""
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def secret_jpeg(orientation: int = 1, image: Image.Image | None = None, **options: Any) -> bytes:
    """A JPEG with every kind of metadata that a phone or an editor leaves."""
    data = encoded(image or picture(), "JPEG", exif=secret_exif(orientation), comment=b"secret comment", **options)
    extra = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta>secret xmp</x:xmpmeta>")
    extra += segment(0xED, b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + b"secret iptc")
    extra += segment(0xE5, b"secret tail in an unknown segment")
    return data[:2] + extra + data[2:] + b"secret tail after the end"


def chunk(name: bytes, body: bytes) -> bytes:
    """One PNG chunk."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int, color: int, rows: bytes, *, level: int = 6) -> bytes:
    """A PNG written by hand. `rows` are the samples with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    data = zlib.compress(rows, level)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def bomb() -> bytes:
    """20,000 x 20,000 black pixels in 50 kB."""
    packed = zlib.compressobj()
    row = bytes(1 + 20_000 // 8)
    data = b"".join(packed.compress(row) for _ in range(20_000)) + packed.flush()
    header = struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


@cache
def slow() -> bytes:
    """A picture of transparent noise, which takes many seconds to encode."""
    rows = np.random.default_rng(0).integers(0, 256, (6900, 1 + 2 * 6900), dtype=np.uint8)
    rows[:, 0] = 0
    return png(6900, 6900, 8, 4, rows.tobytes(), level=0)


@cache
def nasty() -> dict[str, tuple[bytes, str]]:
    """Files that are no good, with the reason that each must be given."""
    jpeg = encoded(picture(640, 480), quality=95)
    whole = encoded(picture(640, 480), "PNG")
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    return {
        "empty.jpg": (b"", "zero_size"),
        "half.jpg": (jpeg[: len(jpeg) // 2], "truncated"),
        "half.png": (whole[: len(whole) // 2], "truncated"),
        "flipped.png": (bytes(flipped), "corrupt"),
        "bomb.png": (bomb(), "bomb"),
        "page.jpg": (b"<!DOCTYPE html><html><body>Not found</body></html>", "not_an_image"),
        "drawing.jpg": (b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "unsupported"),
        "phone.heic": (struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(64), "unsupported"),
        "head.jpg": (jpeg[:20], "corrupt"),
        "noise.bin.jpg": (bytes(range(256)) * 8, "not_an_image"),
        "float.tif": (encoded(Image.new("F", (8, 8)), "TIFF"), "unsupported"),
        "large.png": (png(9000, 9000, 1, 0, bytes((9000 // 8 + 1) * 9000)), "too_large"),
    }


Ingest = Callable[..., Report]


@pytest.fixture
def ingest(db: Database, storage: Storage) -> Ingest:
    """Take paths or sources into the store, with one worker; keywords are `IngestOptions`."""

    def run(*sources: Path | str | Source, **options: Any) -> Report:
        opened = [open_source(str(source)) if isinstance(source, Path | str) else source for source in sources]
        return add_images(db, storage, opened, IngestOptions(**{"workers": 1, **options}))

    return run
