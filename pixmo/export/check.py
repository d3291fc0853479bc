"""Checking an exported folder offline: files against the manifest, receipts against images and captions."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from pixmo.captions import receipt
from pixmo.errors import Conflict
from pixmo.export.folder import read_manifest


class ExportDamaged(Conflict):
    """The folder is not what was exported."""

    code = "export_damaged"
    title = "The export is damaged"


@dataclass(frozen=True)
class Verified:
    """What held."""

    files: int
    receipts: int
    keys: list[str]


def verify(folder: Path, *, signer: str | None = None) -> Verified:
    """Check every file's hash and every receipt of an export.

    `signer`: key id that all receipts must come from; without it, anybody's signature will do. Raises
    `FolderTaken` if `folder` is no export, `ExportDamaged` and `ReceiptInvalid`.
    """
    manifest = read_manifest(folder)
    for file in manifest["files"]:
        path = folder / file["path"]
        if not path.is_file():
            raise ExportDamaged(f"{path} is missing.")
        with path.open("rb") as data:
            if hashlib.file_digest(data, "sha256").hexdigest() != file["sha256"]:
                raise ExportDamaged(f"{path} is not what was exported.")
    receipts = 0
    keys = set()
    for path in sorted(folder.glob("enriched/*.parquet")):
        columns = ["caption", "image_sha256", "receipt"]
        for batch in pq.ParquetFile(path).iter_batches(batch_size=1000, columns=columns):
            for row in batch.to_pylist():
                signed = json.loads(row["receipt"])
                receipt.verify(signed, signer=signer, image_sha256=row["image_sha256"], caption=row["caption"])
                keys.add(signed["key"]["id"])
                receipts += 1
    if receipts != manifest["configs"]["enriched"]["rows"]:
        raise ExportDamaged(f"{folder} has {receipts} receipts, not {manifest['configs']['enriched']['rows']}.")
    return Verified(len(manifest["files"]), receipts, sorted(keys))
