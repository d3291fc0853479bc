"""Images and where they came from."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base
from pixmo.ids import new_id


class Image(Base):
    """One image, known by the SHA-256 of its original bytes. Sizes are upright pixels (EXIF orientation applied)."""

    __tablename__ = "images"
    __table_args__ = (Index(None, "cluster_id"), Index(None, "pixel_sha256"))

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    pixel_sha256: Mapped[str] = mapped_column(String(64))
    format: Mapped[str] = mapped_column(String(8))
    width: Mapped[int]
    height: Mapped[int]
    frames: Mapped[int] = mapped_column(default=1)
    byte_size: Mapped[int]
    served_sha256: Mapped[str] = mapped_column(String(64))
    served_format: Mapped[str] = mapped_column(String(8))
    web_sha256: Mapped[str] = mapped_column(String(64))
    thumb_sha256: Mapped[str] = mapped_column(String(64))
    pdq: Mapped[str] = mapped_column(String(64))
    pdq_quality: Mapped[int]
    cluster_id: Mapped[str] = mapped_column(String(36))
    topic: Mapped[str | None] = mapped_column(String(120))
    licence: Mapped[str | None] = mapped_column(String(120))
    attribution: Mapped[str | None] = mapped_column(Text)
    source_url: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime | None] = mapped_column(onupdate=now)


class ImageSource(Base):
    """A file, archive member, URL or data-set row that was offered, and what became of it."""

    __tablename__ = "image_sources"

    key: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text)
    image_id: Mapped[str | None] = mapped_column(ForeignKey("images.id"), index=True)
    reason: Mapped[str | None] = mapped_column(String(32))
    detail: Mapped[str | None] = mapped_column(Text)
    seen_at: Mapped[datetime] = mapped_column(default=now)
