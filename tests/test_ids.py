"""Identifiers are version 7 UUIDs and sort by time."""

import time
import uuid

from pixmo.ids import is_sha256, is_uuid, new_id


def test_ids_are_version_7_and_sort_by_time() -> None:
    ids = []
    for _ in range(20):
        ids.append(new_id())
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert len(set(ids)) == len(ids)
    for text in ids:
        parsed = uuid.UUID(text)
        assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)
        assert is_uuid(text)


def test_what_is_no_identifier() -> None:
    assert not is_uuid(new_id().upper())
    assert not is_uuid(new_id() + "\n")
    assert is_sha256("0" * 64)
    assert not is_sha256("0" * 63 + "g")
