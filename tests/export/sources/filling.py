"""Fill the tables of points, counts, masks and explanations."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text, update

from pixmo.database import Base
from pixmo.images.models import Image
from pixmo.points.models import PointMask
from tests.export.sources.asking import Asking


def xy(*points: tuple[float, float]) -> list[dict[str, float]]:
    """Points as they are stored or published: [{x, y}]."""
    return [{"x": x, "y": y} for x, y in points]


def runs(mask: NDArray[np.bool_]) -> list[int]:
    """Lengths of alternating runs of false and true of a mask [height, width], beginning with false."""
    lengths, value = [0], False
    for pixel in mask.ravel().tolist():
        if pixel != value:
            lengths.append(0)
            value = pixel
        lengths[-1] += 1
    return lengths


class Pointing(Asking):
    """A store to which points and masks are added by hand."""

    def sized(self, number: int, split: str | None = "train", *, width: int, height: int) -> str:
        """An image of which the store says that it is so large."""
        image = self.image(number, split)
        with self.context.db.write() as session:
            session.execute(update(Image).where(Image.id == image).values(width=width, height=height))
        return image

    def masks(self, point_set: int, masks: Sequence[NDArray[np.bool_]], **columns: Any) -> None:
        """A mask [height, width] for every point of a set, in order."""
        for number, mask in enumerate(masks):
            height, width = mask.shape
            of_mask = {"number": number, "height": height, "width": width, "runs": runs(mask)}
            self.add(PointMask, point_set_id=point_set, **of_mask | columns)

    def spoil(self, model: type[Base], row_id: int, column: str, value: Any) -> None:
        """Put JSON into a column that pixmo itself would not write."""
        with self.context.db.write() as session:
            statement = text(f"UPDATE {model.__tablename__} SET {column} = :value WHERE id = :id")
            session.execute(statement, {"value": json.dumps(value), "id": row_id})
