"""Any decoded image as upright 8-bit sRGB, the one form in which pixels are compared, resized and hashed."""

import io

import numpy as np
from PIL import Image, ImageCms

_ORIENTATION = 0x0112
_TRANSPOSE = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SRGB = ImageCms.createProfile("sRGB")


class NoSuchColour(ValueError):
    """Samples whose range the file does not define, such as floating point."""


def orientation(image: Image.Image) -> int:
    """Exif orientation, 1 to 8; 1 if there is none, or one outside the standard. Call it after `load()`."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken Exif block says nothing about the pixels
        return 1
    return value if value in _TRANSPOSE else 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """The image turned and mirrored as its Exif orientation asks."""
    return image.transpose(_TRANSPOSE[orientation]) if orientation != 1 else image


def _grey16_to_8(image: Image.Image) -> Image.Image:
    """The 8 most significant bits of 16-bit (or TIFF 12-bit) grey samples; Pillow's `convert` would clip them."""
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(258, (16,))[0]
    samples = (np.asarray(image) >> (bits - 8)).astype(np.uint8)
    return Image.fromarray(255 - samples if tags.get(262) == 0 else samples)


def _profile(icc: bytes | None) -> ImageCms.ImageCmsProfile | None:
    """The embedded ICC profile, or None if there is none to apply: missing, unreadable, or sRGB itself."""
    if not icc:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return None if ImageCms.getProfileDescription(profile).startswith("sRGB") else profile
    except (OSError, ImageCms.PyCMSError):
        return None


def _convert(image: Image.Image, profile: ImageCms.ImageCmsProfile | None) -> Image.Image:
    if profile is not None:
        try:
            converted = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
        except (ImageCms.PyCMSError, ValueError):
            converted = None  # a profile for another colour space than the samples have: as if there were none
        if converted is not None:
            return converted
    return image.convert("RGB")


def to_srgb(image: Image.Image) -> Image.Image:
    """`image` as 8-bit sRGB, size unchanged.

    An ICC profile is converted to sRGB (perceptual intent). Transparent pixels are laid over white, as a page shows
    them. 16-bit samples keep their 8 most significant bits.

    Raises `NoSuchColour` for 32-bit and floating point samples.
    """
    if image.mode in {"I", "F"}:
        raise NoSuchColour("32-bit or floating point samples have no defined white; save the image with 8 or 16 bits")
    profile = _profile(image.info.get("icc_profile"))
    if image.mode.startswith("I;16"):
        image = _grey16_to_8(image)
    if not image.has_transparency_data:
        if image.mode == "P":
            image = image.convert("RGB")
        return _convert(image, profile)
    image = image.convert("RGBA")
    colours = _convert(image.convert("RGB"), profile)
    white = Image.new("RGB", image.size, "white")
    white.paste(colours, mask=image.getchannel("A"))
    return white
