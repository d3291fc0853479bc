import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from pixmo import schema
from pixmo.context import Context
from pixmo.database import Database
from pixmo.errors import NotFound
from pixmo.export.models import ImageSplit, Split
from pixmo.export.splits import SplitTaken, assign, pin, pinnable, shares_of, split_of, summary
from pixmo.images.clusters import ClusterIndex
from pixmo.images.models import Image

SHARES = {"validation": 0.02, "test": 0.02}
QUARTERS = {"validation": 0.25, "test": 0.25}


def sha256(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def row(number: int, cluster: int | None = None, prefix: str = "") -> dict[str, Any]:
    """An image whose cluster is called after image `cluster`, or itself."""
    return {
        "id": f"{prefix}{number:08}", "sha256": sha256(number), "pixel_sha256": sha256(number), "format": "jpeg",
        "width": 48, "height": 32, "byte_size": 9, "served_sha256": sha256(number), "served_format": "jpeg",
        "web_sha256": sha256(number), "thumb_sha256": sha256(number), "pdq": "0" * 64, "pdq_quality": 0,
        "cluster_id": f"{prefix}{number if cluster is None else cluster:08}",
    }  # fmt: skip


def put(db: Database, rows: Iterable[dict[str, Any]]) -> None:
    with db.write() as session:
        session.execute(insert(Image), list(rows))


def assigned(db: Database, shares: dict[str, float] = SHARES) -> dict[str, str]:
    """Assign, and all splits by the images' SHA-256."""
    with db.write() as session:
        assign(session, shares)
    with db.read() as session:
        found = session.execute(
            select(Image.sha256, ImageSplit.split).join(ImageSplit, ImageSplit.image_id == Image.id)
        )
        return {digest: split.value for digest, split in found}


def numbers(split: str, shares: dict[str, float] = SHARES) -> Iterable[int]:
    """Numbers of images that go to `split`."""
    return (number for number in range(100_000) if split_of(sha256(number), shares) == split)


def first(split: str, count: int = 1) -> list[int]:
    return [number for number, _ in zip(numbers(split), range(count), strict=False)]


def test_the_splits_are_what_they_always_were() -> None:
    assert [split_of(sha256(number), QUARTERS) for number in range(6)] == [
        "validation",
        "train",
        "train",
        "train",
        "train",
        "validation",
    ]
    assert split_of("", {}) == "train"
    assert split_of(sha256(0), {"validation": 1.0, "test": 0.0}) == "validation"


def test_shares_of_clusters_are_those_that_were_asked_for() -> None:
    counts = Counter(split_of(sha256(number), SHARES) for number in range(20_000))
    for name in ("validation", "test"):
        assert counts[name] / 20_000 == pytest.approx(0.02, abs=0.004)
    assert counts.total() == 20_000


def test_every_image_gets_the_split_of_its_cluster(db: Database) -> None:
    put(db, (row(number, number // 2 * 2) for number in range(1_000)))
    splits = assigned(db, QUARTERS)
    assert splits == {sha256(number): split_of(sha256(number // 2 * 2), QUARTERS) for number in range(1_000)}
    with db.read() as session:
        assert summary(session) == {**Counter(splits.values()), "withheld": 0, "none": 0}


def test_an_image_keeps_its_split_whatever_the_shares_become(db: Database) -> None:
    put(db, (row(number) for number in range(500)))
    before = assigned(db, QUARTERS)
    assert set(before.values()) == {"train", "validation", "test"}
    put(db, (row(number) for number in range(500, 600)))
    after = assigned(db, {"validation": 0.0, "test": 1.0})
    assert {digest: after[digest] for digest in before} == before
    assert {split for digest, split in after.items() if digest not in before} == {"test"}
    with db.write() as session:
        assert assign(session, QUARTERS) == 0


def test_a_late_image_goes_where_its_cluster_is(db: Database) -> None:
    train, validation, test = (first(split)[0] for split in ("train", "validation", "test"))
    put(db, [row(train), row(validation), row(test)])
    assigned(db)
    put(db, [row(700_000 + i, root) for i, root in enumerate((train, validation, test))])
    splits = assigned(db, {"validation": 0.5, "test": 0.5})
    assert [splits[sha256(700_000 + i)] for i in range(3)] == ["train", "validation", "test"]


def test_a_cluster_is_not_torn_apart_between_batches(db: Database) -> None:
    """5,000 images are assigned at once; clusters lie across the borders."""
    put(db, (row(number, number % 2_000) for number in range(6_000)))
    splits = assigned(db, QUARTERS)
    assert all(splits[sha256(number)] == splits[sha256(number % 2_000)] for number in range(6_000))
    assert set(splits.values()) == {"train", "validation", "test"}


def test_the_split_does_not_depend_on_the_store(db: Database, tmp_path: Path) -> None:
    put(db, (row(number, number // 3 * 3) for number in range(600)))
    schema.upgrade(f"sqlite:///{tmp_path / 'other.db'}")
    other = Database(f"sqlite:///{tmp_path / 'other.db'}")
    for start in range(598, -1, -2):
        put(other, [row(start, start // 3 * 3, "z"), row(start + 1, (start + 1) // 3 * 3, "z")])
    assert assigned(other, QUARTERS) == assigned(db, QUARTERS)
    other.close()


def pdq(bits: Sequence[int]) -> str:
    """A hash in which these of the 256 bits are set."""
    return f"{sum(1 << bit for bit in bits):064x}"


class Joining:
    """Images that come one after another and are clustered as pixmo does it."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.index = ClusterIndex()

    def put(self, number: int, bits: Sequence[int]) -> None:
        new = row(number) | {"pdq": pdq(bits), "pdq_quality": 100}
        with self.db.write() as session:
            new["cluster_id"] = self.index.join(session, new["id"], new["pixel_sha256"], new["pdq"], 100)
            session.execute(insert(Image), [new])


def test_a_merge_of_clusters_moves_no_image_and_withholds_what_bridges_them(db: Database) -> None:
    store, train, test = Joining(db), first("train", 2), first("test", 2)
    store.put(train[0], [])
    store.put(test[0], range(60))
    before = assigned(db)
    assert before == {sha256(train[0]): "train", sha256(test[0]): "test"}
    store.put(train[1], range(30))
    with db.read() as session:
        assert len(set(session.scalars(select(Image.cluster_id)))) == 1
    after = assigned(db)
    assert after == before | {sha256(train[1]): "withheld"}
    store.put(test[1], range(2, 60))
    later = assigned(db)
    assert later == after | {sha256(test[1]): "withheld"}
    assert assigned(db, QUARTERS) == later
    with db.read() as session:
        assert summary(session) == {"train": 1, "validation": 0, "test": 1, "withheld": 2, "none": 0}


def test_clusters_that_merge_within_one_split_go_on_in_it(db: Database) -> None:
    store, ids = Joining(db), first("test", 2)
    store.put(ids[0], [])
    store.put(ids[1], range(60))
    assigned(db)
    bridge = first("train")[0]
    store.put(bridge, range(30))
    assert assigned(db) == {sha256(number): "test" for number in (*ids, bridge)}


def test_clusters_that_merge_before_they_are_exported_are_one(db: Database) -> None:
    store, train, test = Joining(db), first("train")[0], first("test")[0]
    store.put(test, [])
    store.put(train, range(60))
    store.put(99_999_999, range(30))
    assert set(assigned(db).values()) == {"test"}


def test_pinned_images_stay_with_all_that_resembles_them(db: Database) -> None:
    train = first("train", 3)
    put(db, [*(row(number) for number in train), row(200_000, train[0]), row(200_001, train[0])])
    with db.write() as session:
        assert pin(session, [f"{train[0]:08}", f"{train[1]:08}"], Split.test) == 4
    with db.write() as session:
        assert pin(session, [f"{200_001:08}"], Split.test) == 0
    put(db, [row(200_002, train[1])])
    splits = assigned(db)
    assert splits == {sha256(n): "test" for n in (*train[:2], 200_000, 200_001, 200_002)} | {sha256(train[2]): "train"}
    with db.read() as session:
        pinned = set(session.scalars(select(ImageSplit.image_id).where(ImageSplit.pinned)))
    assert pinned == {f"{number:08}" for number in (*train[:2], 200_000, 200_001)}


def test_an_image_that_stands_elsewhere_cannot_be_pinned(db: Database) -> None:
    train = first("train", 2)
    put(db, [row(train[0]), row(300_000, train[0])])
    assigned(db)
    put(db, [row(train[1]), row(300_001, train[0])])
    refused = pytest.raises(SplitTaken, match=rf"{sha256(train[0])} stands in train; .* 2 cannot go to test")
    with refused, db.write() as session:
        pin(session, [f"{300_001:08}", f"{train[1]:08}"], Split.test)
    with db.write() as session:
        assert pin(session, [f"{300_001:08}"], Split.train) == 1
    assert assigned(db)[sha256(train[1])] == "train"


def test_pinning_what_is_not_there(db: Database) -> None:
    with pytest.raises(NotFound, match="None of these images"), db.write() as session:
        pin(session, ["nothing"], Split.test)
    with pytest.raises(NotFound), db.write() as session:
        pin(session, [], Split.test)


def test_the_shares_are_settings(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shares_of(context.settings) == SHARES
    changed = context.settings.model_copy(update={"split_validation": 0.0, "split_test": 0.5})
    assert list(shares_of(changed).items()) == [("validation", 0.0), ("test", 0.5)]


def test_images_without_a_split_are_counted(db: Database) -> None:
    put(db, [row(1), row(2)])
    with db.read() as session:
        assert summary(session) == {"train": 0, "validation": 0, "test": 0, "withheld": 0, "none": 2}


def test_images_are_found_by_digest_address_or_campaign(filled: Context) -> None:
    with filled.db.write() as session:
        images = session.scalars(select(Image).order_by(Image.id)).all()
        ids = [image.id for image in images]
        assert images[0].source_url is not None
        assert pinnable(session, names=[images[0].source_url, images[1].sha256, images[1].sha256]) == set(ids[:2])
        assert pinnable(session, campaign="kitchen") == set(ids)
        assert pinnable(session, campaign="other") == set()
        with pytest.raises(NotFound, match=r"no image https://photos\.example/none \(2 of these"):
            pinnable(session, names=[images[1].sha256, "https://photos.example/none", "0" * 64])
