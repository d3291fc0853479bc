import pytest

from pixmo.database import Database
from pixmo.images import service
from pixmo.images.clusters import ClusterIndex
from pixmo.images.normalise import BadImage, Reason
from pixmo.images.service import NoSuchImage, Outcome
from pixmo.images.sources import Inline, Item, Meta
from tests import fill


def found(digest: str, **columns: object) -> dict[str, object]:
    """What a worker answers for an image."""
    return {
        "sha256": digest * 64, "pixel_sha256": digest * 64, "format": "jpeg", "width": 3, "height": 2, "frames": 1,
        "byte_size": 9, "served_sha256": digest * 64, "served_format": "jpeg", "web_sha256": digest * 64,
        "thumb_sha256": digest * 64, "pdq": digest * 64, "pdq_quality": 100, **columns,
    }  # fmt: skip


def item(key: str, *meta: str) -> Item:
    return Item(key, f"name of {key}", Inline(b""), Meta(*meta))


def test_images_are_counted_and_found(db: Database) -> None:
    with db.write() as session:
        ids = fill.images(session, 3)
    with db.read() as session:
        assert service.count_images(session) == 3
        assert service.get_image(session, ids[1]).id == ids[1]
        with pytest.raises(NoSuchImage):
            service.get_image(session, "nobody")


def test_addresses() -> None:
    assert service.image_url("ab" * 32) == f"/api/images/{'ab' * 32}"


def test_outcomes_become_rows_in_their_order(db: Database) -> None:
    bad = BadImage(Reason.CORRUPT, "broken")
    outcomes = [
        Outcome(item("a", "street"), found("a")),
        Outcome(item("b"), bad),
        Outcome(item("c", "sea", "CC0"), found("a")),
        Outcome(item("d"), found("d")),
        Outcome(item("a"), found("a")),
    ]
    with db.write() as session:
        assert service.record(session, ClusterIndex(), outcomes) == 2
    with db.read() as session:
        known = service.known_sources(session, ["a", "b", "c", "d", "e"])
        first = service.get_image(session, known["a"].image_id or "")
    assert set(known) == {"a", "b", "c", "d"}
    assert known["a"].image_id == known["c"].image_id != known["d"].image_id
    assert (known["b"].image_id, known["b"].reason, known["b"].detail) == (None, "corrupt", "broken")
    assert (first.topic, first.licence) == ("street", "CC0")
    assert known["a"].missing == {"attribution", "source_url"}
    assert known["b"].missing == frozenset()


def test_a_refused_source_may_become_an_image(db: Database) -> None:
    with db.write() as session:
        service.record(session, ClusterIndex(), [Outcome(item("a"), BadImage(Reason.CORRUPT, "broken"))])
    with db.write() as session:
        service.record(session, ClusterIndex(), [Outcome(item("a"), found("a"))])
    with db.read() as session:
        known = service.known_sources(session, ["a"])["a"]
    assert known.image_id is not None
    assert (known.reason, known.detail) == ("", "")


def test_what_is_known_is_not_overwritten(db: Database) -> None:
    with db.write() as session:
        image = service.get_image(session, fill.images(session, 1)[0])
        service.fill_missing(image, Meta("street", "CC-BY-4.0", None, "https://example.org"))
        assert (image.topic, image.licence, image.source_url) == ("street", "CC0", "https://example.org")
