"""Four drawn scenes with things to count, to read and to place. Original work of this project. One version of Pillow draws the same pixels everywhere."""

import io
from collections.abc import Callable

from PIL import Image, ImageDraw, ImageFont

_WIDTH, _HEIGHT = 1280, 960
_OVERSAMPLING = 2
"""Drawn at twice the size and scaled down, for smooth edges."""

_INK = "#2f3542"


class _Canvas:
    """Shapes in pixels of the finished picture; boxes are (left, top, right, bottom)."""

    def __init__(self, background: str) -> None:
        size = (_WIDTH * _OVERSAMPLING, _HEIGHT * _OVERSAMPLING)
        self._image = Image.new("RGB", size, background)
        self._draw = ImageDraw.Draw(self._image)

    @staticmethod
    def _scaled(*numbers: float) -> list[float]:
        return [number * _OVERSAMPLING for number in numbers]

    def box(self, left: float, top: float, right: float, bottom: float, fill: str, *, radius: float = 0) -> None:
        self._draw.rounded_rectangle(self._scaled(left, top, right, bottom), radius * _OVERSAMPLING, fill)

    def oval(self, x: float, y: float, across: float, fill: str, *, high: float | None = None) -> None:
        """An ellipse around (x, y)."""
        half, tall = across / 2, (high or across) / 2
        self._draw.ellipse(self._scaled(x - half, y - tall, x + half, y + tall), fill)

    def shape(self, fill: str, *points: tuple[float, float]) -> None:
        self._draw.polygon(self._scaled(*(number for point in points for number in point)), fill)

    def line(self, color: str, width: int, *points: tuple[float, float]) -> None:
        path = self._scaled(*(number for point in points for number in point))
        self._draw.line(path, color, width * _OVERSAMPLING, joint="curve")

    def arc(self, x: float, y: float, across: float, start: int, end: int, color: str, width: int) -> None:
        half = across / 2
        box = self._scaled(x - half, y - half, x + half, y + half)
        self._draw.arc(box, start, end, color, width * _OVERSAMPLING)

    def gradient(self, top: int, bottom: int, above: tuple[int, int, int], below: tuple[int, int, int]) -> None:
        """A band across the picture whose colour goes from `above` to `below`."""
        first, last = top * _OVERSAMPLING, bottom * _OVERSAMPLING
        for y in range(first, last):
            share = (y - first) / (last - first)
            color = tuple(round(a + (b - a) * share) for a, b in zip(above, below, strict=True))
            self._draw.line((0, y, self._image.width, y), color)

    def text(self, x: float, y: float, text: str, size: int, color: str = _INK, *, anchor: str = "mm") -> None:
        font = ImageFont.load_default(size * _OVERSAMPLING)
        self._draw.text((x * _OVERSAMPLING, y * _OVERSAMPLING), text, color, font, anchor)

    def png(self) -> bytes:
        out = io.BytesIO()
        self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.BOX).save(out, "PNG")
        return out.getvalue()


def _pot(c: _Canvas, x: float, floor: float) -> None:
    for lean in (-46, -24, 0, 24, 46):
        top = floor - 190 + abs(lean)
        c.shape("#4c956c", (x, floor - 60), (x + lean - 11, top + 34), (x + lean, top), (x + lean + 11, top + 34))
    c.shape("#c8553d", (x - 42, floor - 70), (x + 42, floor - 70), (x + 30, floor), (x - 30, floor))
    c.box(x - 48, floor - 82, x + 48, floor - 62, "#b23a2c", radius=4)


def _cat(c: _Canvas, x: float, floor: float) -> None:
    fur, dark = "#3d405b", "#2b2d42"
    c.arc(x + 62, floor - 28, 70, 250, 90, dark, 13)
    c.oval(x, floor - 42, 104, fur, high=88)
    c.oval(x - 30, floor - 100, 66, fur, high=60)
    for side in (-1, 1):
        c.shape(
            fur, (x - 30 + side * 32, floor - 142), (x - 30 + side * 6, floor - 124), (x - 30 + side * 31, floor - 104)
        )
        c.oval(x - 30 + side * 14, floor - 104, 13, "#f2cc8f")
        c.oval(x - 30 + side * 14, floor - 104, 5, dark, high=12)
        c.oval(x - 22 + side * 20, floor - 6, 34, fur, high=20)
    c.shape("#e07a5f", (x - 35, floor - 91), (x - 25, floor - 91), (x - 30, floor - 85))


def _room() -> bytes:
    c = _Canvas("#f4e9d8")
    c.box(0, 690, 1280, 960, "#c89f78")
    for y in (744, 808, 882):
        c.line("#b98f69", 2, (0, y), (1280, y))
    c.box(0, 676, 1280, 694, "#fffaf1")
    # Window: blue sky, two clouds, a hill
    c.box(80, 120, 420, 480, "#fffaf1", radius=6)
    c.box(98, 138, 402, 462, "#a8d8ea")
    for x, y in ((170, 205), (320, 250)):
        c.oval(x, y, 84, "#ffffff", high=34)
        c.oval(x + 12, y - 14, 44, "#ffffff", high=40)
    c.shape("#84a98c", (98, 462), (98, 400), (200, 356), (300, 396), (402, 350), (402, 462))
    c.box(244, 138, 256, 462, "#fffaf1")
    c.box(98, 294, 402, 306, "#fffaf1")
    c.box(62, 478, 438, 500, "#e8dcc6", radius=4)
    # Three framed pictures
    for left, top, color in ((520, 130, "#e07a5f"), (660, 130, "#81b29a"), (800, 130, "#f2cc8f")):
        c.box(left, top, left + 112, top + 140, _INK, radius=3)
        c.box(left + 9, top + 9, left + 103, top + 131, "#fffaf1")
        c.box(left + 22, top + 24, left + 90, top + 116, color)
    c.oval(576, 200, 40, "#fffaf1")
    c.shape("#fffaf1", (682, 246), (716, 176), (750, 246))
    c.line("#fffaf1", 8, (834, 232), (856, 172), (878, 232))
    # Clock: ten past ten
    c.oval(1020, 170, 130, _INK)
    c.oval(1020, 170, 112, "#fffaf1")
    for x, y in ((1020, 122), (1068, 170), (1020, 218), (972, 170)):
        c.oval(x, y, 8, _INK)
    c.line(_INK, 7, (1020, 170), (994, 153))
    c.line(_INK, 4, (1020, 170), (1058, 146))
    c.oval(1020, 170, 13, "#e07a5f")
    # Bookcase: four, five and three books
    c.box(980, 330, 1230, 720, "#8d5b3e", radius=4)
    shelves = (
        (450, ("#e07a5f", "#3d405b", "#81b29a", "#f2cc8f")),
        (575, ("#457b9d", "#f4a261", "#e9c46a", "#2a9d8f", "#bc4749")),
        (700, ("#6d597a", "#81b29a", "#e07a5f")),
    )
    for floor, books in shelves:
        c.box(996, floor - 104, 1214, floor, "#6f452d")
        for place, color in enumerate(books):
            left, high = 1004 + place * 34, 84 - place % 3 * 11
            c.box(left, floor - high, left + 28, floor, color, radius=2)
            c.box(left + 8, floor - high + 14, left + 20, floor - high + 20, "#fffaf1")
    _pot(c, 1170, 332)
    # Rug, sofa, cushions, cat
    c.oval(620, 850, 860, "#d9ae94", high=150)
    c.oval(620, 850, 760, "#e6c7b3", high=118)
    c.box(430, 480, 900, 690, "#5b8e97", radius=40)
    c.box(400, 560, 470, 760, "#4a7780", radius=26)
    c.box(860, 560, 930, 760, "#4a7780", radius=26)
    c.box(450, 630, 880, 750, "#6ba3ad", radius=20)
    c.line("#4a7780", 4, (665, 640), (665, 744))
    for x in (430, 890):
        c.box(x, 756, x + 14, 786, "#6f452d")
    c.box(484, 560, 574, 645, "#f2cc8f", radius=16)
    c.box(770, 566, 852, 645, "#e07a5f", radius=16)
    _cat(c, 672, 640)
    # Floor lamp
    c.oval(330, 800, 120, "#6f452d", high=24)
    c.line("#6f452d", 8, (330, 800), (330, 560))
    c.shape("#f2cc8f", (286, 460), (374, 460), (404, 568), (256, 568))
    # Small table: a steaming cup and an open letter
    c.box(220, 858, 470, 876, "#8d5b3e", radius=6)
    c.line("#8d5b3e", 10, (250, 876), (240, 950))
    c.line("#8d5b3e", 10, (440, 876), (450, 950))
    c.arc(320, 828, 36, 270, 90, "#ffffff", 7)
    c.box(264, 806, 322, 858, "#ffffff", radius=10)
    for x in (282, 304):
        c.line("#ffffff", 4, (x, 796), (x + 7, 784), (x - 5, 772), (x + 3, 758))
    c.shape("#fffaf1", (372, 858), (384, 838), (456, 838), (444, 858))
    for y in (845, 851):
        c.line("#a9a9a9", 2, (392, y), (440, y))
    return c.png()


def _house(c: _Canvas, left: float, wide: float, top: float, wall: str, roof: str, door: str, number: str) -> None:
    c.box(left, top, left + wide, 660, wall)
    c.shape(roof, (left - 18, top), (left + wide / 2, top - 110), (left + wide + 18, top))
    for row in range(2):
        for column in (0.27, 0.73):
            x, y = left + wide * column, top + 66 + row * 110
            c.box(x - 32, y - 38, x + 32, y + 38, "#fffaf1", radius=3)
            c.box(x - 26, y - 32, x + 26, y + 32, "#bfe3ee")
            c.line("#fffaf1", 5, (x, y - 32), (x, y + 32))
    x = left + wide / 2
    c.box(x - 36, 540, x + 36, 660, door, radius=6)
    c.oval(x + 24, 606, 9, "#f2cc8f")
    c.text(x, 566, number, 26, "#fffaf1")


def _car(c: _Canvas, x: float, floor: float, color: str) -> None:
    c.shape(color, (x - 78, floor - 62), (x - 46, floor - 108), (x + 44, floor - 108), (x + 84, floor - 62))
    c.shape("#d7eef5", (x - 60, floor - 64), (x - 38, floor - 98), (x - 4, floor - 98), (x - 4, floor - 64))
    c.shape("#d7eef5", (x + 8, floor - 64), (x + 8, floor - 98), (x + 38, floor - 98), (x + 64, floor - 64))
    c.box(x - 124, floor - 66, x + 124, floor - 18, color, radius=18)
    c.oval(x + 114, floor - 46, 16, "#fff3b0")
    for wheel in (x - 72, x + 72):
        c.oval(wheel, floor - 18, 54, _INK)
        c.oval(wheel, floor - 18, 24, "#ced4da")


def _tree(c: _Canvas, x: float, floor: float) -> None:
    c.box(x - 11, floor - 150, x + 11, floor, "#7f5539", radius=4)
    for dx, dy, across in ((-38, 170, 110), (38, 176, 116), (0, 226, 128)):
        c.oval(x + dx, floor - dy, across, "#588157")
    for dx, dy in ((-44, 190), (8, 244), (42, 164), (-6, 176), (58, 204)):
        c.oval(x + dx, floor - dy, 17, "#d62828")


def _street() -> bytes:
    c = _Canvas("#cfe8f3")
    c.gradient(0, 660, (142, 202, 230), (237, 246, 249))
    c.oval(1130, 110, 120, "#ffd166")
    for x, y in ((220, 110), (660, 80)):
        for dx, dy, across in ((-56, 10, 90), (0, -10, 120), (60, 12, 84)):
            c.oval(x + dx, y + dy, across, "#ffffff", high=62)
    for x, y in ((420, 120), (470, 96), (520, 132), (860, 150), (910, 128)):
        c.arc(x - 13, y, 28, 200, 350, _INK, 3)
        c.arc(x + 13, y, 28, 190, 340, _INK, 3)
    _house(c, 60, 220, 380, "#f4a6a0", "#9d4348", "#457b9d", "1")
    _house(c, 330, 240, 330, "#f6dfa4", "#7f5539", "#bc4749", "3")
    # The bakery: sign, striped awning, three loaves
    c.box(620, 400, 920, 660, "#bcd4c0")
    c.box(606, 376, 934, 404, "#6d8b74", radius=4)
    c.box(650, 420, 890, 470, "#386641", radius=6)
    c.text(770, 445, "BAKERY", 38, "#fffaf1")
    for place in range(8):
        left = 630 + place * 35
        c.shape(
            "#bc4749" if place % 2 == 0 else "#fffaf1", (left, 486), (left + 35, 486), (left + 39, 534), (left - 4, 534)
        )
    c.box(640, 540, 800, 636, "#fdf0d5", radius=4)
    for x in (674, 720, 766):
        c.oval(x, 614, 42, "#c68b59", high=26)
        c.line("#a56f42", 3, (x - 8, 608), (x + 6, 606))
    c.box(824, 540, 896, 660, "#386641", radius=4)
    c.box(836, 552, 884, 610, "#bfe3ee", radius=3)
    c.text(860, 630, "OPEN", 16, "#fffaf1")
    _house(c, 990, 220, 380, "#b8c0e0", "#4a4e69", "#e09f3e", "7")
    c.box(0, 660, 1280, 730, "#d8d2c4")
    for x in range(0, 1280, 80):
        c.line("#c4bdad", 2, (x, 660), (x - 20, 730))
    c.box(0, 730, 1280, 744, "#b5ae9f")
    c.box(0, 744, 1280, 960, "#6c757d")
    for x in range(20, 1280, 120):
        if not 520 <= x <= 760:
            c.box(x, 846, x + 64, 856, "#f8f9fa")
    for y in range(764, 960, 40):
        c.box(560, y, 760, y + 22, "#f8f9fa")
    _tree(c, 306, 690)
    _tree(c, 958, 690)
    # Traffic light: green
    c.box(520, 520, 530, 700, _INK)
    c.box(500, 420, 550, 530, _INK, radius=10)
    for y, color in ((442, "#7d2e2e"), (475, "#7d6a2e"), (508, "#52d273")):
        c.oval(525, y, 26, color)
    # A person with a dog waits
    c.box(562, 610, 596, 668, "#e76f51", radius=10)
    c.oval(579, 590, 36, "#f1c9a5")
    c.shape("#5e3023", (560, 590), (564, 570), (594, 570), (598, 588), (579, 578))
    for x in (568, 584):
        c.box(x, 664, x + 9, 708, "#264653")
    c.line(_INK, 2, (592, 640), (616, 672))
    c.box(608, 672, 644, 692, "#8a5a3b", radius=8)
    c.oval(646, 668, 22, "#8a5a3b")
    for x in (612, 634):
        c.box(x, 688, x + 6, 708, "#8a5a3b")
    _car(c, 250, 830, "#e63946")
    _car(c, 1030, 920, "#2a9d8f")
    return c.png()


_PRICES = (
    ("Apples, one kilo", "2.40"),
    ("Honey, small jar", "5.50"),
    ("Goat cheese", "4.20"),
    ("Rye bread", "3.80"),
    ("Tulips, ten stems", "6.00"),
)


def _poster() -> bytes:
    c = _Canvas("#dfe7e2")
    for x, color in ((0, "#d3ddd6"), (640, "#d9e2dc")):
        c.box(x, 0, x + 320, 960, color)
    c.box(262, 62, 1030, 924, "#b9c4bd", radius=4)
    c.box(250, 50, 1018, 912, "#fffdf7", radius=4)
    c.box(250, 50, 1018, 232, "#386641", radius=4)
    c.text(634, 112, "FARMERS' MARKET", 62, "#fffdf7")
    c.text(634, 188, "Town Square, every Saturday", 34, "#f2cc8f")
    c.text(300, 292, "9:00 to 13:00", 46, "#bc4749", anchor="lm")
    c.text(968, 292, "Stall 14", 40, _INK, anchor="rm")
    c.line("#386641", 4, (300, 338), (968, 338))
    for row, (name, price) in enumerate(_PRICES):
        y = 390 + row * 62
        c.text(300, y, name, 36, anchor="lm")
        c.text(968, y, price, 36, anchor="rm")
        c.line("#c9cfc5", 2, (300, y + 30), (968, y + 30))
    c.line("#bc4749", 5, (296, 576), (970, 576))  # rye bread is struck out
    c.text(812, 552, "sold out", 28, "#bc4749")
    for x, color in ((372, "#d62828"), (468, "#d62828"), (564, "#8cb369")):
        c.oval(x, 766, 76, color)
        c.line("#6f452d", 5, (x, 732), (x + 6, 712))
        c.shape("#588157", (x + 6, 720), (x + 34, 702), (x + 30, 724))
    c.box(690, 716, 760, 806, "#e9a13b", radius=12)
    c.box(696, 700, 754, 718, "#6f452d", radius=4)
    c.box(698, 746, 752, 780, "#fffdf7", radius=3)
    c.text(725, 763, "honey", 15)
    for x, color in ((830, "#e76f51"), (868, "#f4a261"), (906, "#c9184a")):
        c.line("#588157", 5, (x, 806), (x, 742))
        c.shape(color, (x - 17, 704), (x - 8, 716), (x, 700), (x + 8, 716), (x + 17, 704), (x + 11, 746), (x - 11, 746))
    c.text(634, 868, "Please bring your own bag. Dogs welcome.", 28)
    for x, y, color in ((264, 66, "#bc4749"), (1004, 66, "#457b9d"), (264, 898, "#457b9d"), (1004, 898, "#bc4749")):
        c.oval(x + 2, y + 3, 24, "#9aa59e")
        c.oval(x, y, 24, color)
    return c.png()


def _boat(c: _Canvas, x: float, water: float, size: float, hull: str, sail: str) -> None:
    c.line("#7f5539", 4, (x, water), (x, water - 120 * size))
    c.shape(sail, (x + 6, water - 118 * size), (x + 6, water - 14), (x + 70 * size, water - 14))
    c.shape("#fffaf1", (x - 6, water - 96 * size), (x - 6, water - 14), (x - 48 * size, water - 14))
    c.shape(
        hull,
        (x - 62 * size, water - 8),
        (x + 74 * size, water - 8),
        (x + 50 * size, water + 18),
        (x - 44 * size, water + 18),
    )


def _parasol(c: _Canvas, x: float, floor: float, color: str) -> None:
    c.line("#fffaf1", 7, (x, floor), (x, floor - 150))
    c.oval(x + 6, floor, 96, "#d9b77e", high=18)
    half = ((x - 92, floor - 134), (x - 60, floor - 178), (x, floor - 196))
    c.shape(color, *half, *((2 * x - px, py) for px, py in reversed(half)))
    c.shape("#fffaf1", (x - 34, floor - 134), (x, floor - 196), (x + 34, floor - 134))


def _beach() -> bytes:
    c = _Canvas("#f0d9a8")
    c.gradient(0, 420, (94, 160, 214), (214, 236, 246))
    c.gradient(420, 640, (38, 112, 149), (110, 193, 200))
    c.oval(180, 130, 110, "#fff1b8")
    # Lighthouse on a rock: white with two red bands
    c.shape("#6b705c", (960, 440), (1010, 372), (1110, 356), (1200, 392), (1280, 388), (1280, 452))
    c.shape("#fffaf1", (1050, 370), (1064, 160), (1116, 160), (1130, 370))
    c.shape("#c1292e", (1059, 236), (1062, 190), (1118, 190), (1121, 236))
    c.shape("#c1292e", (1053, 324), (1056, 278), (1124, 278), (1127, 324))
    c.box(1062, 122, 1118, 162, "#ffe8a3")
    c.shape("#c1292e", (1052, 124), (1090, 90), (1128, 124))
    for x, water, size, hull, sail in (
        (260, 478, 0.8, "#7f5539", "#e07a5f"),
        (520, 452, 0.6, "#3d405b", "#f2cc8f"),
        (760, 520, 1.0, "#a44a3f", "#81b29a"),
    ):
        _boat(c, x, water, size, hull, sail)
    for y, start in ((500, 60), (556, 330), (590, 900), (530, 980)):
        for x in (start, start + 34, start + 68):
            c.arc(x, y, 34, 200, 340, "#d8f0f2", 4)
    c.shape("#fdf6e3", (0, 612), (200, 636), (420, 606), (700, 640), (960, 610), (1280, 632), (1280, 664), (0, 652))
    c.shape("#f0d9a8", (0, 634), (200, 656), (420, 628), (700, 660), (960, 632), (1280, 652), (1280, 960), (0, 960))
    # A kite on its string, held by a child
    c.line(_INK, 2, (604, 742), (566, 560), (470, 330), (420, 222))
    c.shape("#e63946", (420, 130), (470, 186), (420, 262), (370, 186))
    c.shape("#ffd166", (420, 130), (470, 186), (420, 186))
    c.shape("#ffd166", (420, 262), (370, 186), (420, 186))
    c.line("#457b9d", 2, (420, 262), (436, 292), (424, 324), (442, 356))
    for x, y in ((436, 292), (424, 324), (442, 356)):
        c.shape("#457b9d", (x - 14, y - 8), (x + 14, y + 8), (x + 14, y - 8), (x - 14, y + 8))
    c.line("#f1c9a5", 9, (636, 772), (604, 742))
    c.box(622, 764, 660, 824, "#ff9f1c", radius=12)
    c.oval(641, 742, 42, "#f1c9a5")
    c.shape("#6f4518", (619, 742), (624, 718), (660, 718), (663, 740), (641, 730))
    for x in (627, 645):
        c.box(x, 820, x + 11, 872, "#f1c9a5", radius=5)
    for x, floor, color in (
        (160, 860, "#e63946"),
        (400, 790, "#457b9d"),
        (900, 820, "#2a9d8f"),
        (1140, 900, "#f4a261"),
    ):
        _parasol(c, x, floor, color)
    # Towel, ball, sandcastle, two starfish, a crab
    c.shape("#8ecae6", (205, 884), (345, 868), (368, 906), (222, 924))
    c.shape("#fffaf1", (236, 881), (262, 878), (282, 916), (254, 920))
    c.oval(780, 872, 66, "#fffaf1")
    c.shape("#e63946", (780, 872), (764, 842), (790, 840))
    c.shape("#457b9d", (780, 872), (812, 868), (804, 894))
    c.shape("#ffd166", (780, 872), (772, 904), (752, 886))
    c.box(970, 842, 1070, 890, "#d9b77e", radius=3)
    for x in (974, 1006, 1038):
        c.box(x, 816, x + 28, 890, "#cda869", radius=3)
    c.line(_INK, 3, (1020, 818), (1020, 778))
    c.shape("#e63946", (1020, 778), (1050, 789), (1020, 800))
    for x, y in ((520, 902), (560, 930)):
        c.shape("#e76f51", (x, y - 22), (x + 7, y - 6), (x + 23, y - 6), (x + 10, y + 5), (x + 15, y + 21),
                (x, y + 11), (x - 15, y + 21), (x - 10, y + 5), (x - 23, y - 6), (x - 7, y - 6))  # fmt: skip
    c.oval(880, 926, 58, "#c1292e", high=34)
    for side in (-1, 1):
        for reach in (30, 38, 44):
            c.line("#c1292e", 4, (880 + side * 20, 930), (880 + side * reach, 926 + reach // 2))
        c.oval(880 + side * 42, 906, 24, "#c1292e", high=18)
        c.line(_INK, 3, (880 + side * 9, 912), (880 + side * 9, 900))
        c.oval(880 + side * 9, 898, 8, _INK)
    return c.png()


SCENES: dict[str, Callable[[], bytes]] = {"room": _room, "street": _street, "poster": _poster, "beach": _beach}
"""Each draws one scene as a PNG of 1280 x 960 pixels."""
