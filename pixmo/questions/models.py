"""Questions about images and their answers."""

from typing import Any

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.annotations import ImageAnnotation
from pixmo.database import Base


class Answer(ImageAnnotation, Base):
    """A question that a person asked of an image, and the answer they corrected until it was right.

    The draft came from a text-only model that read caption and text in the image (PixMo-AskModelAnything).
    """

    __tablename__ = "answers"

    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str] = mapped_column(Text)


class CaptionDialogue(ImageAnnotation, Base):
    """Turns that a text-only model wrote from a caption alone (PixMo-CapQA).

    `messages`: texts of user and assistant by turns, an even number of them.
    """

    __tablename__ = "caption_dialogues"

    caption_id: Mapped[str | None] = mapped_column(ForeignKey("captions.id"))
    messages: Mapped[list[str]]


class Explanation(ImageAnnotation, Base):
    """A question whose answer points while it explains (PixMo-Point-Explanations).

    `parts`: the answer in order, texts and points: [{"text": str} | {"points": [[x, y]], "inline": str, "alt": str}],
    x and y as fractions of the upright image, origin top left.
    """

    __tablename__ = "explanations"

    question: Mapped[str] = mapped_column(Text)
    parts: Mapped[list[dict[str, Any]]]
