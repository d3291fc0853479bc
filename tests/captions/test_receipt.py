import copy
import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pixmo.captions.receipt import ReceiptInvalid, key_id, secret_file, server_key, sha256, sign, verify
from pixmo.errors import SetupError
from pixmo.settings import Settings

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
IMAGE = "ab" * 32
BODY = {
    "image": {"sha256": IMAGE},
    "takes": [{"audio_sha256": "cd" * 32, "chunks": [{"sha256": "ef" * 32, "bytes": 7}], "used": True}],
    "llm_calls": [],
    "caption": {"sha256": sha256("Ein Kätzchen."), "revision": 1},
}


def test_a_receipt_verifies_offline_also_after_json() -> None:
    receipt = json.loads(json.dumps(sign(BODY, KEY)))
    verify(receipt)
    verify(receipt, signer=key_id(KEY.public_key()), image_sha256=IMAGE, caption="Ein Kätzchen.")


def test_every_value_is_covered_by_the_signature() -> None:
    def change(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        if isinstance(value, dict):
            return [found for key, inner in value.items() for found in change(inner, (*path, key))]
        if isinstance(value, list):
            return [found for i, inner in enumerate(value) for found in change(inner, (*path, i))]
        return [path]

    receipt = sign(BODY, KEY)
    paths = change(receipt)
    assert len(paths) == 12
    for path in paths:
        changed = copy.deepcopy(receipt)
        place: Any = changed
        for key in path[:-1]:
            place = place[key]
        value = place[path[-1]]
        if isinstance(value, str):
            place[path[-1]] = ("0" if value[0] != "0" else "1") + value[1:]
        else:
            place[path[-1]] = value + 1
        with pytest.raises(ReceiptInvalid):
            verify(changed)


@pytest.mark.parametrize("changed", [{"added": 1}, {"takes": []}])
def test_nothing_can_be_added_or_taken_away(changed: dict[str, Any]) -> None:
    with pytest.raises(ReceiptInvalid, match="changed after it was made"):
        verify({**sign(BODY, KEY), **changed})


@pytest.mark.parametrize(
    "receipt", [{}, {"key": 1}, {"key": {"public": "zz"}}, [], None, {**sign(BODY, KEY), "signature": "short"}]
)
def test_what_is_no_receipt_is_refused(receipt: Any) -> None:
    with pytest.raises(ReceiptInvalid):
        verify(receipt)


def test_a_receipt_by_somebody_else_is_known_by_its_key() -> None:
    forged = sign(BODY, Ed25519PrivateKey.generate())
    verify(forged)
    with pytest.raises(ReceiptInvalid, match="signed by key"):
        verify(forged, signer=key_id(KEY.public_key()))


def test_a_key_id_of_another_key_is_refused() -> None:
    body = {**BODY, "format": "pixmo-receipt-1"}
    receipt = sign(body, KEY)
    receipt["key"] = {**receipt["key"], "id": "0" * 16}
    from pixmo.language.schemas import canonical_json

    unsigned = {name: value for name, value in receipt.items() if name != "signature"}
    receipt["signature"] = KEY.sign(canonical_json(unsigned)).hex()
    with pytest.raises(ReceiptInvalid, match="signed by key"):
        verify(receipt)


@pytest.mark.parametrize(
    ("what", "message"),
    [({"image_sha256": "00" * 32}, "another image"), ({"caption": "Ein Hund."}, "another caption")],
)
def test_a_receipt_of_something_else_is_refused(what: dict[str, str], message: str) -> None:
    with pytest.raises(ReceiptInvalid, match=message):
        verify(sign(BODY, KEY), **what)


def test_the_server_key_is_made_once_and_private(settings: Settings) -> None:
    first, second = server_key(settings), server_key(settings)
    assert first.private_bytes_raw() == second.private_bytes_raw()
    file = settings.store_dir / "server.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not list(settings.store_dir.glob(".part-*"))


def test_a_broken_key_is_not_replaced_silently(settings: Settings) -> None:
    (settings.store_dir / "server.key").write_text("oops")
    with pytest.raises(SetupError, match="Restore it"):
        server_key(settings)


def test_processes_that_make_a_secret_at_once_get_the_same(tmp_path: Path) -> None:
    made: list[bytes] = []
    barrier = threading.Barrier(8)

    def make(number: int) -> None:
        barrier.wait()
        made.append(secret_file(tmp_path / "key", lambda: bytes([number]) * 32))

    threads = [threading.Thread(target=make, args=[i]) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len(set(made)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
