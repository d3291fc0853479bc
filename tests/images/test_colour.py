import io

import numpy as np
import pytest
from PIL import Image, ImageCms

from pixmo.images.colour import NoSuchColour, orientation, to_srgb, upright
from tests.images.conftest import encoded, picture, png


def reopened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


@pytest.mark.parametrize("turned", range(1, 9))
def test_upright_undoes_each_orientation(turned: int) -> None:
    seen = picture(40, 30)
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[turned]
    stored = seen if undo is None else seen.transpose(Image.Transpose(undo))
    assert upright(stored, turned).tobytes() == seen.tobytes()


@pytest.mark.parametrize("value", [0, 9, 3000])
def test_orientations_outside_the_standard_are_none(value: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = value
    assert orientation(reopened(encoded(picture(), exif=exif))) == 1


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_broken_exif_is_no_orientation() -> None:
    assert orientation(reopened(encoded(picture(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff"))) == 1


def test_16_bit_grey_keeps_its_range() -> None:
    rows = b"".join(b"\0" + np.array([0, 0x7FFF, 0xFFFF], ">u2").tobytes() for _ in range(2))
    grey = to_srgb(reopened(png(3, 2, 16, 0, rows)))
    assert grey.mode == "RGB"
    assert np.asarray(grey)[0, :, 0].tolist() == [0, 127, 255]


def test_16_bit_colour_keeps_its_range() -> None:
    rows = b"\0" + np.array([0x0100, 0x8000, 0xFFFF], ">u2").tobytes()
    assert np.asarray(to_srgb(reopened(png(1, 1, 16, 2, rows))))[0, 0].tolist() == [1, 128, 255]


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_16_bit_tiff(compression: str | None) -> None:
    samples = np.array([[0, 0x7FFF, 0xFFFF]], np.uint16)
    data = encoded(Image.fromarray(samples), "TIFF", compression=compression)
    assert np.asarray(to_srgb(reopened(data)))[0, :, 1].tolist() == [0, 127, 255]


def test_16_bit_tiff_in_which_white_is_zero() -> None:
    data = encoded(Image.fromarray(np.array([[0, 0xFFFF]], np.uint16)), "TIFF", tiffinfo={262: 0})
    assert np.asarray(to_srgb(reopened(data)))[0, :, 1].tolist() == [255, 0]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_samples_without_a_white_are_refused(mode: str) -> None:
    with pytest.raises(NoSuchColour, match="8 or 16 bits"):
        to_srgb(Image.new(mode, (2, 2)))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert list(to_srgb(image.convert(mode)).get_flattened_data()) == [(0, 0, 0), (255, 255, 255)]


def test_a_transparent_palette_colour_lies_over_white() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG", transparency=0)
    assert list(to_srgb(reopened(data)).get_flattened_data()) == [(255, 255, 255), (10, 20, 30)]


def test_half_transparent_red_is_pink() -> None:
    red = to_srgb(Image.new("RGBA", (1, 1), (255, 0, 0, 128)))
    assert red.getpixel((0, 0)) == (255, 127, 127)


def swapped_profile() -> bytes:
    """An sRGB profile under another name whose red and blue primaries are exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for place in range(132, 132 + 12 * int.from_bytes(data[128:132]), 12):
        tag = bytes(data[place : place + 4])
        data[place : place + 4] = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}.get(tag, tag)
    return bytes(data).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be")).replace(b"sRGB", b"swap")


def test_an_icc_profile_is_converted() -> None:
    image = Image.new("RGB", (1, 1), (250, 10, 10))
    image.info["icc_profile"] = swapped_profile()
    red, _, blue = np.asarray(to_srgb(image))[0, 0].tolist()
    assert red < 60
    assert blue > 200


@pytest.mark.parametrize("profile", [b"", b"not a profile", swapped_profile()])
def test_profiles_that_do_not_fit_are_passed_over(profile: bytes) -> None:
    image = Image.new("L", (1, 1), 77)
    image.info["icc_profile"] = profile
    assert to_srgb(image).getpixel((0, 0)) == (77, 77, 77)


def test_cmyk_becomes_rgb() -> None:
    assert to_srgb(Image.new("CMYK", (1, 1), (0, 0, 0, 0))).getpixel((0, 0)) == (255, 255, 255)


def test_lab_becomes_rgb() -> None:
    assert np.asarray(to_srgb(Image.new("LAB", (1, 1), (255, 128, 128)))).min() >= 253
