"""The images of a version as files that are called as the original Molmo code calls them, without any network."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pixmo.errors import Conflict
from pixmo.export.folder import writable
from pixmo.export.links import key
from pixmo.export.molmo_files import replacing
from pixmo.export.versions import SPLITS, File, Folder, NoVersion
from pixmo.images.formats import BLOBS, HEAD_BYTES, sniff
from pixmo.storage import Storage

_ROWS = 8_192
_PICTURES = 16
"""Embedded images in memory at a time."""
_THREADS = 8

Named = tuple[str, str | None]
"""The address of an image, and the name of its bytes, `<sha256>.<format>`, if that is known."""


class PictureDamaged(Conflict):
    """The bytes of an image are not those of its name."""

    code = "picture_damaged"
    title = "An image is damaged"


def file_name(url: str) -> str:
    """What the original code calls the file of the image at `url`."""
    return hashlib.sha256(url.encode()).hexdigest()


@contextmanager
def opened(version: Folder, file: File) -> Iterator[pq.ParquetFile]:
    """A segment to read bit by bit. Raises `NoVersion` if it is missing or broken."""
    try:
        with pq.ParquetFile(version.path / file.path, pre_buffer=False) as segment:
            yield segment
    except (OSError, pa.ArrowInvalid) as error:
        raise NoVersion(f"{version.path / file.path} cannot be read: {error}. Check with: pixmo verify") from error


class Pictures:
    """Puts the images of a version into the folder `to`.

    Each is taken from where it is found first: `to` itself, `folder` (as `materialize` makes it), `files/` of the
    version, the blobs of a store, the tables. `origins` counts what was found where (`kept`, `folder`, `files`,
    `store`, `embedded`). `advance` is called with numbers of images that are done.
    """

    def __init__(
        self, version: Folder, to: Path, folder: Path | None, storage: Storage | None, advance: Callable[[int], None]
    ) -> None:
        self._version, self._to, self._folder, self._storage = version, to, folder, storage
        self._advance = advance
        self.origins: Counter[str] = Counter()

    def place(self) -> dict[str, None]:
        """Place all images; the addresses of those that are nowhere, in the order of the rows.

        Raises `PictureDamaged`, `NoVersion` and `OSError`. What is placed until then is whole, and kept.
        """
        missing: dict[str, None] = {}
        inside: dict[str, list[str]] = {}
        holder = next((name for name in ("images", "enriched") if self._holds_images(name)), None)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="pictures") as threads:
            for named in self._named():
                for (url, name), origin in zip(named, threads.map(self._find, named), strict=True):
                    if origin is not None:
                        self._count(origin)
                        continue
                    missing[url] = None
                    if name is not None and holder is not None:
                        inside.setdefault(name, []).append(url)
            if inside and holder is not None:
                for url in self._unpack(holder, inside, threads):
                    del missing[url]
                    self._count("embedded")
        self._advance(len(missing))
        return missing

    def _count(self, origin: str) -> None:
        self.origins[origin] += 1
        self._advance(1)

    def _segments(self, config: str) -> list[File]:
        return [file for split in SPLITS for file in self._version.of(config, split)]

    def _holds_images(self, config: str) -> bool:
        files = self._segments(config)
        return bool(files) and "image" in self._version.columns(files[0])

    def _named(self) -> Iterator[list[Named]]:
        """The images of all rows in lists, each address once."""
        config, columns = (
            ("default", ["image_url"]) if self._version.plain else ("enriched", ["image_url", "image_file"])
        )
        seen: set[int] = set()
        for file in self._segments(config):
            with opened(self._version, file) as segment:
                for batch in segment.iter_batches(_ROWS, columns=columns, use_threads=False):
                    _, firsts = np.unique(batch.column(0).dictionary_encode().indices.to_numpy(), return_index=True)
                    rows = batch.take(pa.array(firsts)).to_pylist()
                    new = [
                        (row["image_url"], row.get("image_file")) for row in rows if key(row["image_url"]) not in seen
                    ]
                    seen.update(key(url) for url, _ in new)
                    yield new

    def _find(self, named: Named) -> str | None:
        """In a thread: place one image that is a file somewhere; where it was."""
        url, name = named
        target = self._to / file_name(url)
        if _is_image(target):
            return "kept"
        if self._folder is not None and _is_image(source := self._folder / target.name):
            _link(source, target)
            return "folder"
        if name is None:
            return None
        sha256 = name.partition(".")[0]
        source = self._version.path / "files" / name[:2] / name
        if source.is_file():
            with source.open("rb") as file:
                _check(hashlib.file_digest(file, "sha256").hexdigest(), sha256, source)
            _link(source, target)
            return "files"
        if self._storage is not None and self._storage.exists(BLOBS, sha256):
            data = self._storage.read(BLOBS, sha256)
            _check(hashlib.sha256(data).hexdigest(), sha256, self._storage.path(BLOBS, sha256))
            _write(data, target)
            return "store"
        return None

    def _unpack(self, config: str, inside: dict[str, list[str]], threads: ThreadPoolExecutor) -> Iterator[str]:
        """Write the images that tables hold, by their names; the addresses that have their files now."""
        for file in self._segments(config):
            with opened(self._version, file) as segment:
                for group in range(segment.num_row_groups):
                    pictures = segment.read_row_group(group, columns=["image.path"]).column("image").to_pylist()
                    if not any(picture and picture["path"] in inside for picture in pictures):
                        continue
                    for batch in segment.iter_batches(_PICTURES, row_groups=[group], columns=["image"]):
                        found = [picture for picture in batch.column(0).to_pylist() if picture and picture["bytes"]]
                        wanted = [(picture, inside.pop(picture["path"], [])) for picture in found]
                        for urls in threads.map(self._put, wanted):
                            yield from urls

    def _put(self, wanted: tuple[dict[str, Any], list[str]]) -> list[str]:
        """In a thread: write one embedded image for all of its addresses."""
        picture, urls = wanted
        if urls:
            sha256 = picture["path"].partition(".")[0]
            _check(hashlib.sha256(picture["bytes"]).hexdigest(), sha256, self._version.path)
        with writable(self._to):
            for url in urls:
                _write(picture["bytes"], self._to / file_name(url))
        return urls


def _check(found: str, stated: str, where: Path) -> None:
    if found != stated:
        raise PictureDamaged(
            f"The image {stated} in {where} is damaged: its bytes have the SHA-256 {found}. Check with: pixmo verify"
        )


def _is_image(path: Path) -> bool:
    """Whether there is a file that begins as an image. The original code leaves error texts where images should be."""
    try:
        with path.open("rb") as file:
            return sniff(file.read(HEAD_BYTES)) is not None
    except FileNotFoundError:
        return False


def _link(source: Path, target: Path) -> None:
    """The same file at `target`, as a hard link where the system can."""
    with replacing(target) as part:
        try:
            os.link(source, part)
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, part)
            with part.open("rb") as file:
                os.fsync(file.fileno())


def _write(data: bytes, target: Path) -> None:
    with replacing(target) as part, part.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
