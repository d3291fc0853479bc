"""What the store remembers of its data sets: versions, splits and what was taken down."""

import enum
from datetime import datetime

from sqlalchemy import Enum, ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from pixmo.clock import now
from pixmo.database import Base


class Split(enum.StrEnum):
    """`withheld`: the image resembles images of different splits, so it may stand in none."""

    train = "train"
    validation = "validation"
    test = "test"
    withheld = "withheld"


class Subject(enum.StrEnum):
    image = "image"
    annotator = "annotator"


def _values(cls: type[enum.StrEnum]) -> Enum:
    return Enum(cls, native_enum=False, length=16, values_callable=lambda items: [item.value for item in items])


class DatasetVersion(Base):
    """One immutable version of a data set. `manifest` is the text of its manifest.json, byte for byte."""

    __tablename__ = "dataset_versions"
    __table_args__ = (UniqueConstraint("name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    manifest: Mapped[str] = mapped_column(Text)
    manifest_sha256: Mapped[str] = mapped_column(String(64), index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)


class DatasetPush(Base):
    """A version on the Hub: where it went, and the commit it became."""

    __tablename__ = "dataset_pushes"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[int] = mapped_column(ForeignKey("dataset_versions.id"), index=True)
    repo: Mapped[str] = mapped_column(String(200))
    revision: Mapped[str] = mapped_column(String(64))
    tag: Mapped[str] = mapped_column(String(32))
    pushed_at: Mapped[datetime] = mapped_column(default=now)


class ImageSplit(Base):
    """The split of an image, in all data sets and for ever. Written once."""

    __tablename__ = "image_splits"

    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    split: Mapped[Split] = mapped_column(_values(Split))
    cluster_id: Mapped[str] = mapped_column(String(36), index=True)
    pinned: Mapped[bool] = mapped_column(default=False)
    assigned_at: Mapped[datetime] = mapped_column(default=now)


class ImagePublication(Base):
    """The version with which an image first went to a repository: its address there is pinned to that tag."""

    __tablename__ = "image_publications"

    repo: Mapped[str] = mapped_column(String(200), primary_key=True)
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id"), primary_key=True)
    version: Mapped[str] = mapped_column(String(32))


class Takedown(Base):
    """An image or a person's work that no later version may hold."""

    __tablename__ = "takedowns"
    __table_args__ = (UniqueConstraint("subject", "subject_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    subject: Mapped[Subject] = mapped_column(_values(Subject))
    subject_id: Mapped[str] = mapped_column(String(36))
    reason: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime] = mapped_column(default=now)
