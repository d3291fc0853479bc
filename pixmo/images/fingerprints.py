"""What makes two images the same or nearly the same: a hash of the pixels, and PDQ."""

import hashlib

import numpy as np
import pdqhash
from PIL import Image

PDQ_BITS = 256
_ROWS = 64


def pixel_sha256(image: Image.Image) -> str:
    """SHA-256 over width and height (4 bytes each, big-endian) and the RGB bytes in row order.

    `image` is upright 8-bit sRGB. Two files with the same pixels agree, whatever their format or metadata.
    """
    digest = hashlib.sha256(image.width.to_bytes(4) + image.height.to_bytes(4))
    for top in range(0, image.height, _ROWS):  # strips stay in the cache: half the time of one copy of the whole
        digest.update(image.crop((0, top, image.width, min(image.height, top + _ROWS))).tobytes())
    return digest.hexdigest()


def pdq(image: Image.Image) -> tuple[str, int]:
    """PDQ (Facebook, 2019, "The TMK+PDQF Video-Hashing Algorithm and the PDQ Image-Hashing Algorithm") of an image.

    Returns the 256 bits as 64 hex digits, in the order of the reference implementation, and the quality, 0 to 100.
    The image should be at least 512 pixels long: the hash of a small version lies many bits away.
    """
    bits, quality = pdqhash.compute(np.asarray(image.convert("RGB")))
    return np.packbits(bits.astype(np.uint8)).tobytes().hex(), int(quality)
