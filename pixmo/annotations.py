"""What all annotations have in common besides speech: who made them, of which image, and how they are corrected."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, declared_attr, mapped_column

from pixmo.clock import now


class Annotation:
    """One revision of an annotation. Never changed: a correction is a new row, a withdrawal is a new, retracted row.

    `id` grows with time and orders every data set. `root_id` is the first revision's id (null in that revision), so
    that a row of a data set keeps its identity and its place when it is corrected; the newest revision holds.
    """

    id: Mapped[int] = mapped_column(primary_key=True)
    root_id: Mapped[int | None]
    retracted: Mapped[bool] = mapped_column(default=False)
    campaign_id: Mapped[str | None] = mapped_column(ForeignKey("campaigns.id"))
    slot_id: Mapped[str | None] = mapped_column(ForeignKey("slots.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    consent_id: Mapped[str | None] = mapped_column(ForeignKey("consents.id"))
    llm_call_ids: Mapped[list[str]] = mapped_column(default=list)
    created_at: Mapped[datetime] = mapped_column(default=now)

    @declared_attr.directive
    def __table_args__(self) -> tuple[Index | dict[str, bool], ...]:
        return (
            Index(None, "root_id"),
            Index(None, "slot_id"),
            Index(None, "user_id"),
            {"sqlite_autoincrement": True},
        )


class ImageAnnotation(Annotation):
    """An annotation of an image of the store."""

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), index=True)
