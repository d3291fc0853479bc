import hashlib
import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from pixmo.images.fingerprints import pixel_sha256
from pixmo.images.formats import sniff
from pixmo.images.normalise import BadImage, Limits, Normalised, Reason, check_sha256, normalise
from tests.images.conftest import SECRETS, encoded, nasty, picture, png, secret_exif, secret_jpeg

LIMITS = Limits()


def decoded(data: bytes) -> Image.Image:
    """What a reader that applies the Exif orientation sees."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")


def versions(image: Normalised) -> tuple[bytes, bytes, bytes]:
    return image.served, image.web, image.thumb


@pytest.mark.parametrize("name", nasty())
def test_each_bad_file_is_refused_with_its_reason(name: str) -> None:
    data, reason = nasty()[name]
    with pytest.raises(BadImage) as caught:
        normalise(data, LIMITS)
    assert caught.value.reason == reason
    assert caught.value.detail


def test_the_pixel_limit_holds_before_decoding() -> None:
    rows = bytes(1 + 1000) * 1000
    with pytest.raises(BadImage) as caught:
        normalise(png(1000, 1000, 8, 0, rows)[:60], Limits(max_pixels=999_999))  # the pixels are not even there
    assert caught.value.reason == Reason.TOO_LARGE
    with pytest.raises(BadImage) as caught:
        normalise(png(1000, 1000, 8, 0, rows)[:60], Limits(max_pixels=499_999))
    assert caught.value.reason == Reason.BOMB


def test_the_byte_limit() -> None:
    data = encoded(picture())
    assert normalise(data, Limits(max_bytes=len(data))).byte_size == len(data)
    with pytest.raises(BadImage) as caught:
        normalise(data, Limits(max_bytes=len(data) - 1))
    assert caught.value.reason == Reason.TOO_LARGE


def test_an_expected_hash() -> None:
    data = encoded(picture())
    digest = hashlib.sha256(data).hexdigest()
    assert check_sha256(data, digest) == digest
    with pytest.raises(BadImage) as caught:
        normalise(data, LIMITS, digest[::-1])
    assert caught.value.reason == Reason.HASH_MISMATCH


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_orientations_end_upright(orientation: int, kind: str) -> None:
    seen = picture(300, 200)
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = seen if undo is None else seen.transpose(Image.Transpose(undo))
    lossless = {"WEBP": {"lossless": True}}.get(kind, {})
    image = normalise(encoded(stored, kind, exif=secret_exif(orientation), **lossless), LIMITS)
    assert (image.width, image.height) == (300, 200)
    for version in versions(image):
        shown = decoded(version)
        assert shown.width > shown.height
        difference = np.abs(np.asarray(shown.resize((30, 20))).astype(int) - np.asarray(seen.resize((30, 20))))
        assert difference.mean() < 6
        assert not any(secret in version for secret in SECRETS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF", "GIF", "BMP"])
def test_no_metadata_in_any_version(kind: str) -> None:
    options = {} if kind in {"GIF", "BMP"} else {"exif": secret_exif()}
    if kind in {"JPEG", "GIF"}:
        options["comment"] = b"secret comment"
    image = normalise(secret_jpeg(6) if kind == "JPEG" else encoded(picture(1100, 80), kind, **options), LIMITS)
    for version in versions(image):
        assert not any(secret in version for secret in SECRETS)


def test_a_jpeg_is_served_with_its_own_pixels() -> None:
    data = secret_jpeg(8, picture(1400, 900))
    image = normalise(data, LIMITS)
    assert (image.format, image.served_format) == ("jpeg", "jpeg")
    assert image.sha256 == hashlib.sha256(data).hexdigest()
    assert decoded(image.served).tobytes() == decoded(data).tobytes()
    assert pixel_sha256(decoded(image.served)) == image.pixel_sha256
    assert Image.open(io.BytesIO(image.web)).size == (658, 1024)
    assert Image.open(io.BytesIO(image.thumb)).size == (164, 256)


def test_a_small_jpeg_is_its_own_web_version() -> None:
    image = normalise(secret_jpeg(1, picture(700, 500)), LIMITS)
    assert image.web == image.served


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_an_opaque_png_is_served_with_its_own_chunks(mode: str) -> None:
    image = normalise(encoded(picture(mode=mode), "PNG"), LIMITS)
    assert image.served_format == "png"
    assert pixel_sha256(decoded(image.served)) == image.pixel_sha256


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "LA"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "L")]
)
def test_lossless_formats_stay_lossless(kind: str, mode: str) -> None:
    image = normalise(encoded(picture(mode=mode), kind), LIMITS)
    assert image.served_format == "webp"
    assert pixel_sha256(decoded(image.served)) == image.pixel_sha256


@pytest.mark.parametrize(("kind", "options"), [("AVIF", {}), ("WEBP", {"quality": 80})])
def test_lossy_formats_become_jpeg(kind: str, options: dict[str, int]) -> None:
    source = encoded(picture(300, 200), kind, **options)
    image = normalise(source, LIMITS)
    assert image.served_format == "jpeg"
    difference = np.asarray(decoded(image.served)).astype(int) - np.asarray(decoded(source))
    assert np.abs(difference).mean() < 2


def test_cmyk_jpeg_is_served_as_rgb() -> None:
    image = normalise(encoded(picture(mode="CMYK")), LIMITS)
    assert Image.open(io.BytesIO(image.served)).mode == "RGB"


def test_a_jpeg_that_cannot_be_cut_is_encoded_anew() -> None:
    data = secret_jpeg(6, picture(60, 40))
    tables = data.index(b"\xff\xdb")
    image = normalise(data[:tables] + b"\0" + data[tables:], LIMITS)  # decoders pass over a stray byte
    assert (image.width, image.height) == (40, 60)
    assert not any(secret in version for version in versions(image) for secret in SECRETS)


def test_webp_is_too_narrow_for_a_scroll() -> None:
    image = normalise(encoded(picture(17_000, 4), "BMP"), LIMITS)
    assert image.served_format == "png"
    assert pixel_sha256(decoded(image.served)) == image.pixel_sha256
    assert Image.open(io.BytesIO(image.thumb)).size == (256, 1)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    first, later = Image.new("RGB", (64, 48), "red"), [Image.new("RGB", (64, 48), c) for c in ("green", "blue")]
    image = normalise(encoded(first, kind, save_all=True, append_images=later, lossless=True), LIMITS)
    assert image.frames == 3
    assert decoded(image.served).getpixel((9, 9)) == (255, 0, 0)
    assert getattr(Image.open(io.BytesIO(image.served)), "n_frames", 1) == 1


def test_of_a_phone_s_double_picture_the_first_is_taken() -> None:
    image = normalise(encoded(picture(), "MPO", save_all=True, append_images=[picture(seed=1)]), LIMITS)
    assert (image.format, image.frames) == ("jpeg", 2)
    assert Image.open(io.BytesIO(image.served)).format == "JPEG"
    assert len(image.served) < len(encoded(picture())) + 100


def test_a_broken_later_frame_does_no_harm() -> None:
    data = encoded(picture(), "GIF", save_all=True, append_images=[picture(seed=1)])
    assert normalise(data[: len(data) * 3 // 4], LIMITS).width == 160


def test_the_same_pixels_in_two_formats() -> None:
    seen = picture()
    images = [normalise(encoded(seen, name), LIMITS) for name in ("PNG", "BMP", "TIFF")]
    assert len({image.pixel_sha256 for image in images}) == 1
    assert len({image.sha256 for image in images}) == 3
    assert len({image.pdq for image in images}) == 1


def test_one_pixel() -> None:
    image = normalise(encoded(Image.new("RGB", (1, 1)), "PNG"), LIMITS)
    assert (image.width, image.height, image.pdq_quality) == (1, 1, 0)


def test_versions_are_of_formats_that_browsers_show() -> None:
    image = normalise(encoded(picture(), "TIFF"), LIMITS)
    assert [sniff(version[:512]) for version in versions(image)] == ["webp", "jpeg", "jpeg"]
