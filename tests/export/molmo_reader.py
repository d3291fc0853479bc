"""What the original Molmo code does with every row of its data sets, as far as a layout can spoil it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

DATA = Path("torch_datasets/pixmo_datasets")
Row = dict[str, Any]
Example = dict[str, Any]


def load(root: Path, folder: str) -> Any:
    """As the original code opens the folder of a data set."""
    return datasets.load_from_disk(str(root / DATA / folder))


def read(root: Path, folder: str, split: str) -> list[Example]:
    """Every example of a split, made and checked as the original code would."""
    found = load(root, folder)
    rows = found if folder == "pixmo-points-eval" else found[split]
    rng = np.random.RandomState(0)
    return [_READERS[folder](row, _image(row["image"]), split, rng) for row in rows]


def _image(path: Any) -> NDArray[np.uint8]:
    """uint8 [height, width, 3], upright."""
    assert isinstance(path, str)
    assert Path(path).is_absolute()
    with Image.open(path) as opened:
        image = ImageOps.exif_transpose(opened.convert("RGB"))
    pixels = np.array(image)
    assert pixels.dtype == np.uint8
    assert pixels.ndim == 3
    return pixels


def _text(value: Any) -> str:
    assert isinstance(value, str)
    assert value.strip()
    return value


def _stacked(points: list[dict[str, float]]) -> NDArray[np.float64]:
    return np.stack([[point["x"] for point in points], [point["y"] for point in points]], -1)


def _formatted(points: NDArray[Any], image: NDArray[np.uint8], scale: float | None) -> str:
    """Points as the model learns to write them: percent, by x and then y."""
    if points.size == 0:
        return "There are none."
    height, width = image.shape[:2]
    points *= 1.0 if scale is not None else 100.0 / np.array([width, height], points.dtype)  # raises on whole numbers
    assert points.shape[1:] == (2,)
    assert ((points >= 0) & (points <= 100)).all()
    rounded = np.round(points, 1)
    ordered = rounded[np.argsort(rounded[:, 0] * 10000 + rounded[:, 1], kind="stable")]
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in ordered)


def _cap(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    chosen = row["transcripts"][rng.randint(0, len(row["transcripts"]))]
    return {"long_caption": _text(row["caption"]), "transcript": _text(chosen)}


def _ask(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    pairs = [(_text(q), _text(a)) for q, a in zip(row["question"], row["answer"], strict=True)]
    return {"messages": [list(pair) for pair in pairs]}


def _cap_qa(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    dialogues = []
    for question, answer, messages in zip(row["question"], row["answer"], row["messages"], strict=True):
        assert len(messages) % 2 == 0
        assert question.startswith("[USER] ")
        assert question.endswith(" [ASSISTANT]")
        turns = [turn.strip() for pair in question.split("[USER]")[1:] for turn in pair.split("[ASSISTANT]")]
        assert [*turns[:-1], answer] == messages
        dialogues.append([_text(message) for message in messages])
    return {"messages": dialogues}


def _points(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    found = []
    for points, count, label, method in zip(
        row["points"], row["count"], row["label"], row["collection_method"], strict=True
    ):
        assert method in ("pointing", "counting")
        assert count == len(points)
        found.append((_text(label).lower(), _formatted(_stacked(points), image, 100)))
    assert found
    return {"points": found}


def _count(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    example: Example = {"label": _text(row["label"]), "count": int(row["count"])}
    if split == "train":
        points = np.stack([row["points"]["x"], row["points"]["y"]], -1, dtype=np.float32)
        assert len(points) == row["count"]
        example["points"] = _formatted(points, image, None)
    return example


def _explanations(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    columns = ("question", "response", "parsed_response", "alt_text", "inline_text", "points")
    answers = []
    for question, _, parsed, alts, inlines, groups in zip(*(row[name] for name in columns), strict=True):
        parts = parsed.split("<|POINT|>")
        assert len(parts) - 1 == len(groups) == len(alts) == len(inlines)
        tags = [
            f"<{_formatted(np.array(points), image, 100)}|{alt}|{inline}>"
            for points, alt, inline in zip(groups, alts, inlines, strict=True)
        ]
        filled = "".join(part + tag for part, tag in zip(parts, [*tags, ""], strict=True))
        answers.append((_text(question), filled))
    return {"answers": answers}


def _eval(row: Row, image: NDArray[np.uint8], split: str, rng: np.random.RandomState) -> Example:
    masks = np.array(row["masks"], bool)
    points = _stacked(row["points"])
    if len(points):
        assert masks.shape == (len(points), *image.shape[:2])
    return {"label": _text(row["label"]).lower(), "points": _formatted(points, image, 100), "masks": masks}


_READERS: dict[str, Callable[[Row, NDArray[np.uint8], str, np.random.RandomState], Example]] = {
    "cap": _cap,
    "ask-model-anything": _ask,
    "cap-qa": _cap_qa,
    "points-pointing": _points,
    "points-counting": _points,
    "count": _count,
    "point-explanations": _explanations,
    "pixmo-points-eval": _eval,
}
