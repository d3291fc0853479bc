"""Near-duplicate clusters: images joined by equal pixels or by PDQ hashes that lie close together.

Clusters are the connected components of that relation, so they do not depend on the order in which images came; their
name does: the id of the member that was seen first. The distance of 31 of 256 bits is the one that PDQ's authors
recommend; among generated pages of text and charts it joined no two different ones.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from pixmo.images.models import Image

MAX_DISTANCE = 31
"""PDQ bits in which two near-duplicates may differ."""
MIN_QUALITY = 50
"""PDQ hashes of flatter images say nothing and join nothing."""

_COUNT = select(func.count()).select_from(Image)
_BLOCK = 1 << 16
"""Hashes compared at once: what stays in the cache."""


@dataclass
class ClusterIndex:
    """The PDQ hashes of all images of a store in memory, 68 bytes each, in the order in which they were seen.

    `images` counts all images, `size` those whose hash is good enough to compare.
    `hashes` is uint64 [4, capacity] and `clusters` S36 [capacity]; the first `size` columns are filled.
    """

    images: int = 0
    size: int = 0
    hashes: NDArray[np.uint64] = field(default_factory=lambda: np.empty((4, 1024), np.uint64))
    clusters: NDArray[np.bytes_] = field(default_factory=lambda: np.empty(1024, "S36"))

    @classmethod
    def load(cls, session: Session) -> Self:
        """The index of what `session` sees."""
        index = cls(images=session.execute(_COUNT).scalar_one())
        rows = select(Image.pdq, Image.cluster_id).where(Image.pdq_quality >= MIN_QUALITY)
        for pdq, cluster_id in session.execute(rows.order_by(Image.created_at, Image.id)).yield_per(10_000):
            index._append(_words(pdq), cluster_id.encode())
        return index

    def is_current(self, session: Session) -> bool:
        """Whether the index still holds all that `session` sees: another process may have added images."""
        return session.execute(_COUNT).scalar_one() == self.images

    def join(self, session: Session, image_id: str, pixel_sha256: str, pdq: str, quality: int) -> str:
        """The cluster of a new image: `image_id` itself if the image resembles none.

        Clusters that the image connects are merged, in the index and in the rows, into the one seen first.
        """
        self.images += 1
        twin = select(Image.cluster_id).where(Image.pixel_sha256 == pixel_sha256).limit(1)
        names = {name.encode() for name in session.execute(twin).scalars()}
        if quality < MIN_QUALITY:
            return names.pop().decode() if names else image_id
        words = _words(pdq)
        names |= set(self.clusters[self._near(words)].tolist())
        joined = min(names, key=self._first, default=image_id.encode())
        for other in names - {joined}:
            clusters = self.clusters[: self.size]
            clusters[clusters == other] = joined
            merged = update(Image).where(Image.cluster_id == other.decode()).values(cluster_id=joined.decode())
            session.execute(merged)
        self._append(words, joined)
        return joined.decode()

    def _first(self, name: bytes) -> int:
        """The place of the cluster's first member."""
        places = np.flatnonzero(self.clusters[: self.size] == name)
        return int(places[0]) if places.size else self.size

    def _near(self, words: NDArray[np.uint64]) -> NDArray[np.intp]:
        """The places of the hashes within `MAX_DISTANCE` bits of this one."""
        found: list[NDArray[np.intp]] = [np.empty(0, np.intp)]
        for start in range(0, self.size, _BLOCK):
            block = self.hashes[:, start : min(start + _BLOCK, self.size)]
            distance = np.zeros(block.shape[1], np.uint16)
            for stored, word in zip(block, words, strict=True):
                distance += np.bitwise_count(stored ^ word)
            found.append(start + np.flatnonzero(distance <= MAX_DISTANCE))
        return np.concatenate(found)

    def _append(self, words: NDArray[np.uint64], name: bytes) -> None:
        if self.size == len(self.clusters):
            self.hashes = np.concatenate((self.hashes, np.empty_like(self.hashes)), axis=1)
            self.clusters = np.concatenate((self.clusters, np.empty_like(self.clusters)))
        self.hashes[:, self.size] = words
        self.clusters[self.size] = name
        self.size += 1


def _words(pdq: str) -> NDArray[np.uint64]:
    """64 hex digits as uint64 [4]."""
    return np.frombuffer(bytes.fromhex(pdq), np.uint64)
