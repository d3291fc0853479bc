import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from pixmo.images.strip import NotStrippable, strip_jpeg, strip_png
from tests.images.conftest import SECRETS, chunk, encoded, picture, secret_jpeg, segment

SMALL = secret_jpeg(6, picture(40, 24))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"progressive": True},
        {"subsampling": "4:2:0", "quality": 40},
        {"restart_marker_rows": 1},
        {"optimize": True},
        {"icc_profile": SRGB},
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_pixels_are_identical_and_the_rest_is_gone(options: dict[str, object], mode: str) -> None:
    data = secret_jpeg(1, picture(200, 133, mode=mode), **options)
    stripped = strip_jpeg(data)
    assert pixels(stripped) == pixels(data)
    assert not any(secret in stripped for secret in SECRETS)
    assert b"Exif" not in stripped
    image = Image.open(io.BytesIO(stripped))
    assert image.info.get("icc_profile") == options.get("icc_profile")
    assert image.info["jfif"] == Image.open(io.BytesIO(data)).info["jfif"]
    assert strip_jpeg(stripped) == stripped


def test_cmyk_keeps_the_colour_transform() -> None:
    data = secret_jpeg(1, picture(mode="CMYK"))
    assert b"Adobe" in strip_jpeg(data)
    assert pixels(strip_jpeg(data)) == pixels(data)


@pytest.mark.parametrize("orientation", range(2, 9))
def test_orientation_alone_is_written_back(orientation: int) -> None:
    stripped = strip_jpeg(secret_jpeg(orientation), orientation)
    exif = Image.open(io.BytesIO(stripped)).getexif()
    assert dict(exif) == {0x0112: orientation}
    assert stripped.index(b"\xff\xe1\x00\x22Exif\0\0") == 2 + 18  # behind JFIF
    assert pixels(stripped) == pixels(secret_jpeg(orientation))


def test_thumbnails_and_second_pictures_go() -> None:
    data = encoded(picture())
    jfif = data[4:20]
    with_thumbnail = data[:2] + segment(0xE0, jfif[2:14] + b"\x01\x02" + b"secret tail"[:6]) + data[20:]
    second = with_thumbnail[:2] + segment(0xE2, b"MPF\0secret tail") + with_thumbnail[2:] + encoded(picture(seed=1))
    assert strip_jpeg(second) == data


def test_a_missing_end_is_put_there() -> None:
    data = encoded(picture())
    assert strip_jpeg(data[:-2]) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8garbage",
        b"\xff\xd8\xff\xe0\x00\x01",
        b"\xff\xd8\xff\xe1\xff\xff short",
        b"\xff\xd8\xff\xd8" + SMALL[2:],
        SMALL[:100],
        SMALL[:2] + segment(0xC0, b"\x08\0\x01\0\x01\1\1\x11\0") + SMALL[2:],
    ],
)
def test_broken_jpegs_are_refused(data: bytes) -> None:
    with pytest.raises(NotStrippable):
        strip_jpeg(data)


def holds(stripped: bytes) -> None:
    """What is true of every byte string that the filter returns."""
    assert stripped.startswith(b"\xff\xd8")
    assert stripped.endswith(b"\xff\xd9")
    assert strip_jpeg(stripped) == stripped


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes_never_crash_the_filter(data: bytes) -> None:
    for start in (b"", b"\xff\xd8", SMALL[: SMALL.index(b"\xff\xda")]):
        try:
            stripped = strip_jpeg(start + data)
        except NotStrippable:
            continue
        holds(stripped)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(2, len(SMALL) - 1), st.integers(0, 255)), max_size=6), st.integers(0, len(SMALL)))
def test_damaged_jpegs_never_crash_the_filter(changes: list[tuple[int, int]], end: int) -> None:
    damaged = bytearray(SMALL)
    for place, value in changes:
        damaged[place] = value
    try:
        stripped = strip_jpeg(bytes(damaged[:end]))
    except NotStrippable:
        return
    holds(stripped)
    assert len(stripped) <= end + 2


def test_png_pixels_are_identical_and_the_rest_is_gone() -> None:
    data = encoded(picture(), "PNG", icc_profile=SRGB)
    end = data.index(b"IDAT") - 4
    texts = chunk(b"tEXt", b"Comment\0secret comment") + chunk(b"eXIf", b"MM\0*secret xmp") + chunk(b"tIME", bytes(7))
    dirty = data[:end] + texts + data[end:] + b"secret tail"
    assert strip_png(dirty) == data


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG\r\n\x1a\n", encoded(picture(), "PNG")[:-8], encoded(picture(), "PNG")[:8] + chunk(b"IEND", b"")],
)
def test_broken_pngs_are_refused(data: bytes) -> None:
    with pytest.raises(NotStrippable):
        strip_png(data)


def test_an_unknown_critical_png_chunk_is_refused() -> None:
    data = encoded(picture(), "PNG")
    with pytest.raises(NotStrippable, match="critical"):
        strip_png(data[:33] + chunk(b"QqQq", b"?") + data[33:])


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_never_crash_the_png_filter(data: bytes) -> None:
    with pytest.raises(NotStrippable):
        strip_png(b"\x89PNG\r\n\x1a\n" + data)
