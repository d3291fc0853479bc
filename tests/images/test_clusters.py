import random
from collections import defaultdict

import numpy as np
import pytest

from pixmo.clock import now
from pixmo.database import Database
from pixmo.ids import new_id
from pixmo.images import clusters
from pixmo.images.clusters import MAX_DISTANCE, ClusterIndex
from pixmo.images.models import Image

ZERO = "0" * 64


def bits(number: int, start: int = 0) -> str:
    """A hash with so many bits set, from `start` on."""
    return f"{((1 << number) - 1) << start:064x}"


def add(db: Database, index: ClusterIndex, pdq: str, *, quality: int = 100, pixels: str = "") -> str:
    """Put an image into the index and the store; returns its id."""
    image_id = new_id()
    digest = image_id.replace("-", "").ljust(64, "0")
    with db.write() as session:
        cluster = index.join(session, image_id, pixels or digest, pdq, quality)
        session.add(
            Image(
                id=image_id, sha256=digest, pixel_sha256=pixels or digest, format="png", width=1, height=1, byte_size=1,
                served_sha256=digest, served_format="png", web_sha256=digest, thumb_sha256=digest, pdq=pdq,
                pdq_quality=quality, cluster_id=cluster, created_at=now(),
            )
        )  # fmt: skip
    return image_id


def cluster_of(db: Database, image_id: str) -> str:
    with db.read() as session:
        return session.get_one(Image, image_id).cluster_id


def test_the_first_of_a_cluster_names_it(db: Database) -> None:
    index = ClusterIndex()
    first = add(db, index, ZERO)
    near = add(db, index, bits(MAX_DISTANCE))
    far = add(db, index, bits(MAX_DISTANCE + 1, start=100))
    assert [cluster_of(db, one) for one in (first, near, far)] == [first, first, far]


def test_all_bits_different_is_far(db: Database) -> None:
    index = ClusterIndex()
    add(db, index, ZERO)
    opposite = add(db, index, "f" * 64)
    assert cluster_of(db, opposite) == opposite


def test_an_image_between_two_clusters_joins_them(db: Database) -> None:
    index = ClusterIndex()
    first, second = add(db, index, ZERO), add(db, index, bits(60))
    third = add(db, index, bits(90, start=100))
    between = add(db, index, bits(30))
    assert {cluster_of(db, one) for one in (first, second, between)} == {first}
    assert cluster_of(db, third) == third
    assert cluster_of(db, add(db, index, bits(70))) == first  # near the second, in the index too


def test_flat_images_join_by_their_pixels_only(db: Database) -> None:
    index = ClusterIndex()
    flat = add(db, index, ZERO, quality=49, pixels="aa")
    other = add(db, index, ZERO, quality=0, pixels="bb")
    twin = add(db, index, ZERO, quality=49, pixels="aa")
    sharp = add(db, index, ZERO, quality=50, pixels="cc")
    assert [cluster_of(db, one) for one in (flat, other, twin, sharp)] == [flat, other, flat, sharp]


def test_equal_pixels_join_whatever_their_hash(db: Database) -> None:
    index = ClusterIndex()
    first = add(db, index, ZERO, pixels="aa")
    assert cluster_of(db, add(db, index, "f" * 64, pixels="aa")) == first


@pytest.mark.parametrize("seed", range(5))
def test_clusters_do_not_depend_on_the_order(db: Database, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    monkeypatch.setattr(clusters, "_BLOCK", 7)
    chains = [bits(length, start) for start in (0, 120) for length in range(0, 130, 26)] + ["5" * 64, "a" * 64]
    random.Random(seed).shuffle(chains)
    index = ClusterIndex()
    found = {pdq: add(db, index, pdq) for pdq in chains}
    members = defaultdict(set)
    for pdq, image_id in found.items():
        members[cluster_of(db, image_id)].add(pdq)
    together = {pdq for pdq in chains if pdq not in {"5" * 64, "a" * 64}}
    assert sorted(map(len, members.values())) == [1, 1, len(together)]
    assert together in members.values()
    for name, group in members.items():
        assert name == min(found[pdq] for pdq in group) or len(group) > 1


def test_a_loaded_index_is_the_one_that_was_built(db: Database) -> None:
    built = ClusterIndex()
    for pdq in (ZERO, bits(60), bits(200), bits(30)):
        add(db, built, pdq)
    add(db, built, ZERO, quality=3)
    with db.read() as session:
        loaded = ClusterIndex.load(session)
        assert loaded.is_current(session)
        assert not ClusterIndex().is_current(session)
    assert (loaded.images, loaded.size) == (built.images, built.size) == (5, 4)
    assert np.array_equal(loaded.hashes[:, :4], built.hashes[:, :4])
    assert np.array_equal(loaded.clusters[:4], built.clusters[:4])


def test_the_index_grows(db: Database) -> None:
    index = ClusterIndex(hashes=np.empty((4, 1), np.uint64), clusters=np.empty(1, "S36"))
    hashes = [f"{random.Random(number).getrandbits(256):064x}" for number in range(9)]
    ids = [add(db, index, pdq) for pdq in hashes]
    assert index.size == 9
    assert [cluster_of(db, add(db, index, pdq)) for pdq in hashes] == ids
