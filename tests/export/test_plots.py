import hashlib
import io
import os
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageColor

from pixmo.export.plots import BAR, HEIGHT, MEAN, MEDIAN, REST, WIDTH, Bins, bins, histogram

LONG_TAIL = Counter({value: 4000 // (value + 1) for value in range(200)})


Pixels = npt.NDArray[np.uint8]
BASE = 918  # the lowest row of the bars


def drawn(counts: dict[int, int], title: str = "Points in a row", unit: str = "points") -> Pixels:
    """RGBA of [height, width]."""
    return np.array(Image.open(io.BytesIO(histogram(counts, title=title, unit=unit))).convert("RGBA"))


def holds(image: Pixels, colour: str) -> npt.NDArray[np.bool_]:
    """Which pixels below the legend have a colour."""
    mask = (image == (*ImageColor.getrgb(colour), 255)).all(axis=2)
    mask[:250] = False
    return np.asarray(mask)


def columns(image: Pixels, colour: str) -> list[int]:
    """The columns that hold a line of a colour, right of the numbers of the axis."""
    return [int(x) for x in np.flatnonzero(holds(image, colour)[:BASE].sum(axis=0) > 200)]


def bars(image: Pixels, colour: str = BAR) -> list[range]:
    """The columns of each bar from left to right. The lines of mean and median, four wide, do not cut a bar in two."""
    found: list[range] = []
    for x in np.flatnonzero(holds(image, colour)[BASE]):
        if found and x - found[-1].stop <= 4:
            found[-1] = range(found[-1].start, int(x) + 1)
        else:
            found.append(range(int(x), int(x) + 1))
    return found


def middle(bar: range) -> float:
    return (bar.start + bar.stop) / 2


def test_bars_are_as_high_as_their_counts() -> None:
    image = drawn({0: 1000, 10: 500, 20: 250, 30: 125})
    heights = [int(holds(image, BAR)[:, bar.start + 1].sum()) for bar in bars(image)]
    assert heights == pytest.approx([heights[0] / share for share in (1, 2, 4, 8)], abs=2)
    assert heights[0] == BASE + 2 - 256


def test_a_rare_value_is_still_seen() -> None:
    image = drawn({0: 1_000_000, 30: 1_000_000, 15: 1})
    assert [int(holds(image, BAR)[:, bar.start + 1].sum()) for bar in bars(image)] == [664, 3, 664]


def test_mean_and_median_stand_at_their_values() -> None:
    image = drawn({0: 3, 2: 1, 10: 1})
    zero, two, ten = (middle(bar) for bar in bars(image))
    mean, median = columns(image, MEAN), columns(image, MEDIAN)
    assert len(mean) == len(median) == 4
    assert np.mean(mean) == pytest.approx(zero + (ten - zero) * (12 / 5) / 10, abs=1.5)
    assert np.mean(median) == pytest.approx(zero, abs=1.5)
    assert two - zero == pytest.approx((ten - zero) / 5, abs=1.5)


def test_the_card_is_white_with_transparent_corners() -> None:
    image = drawn(LONG_TAIL)
    assert image.shape == (HEIGHT, WIDTH, 4) == (1080, 1920, 4)
    assert {int(image[y, x, 3]) for y in (0, -1) for x in (0, -1)} == {0}
    assert (image[20, 40:-40] == 255).all()
    assert (image[40:-40, 20] == 255).all()


@pytest.mark.parametrize("counts", [{}, {3: 0}])
def test_nothing_is_said_to_be_nothing(counts: dict[int, int]) -> None:
    image = drawn(counts)
    assert not holds(image, BAR).any()
    assert not holds(image, MEAN).any()
    assert histogram({}, title="t", unit="u") == histogram(counts, title="t", unit="u")


def test_a_single_value_is_one_bar_in_the_middle_of_its_axis() -> None:
    image = drawn({7: 12})
    (bar,) = bars(image)
    assert bins({7: 12}) == Bins(7, 1, (12,), 0)
    assert len(bar) == 180
    assert np.mean(columns(image, MEAN)) == pytest.approx(middle(bar), abs=1.5)


@pytest.mark.parametrize(
    ("low", "high", "step"),
    [
        (0, 39, 1),
        (0, 40, 2),
        (-1, 23, 1),
        (17, 17 + 39, 1),
        (100, 299, 5),
        (100, 300, 10),
        (0, 717_041, 20_000),
        (-5, 94, 5),
    ],
)
def test_bars_are_one_two_or_five_wide_and_at_most_forty(low: int, high: int, step: int) -> None:
    made = bins(dict.fromkeys(range(low, high + 1), 3))
    assert made.step == step
    assert len(made.heights) <= 40
    assert made.start <= low < made.start + step
    assert made.end - step <= high < made.end
    assert made.start % step == 0
    assert sum(made.heights) == 3 * (high - low + 1)
    assert set(made.heights[1:-1]) <= {3 * step}


def test_a_long_tail_does_not_press_the_rest_together() -> None:
    made = bins({**dict.fromkeys(range(20), 100), 50_000: 3})
    assert made == Bins(0, 1, (100,) * 20, 3)
    image = drawn({**dict.fromkeys(range(20), 100), 50_000: 10})
    (rest,) = bars(image, REST)
    assert rest.start > bars(image)[-1].stop
    # The mean, 258, is beyond the bars.
    assert set(columns(image, MEAN)) <= set(rest)


def test_a_tail_that_is_not_rare_stays() -> None:
    assert bins({**dict.fromkeys(range(20), 1), 100: 1}).rest == 0
    assert bins(LONG_TAIL).rest == 0


def test_a_title_of_any_length_stays_on_the_card() -> None:
    image = drawn({1: 1}, title="Seconds of speech in a take, in all campaigns together, silence at both ends left out")
    assert (image[40:130, -60:-4] == 255).all()
    assert (image[40:130] < 255).any()


def test_the_same_counts_give_the_same_bytes_in_every_process() -> None:
    script = (
        "import hashlib, sys; from collections import Counter; from pixmo.export.plots import histogram;"
        "counts = Counter({value: 4000 // (value + 1) for value in range(200)});"
        "print(hashlib.sha256(histogram(counts, title='Points in a row', unit='points')).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "77")
    }
    backwards = dict(reversed(LONG_TAIL.items()))
    here = hashlib.sha256(histogram(backwards, title="Points in a row", unit="points")).hexdigest()
    assert digests == {here}


def test_the_file_is_small_without_metadata_and_drawn_at_once() -> None:
    content = histogram(LONG_TAIL, title="Points in a row", unit="points")
    assert len(content) < 60_000
    assert set(Image.open(io.BytesIO(content)).info) == {"transparency"}
    rounds = [time.process_time()]
    for _ in range(5):
        histogram(LONG_TAIL, title="Points in a row", unit="points")
        rounds.append(time.process_time())
    assert min(after - before for before, after in pairwise(rounds)) < 0.25
