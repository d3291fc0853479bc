"""The provenance receipt of a caption: image, voice, transcript, language model and text, chained by hash and signed.

Ed25519 (RFC 8032) over the canonical JSON of the receipt without its signature. The public key is part of the
receipt, so that it verifies offline; whoever also knows the key id from another place knows who signed.
"""

import hashlib
import hmac
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from pixmo.errors import SetupError, Unprocessable
from pixmo.language.schemas import canonical_json
from pixmo.settings import Settings

FORMAT = "pixmo-receipt-1"


class ReceiptInvalid(Unprocessable):
    """The receipt was changed after it was signed, or belongs to something else."""

    code = "receipt_invalid"
    title = "The receipt does not hold"


def sha256(text: str) -> str:
    """The digest by which a receipt knows a text: SHA-256 of its UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sign(body: dict[str, Any], key: Ed25519PrivateKey) -> dict[str, Any]:
    """`body` with format (that of receipts, unless it has one), key and signature.

    Receipts hold no floating-point numbers, so that other languages write the same canonical JSON.
    """
    public = key.public_key().public_bytes_raw()
    receipt = {
        "format": FORMAT,
        **body,
        "key": {"algorithm": "Ed25519", "id": key_id(key.public_key()), "public": public.hex()},
    }
    return {**receipt, "signature": key.sign(canonical_json(receipt)).hex()}


def verify(
    receipt: dict[str, Any],
    *,
    signer: str | None = None,
    image_sha256: str | None = None,
    caption: str | None = None,
) -> None:
    """Check that a receipt is whole, offline.

    `signer` is the key id that it must come from: without it anybody may have made the receipt. `image_sha256` and
    `caption` are what it must be about. Raises `ReceiptInvalid`.
    """
    check_signature(receipt, signer=signer)
    try:
        known, image, text = receipt["format"] == FORMAT, receipt["image"]["sha256"], receipt["caption"]["sha256"]
    except (LookupError, TypeError):
        raise ReceiptInvalid("This is no receipt of pixmo, or a part of it is missing.") from None
    if not known:
        raise ReceiptInvalid(f"The receipt is not of the format {FORMAT}.")
    if image_sha256 is not None and image != image_sha256:
        raise ReceiptInvalid("The receipt is about another image.")
    if caption is not None and text != sha256(caption):
        raise ReceiptInvalid("The receipt is about another caption.")


def check_signature(signed: dict[str, Any], *, signer: str | None = None) -> str:
    """Check the signature of what `sign` returned; the id of the key that made it.

    `signer` is the key id that it must come from. Raises `ReceiptInvalid`.
    """
    try:
        body = {name: value for name, value in signed.items() if name != "signature"}
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed["key"]["public"]))
        public.verify(bytes.fromhex(signed["signature"]), canonical_json(body))
        known, claimed = signed["key"]["algorithm"] == "Ed25519", str(signed["key"]["id"])
    except InvalidSignature:
        raise ReceiptInvalid("The signature does not fit: the receipt was changed after it was made.") from None
    except (AttributeError, LookupError, TypeError, ValueError):
        raise ReceiptInvalid("This is no receipt of pixmo, or a part of it is missing.") from None
    if not known:
        raise ReceiptInvalid("The signature is of a kind that pixmo does not make.")
    if claimed != key_id(public) or (signer is not None and not hmac.compare_digest(claimed, signer)):
        raise ReceiptInvalid(f"The receipt is signed by key {key_id(public)}, not by {signer or claimed}.")
    return claimed


def key_id(key: Ed25519PublicKey) -> str:
    """The first 16 hex digits of the SHA-256 of the raw public key."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:16]


def server_key(settings: Settings) -> Ed25519PrivateKey:
    """The key with which this store signs, made when it is first asked for: `server.key` in the store, mode 0600."""
    path = settings.store_dir / "server.key"
    text = secret_file(
        path,
        lambda: Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    try:
        key = serialization.load_pem_private_key(text, password=None)
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise SetupError(f"{path} is no Ed25519 key. Restore it from a backup, or remove it to make a new one.")
    return key


def secret_file(path: Path, make: Callable[[], bytes]) -> bytes:
    """The bytes of a secret of this store; made by `make` if there are none.

    Of several processes that make it at once, all get the same; after a crash the file is whole or missing.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")  # mkstemp makes it readable by its owner only
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(name, path)
        except FileExistsError:
            return path.read_bytes()
    finally:
        Path(name).unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return path.read_bytes()
