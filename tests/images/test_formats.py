import pytest

from pixmo.images.formats import FORMATS, foreign, media_type, sniff
from tests.images.conftest import encoded, picture


@pytest.mark.parametrize("name", FORMATS)
def test_each_format_is_told_from_its_bytes(name: str) -> None:
    data = encoded(picture(), name.upper())
    assert sniff(data[:512]) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"\xff\x0a\xfa", "JPEG XL"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\0\1", "Photoshop"),
        (b"\0\0\1\0\1\0", "icon"),
        (b"%PDF-1.7", "PDF"),
        (b"\xef\xbb\xbf<!-- hello -->\n<svg width='3'>", "SVG"),
    ],
)
def test_other_formats_are_named(head: bytes, name: str) -> None:
    assert sniff(head) is None
    assert foreign(head) == name


@pytest.mark.parametrize("head", [b"", b"B", b"BM", b"BMW is a car, not a bitmap, as anyone knows", b"GIF8", b"<html>"])
def test_other_bytes_are_nothing(head: bytes) -> None:
    assert sniff(head) is None
    assert foreign(head) is None


def test_an_avif_that_calls_itself_mif1_first() -> None:
    assert sniff(b"\0\0\0\x1cftypmif1\0\0\0\0miafavif\0\0\0\0") == "avif"


def test_media_types() -> None:
    assert [media_type(name) for name in ("jpeg", "webp")] == ["image/jpeg", "image/webp"]
