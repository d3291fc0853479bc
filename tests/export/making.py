"""What tests of versions share: short ways to add rows, to make versions, to read and to forge them."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from pixmo.captions import receipt
from pixmo.captions.models import Caption
from pixmo.context import Context
from pixmo.export.digest import combined, content_sha256
from pixmo.export.segments import image_names
from pixmo.export.service import Created, create
from pixmo.export.versions import SPLITS
from pixmo.images.models import Image
from pixmo.points.models import CollectionMethod, PointSet
from tests.export.filling import BEGIN, SAID, Filler


def cap(context: Context, **options: Any) -> Created:
    """A version of cap."""
    return create(context, "cap", **options)


def described(filler: Filler, number: int = 50, *, campaign: str = "other", licence: str | None = "CC0-1.0") -> str:
    """One more image, described by somebody new; the id of its task. 50 to 53 stand in `train`."""
    [person] = filler.people([f"person {number}"])
    image = filler.image(number, licence=licence)
    task = filler.task(filler.campaign(f"{campaign}", overlap=1), image, [person], SAID[:1])
    filler.caption(task)
    return task


def corrected(context: Context, task_id: str) -> None:
    """A new revision of a caption."""
    with context.db.write() as session:
        newest = session.scalars(
            select(Caption).where(Caption.task_id == task_id).order_by(Caption.revision.desc())
        ).first()
        assert newest is not None
        values = {column.key: getattr(newest, column.key) for column in Caption.__table__.columns}
        text = newest.text.replace("red", "dark red")
        body = {name: value for name, value in newest.receipt.items() if name not in ("key", "signature")}
        body["caption"] = {**body["caption"], "sha256": receipt.sha256(text)}
        signed = receipt.sign(body, receipt.server_key(context.settings))
        new = {"id": f"newer-{newest.id[-20:]}", "revision": newest.revision + 1, "text": text, "receipt": signed}
        session.add(Caption(**{**values, **new}))


def pointed(filler: Filler, images: Mapping[int, int]) -> list[str]:
    """Points of one person: number of an image -> number of expressions; the ids of the images."""
    [person] = filler.people(["pointer"])
    ids = []
    for number, expressions in images.items():
        ids.append(filler.image(number, source_url=f"https://photos.example/{number}.jpg"))
        with filler.context.db.write() as session:
            for i in range(expressions):
                points = [{"x": 0.25, "y": 0.5}] * i
                session.add(
                    PointSet(
                        image_id=ids[-1], label=f"thing {i}", method=CollectionMethod.pointing, points=points,
                        user_id=person, created_at=BEGIN,
                    )
                )  # fmt: skip
    return ids


def rows(folder: Path, config: str = "enriched", split: str | None = None) -> list[dict[str, Any]]:
    """The rows of a configuration, split by split."""
    name = "data" if config == "default" else config
    files = [file for one in SPLITS if split in (None, one) for file in sorted((folder / name).glob(f"{one}-*"))]
    return [row for file in files for row in pq.read_table(file).to_pylist()]


def images(context: Context) -> list[Any]:
    """The images of the store in the order in which they came."""
    with context.db.read() as session:
        found = list(session.scalars(select(Image).order_by(Image.id)))
        session.expunge_all()
    return found


def inodes(folder: Path, *names: str) -> dict[str, int]:
    """Which files below these folders of a version are the same on disk."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_ino
        for name in names or ("",)
        for path in sorted((folder / name).rglob("*"))
        if path.is_file()
    }


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """When every file was changed, and which it is."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in sorted(folder.rglob("*"))
    }


def unlink(path: Path) -> None:
    """Give a file its own bytes: versions share them by hard links."""
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)


def rewritten(folder: Path, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
    """Forge a segment: other rows, in a whole file."""
    path = folder / name
    table = change(pq.read_table(path))
    path.unlink()
    pq.write_table(table, path)


def resealed(folder: Path, key: Ed25519PrivateKey, edit: Callable[[dict[str, Any]], None] | None = None) -> None:
    """Make the manifest say what the files are now, and sign it, as a forger with a key of their own would."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for file in manifest["files"]:
        data = (folder / file["path"]).read_bytes()
        file |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        if "config" in file:
            file |= _facts(folder / file["path"])
    for config, stated in manifest["configs"].items():
        for split, numbers in stated["splits"].items():
            files = [file for file in manifest["files"] if (file.get("config"), file.get("split")) == (config, split)]
            numbers["rows"] = sum(file["rows"] for file in files)
            numbers["content_sha256"] = combined(file["content_sha256"] for file in files)
    index = manifest["configs"]["index"]["splits"]
    manifest["statistics"]["rows"] = {split: numbers["rows"] for split, numbers in index.items()}
    if edit is not None:
        edit(manifest)
    body = {name: value for name, value in manifest.items() if name not in ("key", "signature")}
    (folder / "manifest.json").write_text(json.dumps(receipt.sign(body, key)))


def _facts(path: Path) -> dict[str, Any]:
    table = pq.read_table(path)
    pictures = [name for name in table.column_names if name == "image"]
    plain = image_names(table.replace_schema_metadata(), pictures).combine_chunks()
    facts: dict[str, Any] = {"rows": table.num_rows, "content_sha256": content_sha256(plain)}
    if "row_id" in table.column_names:
        ids = table.column("row_id").to_pylist()
        facts |= {"first_row": ids[0], "last_row": ids[-1]}
    return facts
