"""Points: what a referring expression refers to, clicked by people; counts; masks of points."""

import enum
from typing import Any

from sqlalchemy import Enum, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.annotations import ImageAnnotation
from pixmo.database import Base


class CollectionMethod(enum.StrEnum):
    """`pointing`: an expression and what it refers to. `counting`: all instances of something, one after another."""

    pointing = "pointing"
    counting = "counting"


class Verdict(enum.StrEnum):
    """What a person said of a proposed count."""

    confirmed = "confirmed"
    corrected = "corrected"
    rejected = "rejected"


def _values(cls: type[enum.StrEnum]) -> Enum:
    return Enum(cls, native_enum=False, length=16, values_callable=lambda items: [item.value for item in items])


class PointSet(ImageAnnotation, Base):
    """One referring expression and every point that it refers to; no points: it is not in the image.

    `points`: [{x, y}] in the order of the clicks, fractions of the upright image, origin top left. `typed_count` is
    the number that the annotator stated, if they were asked. `annotators` of a consensus: how many people agreed on
    it; `agreement`: F1 of their points, 0 to 1.
    """

    __tablename__ = "point_sets"

    label: Mapped[str] = mapped_column(Text)
    method: Mapped[CollectionMethod] = mapped_column(_values(CollectionMethod))
    points: Mapped[list[dict[str, Any]]]
    typed_count: Mapped[int | None]
    annotators: Mapped[int] = mapped_column(default=1)
    agreement: Mapped[float | None]


class CountCheck(ImageAnnotation, Base):
    """A proposed count of a frequent object, and what a person made of it (PixMo-Count).

    `points`: [{x, y}] as in `PointSet`. `detector` names what proposed it; it is no vision-language model.
    """

    __tablename__ = "count_checks"

    label: Mapped[str] = mapped_column(Text)
    count: Mapped[int]
    points: Mapped[list[dict[str, Any]]]
    verdict: Mapped[Verdict] = mapped_column(_values(Verdict))
    detector: Mapped[str | None] = mapped_column(String(200))


class PointMask(Base):
    """The mask of what one point of a set points at, accepted by a person (PixMo-Points-Eval).

    `runs`: lengths of alternating runs of false and true over the upright image [height, width], row by row,
    beginning with false.
    """

    __tablename__ = "point_masks"
    __table_args__ = (UniqueConstraint("point_set_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    point_set_id: Mapped[int] = mapped_column(ForeignKey("point_sets.id"))
    number: Mapped[int]
    height: Mapped[int]
    width: Mapped[int]
    runs: Mapped[list[int]]
    model: Mapped[str | None] = mapped_column(String(200))
