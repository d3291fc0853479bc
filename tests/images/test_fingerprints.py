import hashlib

import pytest
from PIL import Image

from pixmo.images.fingerprints import PDQ_BITS, pdq, pixel_sha256
from tests.images.conftest import picture


@pytest.mark.parametrize("size", [(1, 1), (3, 64), (5, 65), (7, 200)])
def test_pixel_hash_is_of_sizes_and_rows(size: tuple[int, int]) -> None:
    image = picture(*size)
    head = size[0].to_bytes(4, "big") + size[1].to_bytes(4, "big")
    assert pixel_sha256(image) == hashlib.sha256(head + image.tobytes()).hexdigest()


def test_shape_is_part_of_the_pixel_hash() -> None:
    assert pixel_sha256(Image.new("RGB", (2, 3))) != pixel_sha256(Image.new("RGB", (3, 2)))


def distance(one: str, other: str) -> int:
    return (int(one, 16) ^ int(other, 16)).bit_count()


def test_pdq_of_likes_and_unlikes() -> None:
    image = picture(800, 600)
    digest, quality = pdq(image)
    assert len(digest) == PDQ_BITS // 4
    assert quality == 100
    assert distance(digest, pdq(image.resize((520, 390)))[0]) <= 31
    assert distance(digest, pdq(picture(800, 600, seed=1))[0]) > 80


def test_pdq_of_a_flat_image_has_no_quality() -> None:
    assert pdq(Image.new("RGB", (64, 64), "teal"))[1] < 50


def test_pdq_takes_grey() -> None:
    assert pdq(picture(mode="L"))[1] == 100
