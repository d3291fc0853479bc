"""Annotations that code made: documents with questions, and clocks."""

import enum
from typing import Any

from sqlalchemy import Enum, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.annotations import Annotation, ImageAnnotation
from pixmo.database import Base


class DocumentKind(enum.StrEnum):
    charts = "charts"
    diagrams = "diagrams"
    other = "other"
    tables = "tables"


class Document(ImageAnnotation, Base):
    """A drawn document and what can be asked of it (PixMo-Docs). `questions`: [{question, answer}]."""

    __tablename__ = "documents"

    kind: Mapped[DocumentKind] = mapped_column(
        Enum(DocumentKind, native_enum=False, length=16, values_callable=lambda items: [item.value for item in items])
    )
    questions: Mapped[list[dict[str, Any]]]
    code: Mapped[str] = mapped_column(Text)


class ClockFace(Annotation, Base):
    """A watch face that shows a time (PixMo-Clocks). Hours, minutes and seconds that are not visible are -1."""

    __tablename__ = "clock_faces"

    example_id: Mapped[str] = mapped_column(String(64))
    watchface_id: Mapped[str] = mapped_column(String(64))
    watchface_name: Mapped[str] = mapped_column(String(200))
    watch_time: Mapped[str] = mapped_column(String(64))
    time_format: Mapped[str] = mapped_column(String(32))
    shows_seconds: Mapped[bool]
    hour_visible: Mapped[int]
    minute_visible: Mapped[int]
    second_visible: Mapped[int]
    text: Mapped[str] = mapped_column(String(64))
