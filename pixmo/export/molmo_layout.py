"""Versions laid out for the original Molmo code, which reads data sets that `datasets` saved to disk.

    TO/torch_datasets/pixmo_images/<SHA-256 of image_url>
    TO/torch_datasets/pixmo_datasets/NAME/dataset_dict.json
    TO/torch_datasets/pixmo_datasets/NAME/SPLIT/{data-00000-of-00001.arrow, state.json, dataset_info.json}

With `MOLMO_DATA_DIR=TO` its readers find everything there. The files are written with pyarrow, and features are
spelled as every release of `datasets` from 2.21 reads them: what `datasets` 4 itself writes, older ones do not read.
"""

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pixmo.errors import NotFound, Unprocessable
from pixmo.export.calls import offsets
from pixmo.export.folder import FolderTaken, lock, sync_folder, writable
from pixmo.export.links import count_links
from pixmo.export.molmo_files import BATCH_ROWS, DICT, PART, STATE, SplitWriter, move_images, new_folders, write_json
from pixmo.export.molmo_images import Pictures, file_name, opened
from pixmo.export.published import PUBLISHED
from pixmo.export.schemas import Feature, arrow_schema
from pixmo.export.versions import MANIFEST, SPLITS, File, Folder
from pixmo.storage import Storage

DATA = Path("torch_datasets/pixmo_datasets")
IMAGES = Path("torch_datasets/pixmo_images")
GROUPED_ROWS = 65_536
"""Rows of the version that are grouped at a time; one image may have more."""
_MASK_ROWS = 1
"""A row of masks may hold as many pixels as a list can number."""
_SEGMENTS = 16
"""Segments in memory while rows are grouped."""


class NoLayout(Unprocessable):
    """The original reader takes this data set from no folder."""

    code = "no_molmo_layout"
    title = "The original Molmo reader has no folder for this data set"


class ImagesMissing(NotFound):
    """Images are neither in the version nor where else it was allowed to look."""

    code = "images_missing"
    title = "Images are missing"


@dataclass(frozen=True)
class Shape:
    """One folder of the layout, and what it makes of the rows of a data set.

    `columns` follow `image_url` and `image`. `grouped`: one row an image, in the order of first appearance, and every
    other column is a list with an entry for each row of the version. `method`: rows of this `collection_method` only.
    `needs`: a column without which (null, or an empty list) the reader fails. `split`: the folder is this split alone,
    without a level of splits.
    """

    folder: str
    columns: tuple[str, ...]
    grouped: bool = False
    method: str | None = None
    needs: str | None = None
    split: str | None = None

    def features(self, name: str) -> dict[str, Feature]:
        """The features of the folder, of the data set `name`."""
        published = PUBLISHED[name]["default"]
        features: dict[str, Feature] = {"image_url": "string", "image": "string"}
        for column in self.columns:
            features[column] = [published[column]] if self.grouped else published[column]
        return features


_POINTS = ("points", "count", "label", "collection_method")

SHAPES: dict[str, tuple[Shape, ...]] = {
    "cap": (Shape("cap", ("caption", "transcripts"), needs="transcripts"),),
    "points": (
        Shape("points-pointing", _POINTS, grouped=True, method="pointing"),
        Shape("points-counting", _POINTS, grouped=True, method="counting"),
    ),
    "points-eval": (Shape("pixmo-points-eval", ("image_sha256", "label", "points", "masks"), split="test"),),
    "point-explanations": (
        Shape(
            "point-explanations",
            ("question", "response", "parsed_response", "alt_text", "inline_text", "points"),
            grouped=True,
            needs="parsed_response",
        ),
    ),
    "count": (Shape("count", ("image_sha256", "count", "points", "label")),),
    "ask-model-anything": (Shape("ask-model-anything", ("question", "answer"), grouped=True),),
    "cap-qa": (Shape("cap-qa", ("question", "answer", "messages"), grouped=True),),
}
"""The folders that each data set becomes."""

_ELSEWHERE = {
    "docs": "The original code loads it by its name on the Hub, images and all, with "
    "datasets.load_dataset('allenai/pixmo-docs', name='charts'). Copy {path} to allenai/pixmo-docs below the folder in "
    "which the code runs, and the same call reads the copy.",
    "clocks": "The original code has no reader for it: clocks are rendered, not photographed. Load it with "
    "datasets.load_dataset('{path}').",
}


@dataclass
class MolmoLayout:
    """What was written below `to`.

    `rows`: {folder: {split: rows}}. `images` counts image files by where they came from: `kept` (they were there),
    `folder`, `files`, `store`, `embedded`; `missing` could not be had. `left_out` counts rows of the version by why
    they are not here.
    """

    to: Path
    version: str
    rows: dict[str, dict[str, int]] = field(default_factory=dict)
    images: Counter[str] = field(default_factory=Counter)
    missing: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def folders(self) -> list[Path]:
        return [self.to / DATA / name for name in self.rows]

    def report(self) -> dict[str, Any]:
        """As plain values, for `--json`."""
        return {
            "to": str(self.to),
            "version": self.version,
            "folders": [str(folder) for folder in self.folders],
            "rows": self.rows,
            "images": dict(sorted(self.images.items())),
            "missing": self.missing,
            "left_out": dict(sorted(self.left_out.items())),
        }


Progress = Callable[[int, int], None]


def to_molmo(
    version: Folder | Path,
    to: Path,
    *,
    images: Path | None = None,
    storage: Storage | None = None,
    skip_missing: bool = False,
    progress: Progress = lambda done, total: None,
) -> MolmoLayout:
    """Lay a version out below `to` as the original Molmo reader wants it, beside other data sets that are there.

    Every image becomes a file (a hard link where that is possible). It is taken from the version (embedded, or in
    `files/`), from `images`, a folder that `materialize` made, or from the store's blobs. `skip_missing` leaves out
    the rows of images that are nowhere. The folder of the data set is replaced as a whole when all is written;
    interrupted, it is as it was, and image files that are finished are kept.

    The paths of images in the rows are absolute: after `to` was moved, call `relocate`. Splits without rows are
    written too, because the reader opens `train` and `validation` of every data set. In memory are some segments, the
    addresses of a split and, for embedded images, the names of all.

    `progress(done, total)` counts images, then rows. Raises `NoLayout`, `ImagesMissing`, `PictureDamaged`,
    `NoVersion`, `TableUnreadable`, `FolderTaken`, `ExportRunning`, `FolderUnwritable`.
    """
    version = version if isinstance(version, Folder) else Folder.open(version)
    if version.name not in SHAPES:
        reason = _ELSEWHERE.get(version.name, "").format(path=version.path)
        raise NoLayout(f"{version.title} cannot be laid out. {reason}")
    to = Path(os.path.abspath(to))  # noqa: PTH100 - `..` is resolved as text: links stay as they are named
    _check_outside(to)
    shapes = SHAPES[version.name]
    tables = [file for split in SPLITS for file in version.of("default", split)]
    rows = sum(file.rows for file in tables)
    total, done = count_links([version.path / file.path for file in tables]) + rows, 0

    def advance(number: int) -> None:
        nonlocal done
        done += number
        progress(min(done, total), total)

    advance(0)
    result = MolmoLayout(to, version.title)
    with writable(to):
        (to / DATA).mkdir(parents=True, exist_ok=True)
        (to / IMAGES).mkdir(exist_ok=True)
        with _alone(to):
            pictures = Pictures(version, to / IMAGES, images, storage, advance)
            missing = pictures.place()
            result.images, result.missing = pictures.origins, len(missing)
            if missing and not skip_missing:
                raise ImagesMissing(_what_is_missing(version, to, missing, result))
            with new_folders([to / DATA / shape.folder for shape in shapes]) as folders:
                for shape, new in zip(shapes, folders, strict=True):
                    result.rows[shape.folder] = _write(version, shape, new, to / IMAGES, missing, result, advance)
    progress(total, total)
    result.left_out = +result.left_out
    return result


def relocate(to: Path) -> int:
    """Make the paths of images right after `to` was moved or copied as a whole; how many rows had another path.

    Each file is replaced when its successor is finished, so that it can be started again after an interruption.
    Raises `ImagesMissing`, `NoLayout`, `ExportRunning`, `FolderUnwritable`.
    """
    to = Path(os.path.abspath(to))  # noqa: PTH100
    splits = [path.parent for path in sorted((to / DATA).glob(f"[!.]*/**/{STATE}"))]
    if not splits:
        raise NoLayout(f"{to / DATA} holds no data sets. Name the folder that holds {DATA.parts[0]}.")
    if not (to / IMAGES).is_dir():
        raise ImagesMissing(f"There is no folder {to / IMAGES}. Move it together with {DATA}, then try again.")
    with writable(to), _alone(to):
        return sum(move_images(split, to / IMAGES) for split in splits)


@contextmanager
def _alone(to: Path) -> Iterator[None]:
    """Hold the layout, without what a process left that was killed."""
    with lock(to / DATA / ".lock"):
        for old in (to / DATA).glob(".*.old-*"):
            target = to / DATA / old.name[1:].rpartition(".old-")[0]
            old.rename(target) if not target.exists() else shutil.rmtree(old)
        for left in (to / DATA).glob(".*.new-*"):
            shutil.rmtree(left)
        for left in [*(to / IMAGES).glob(f"{PART}*"), *(to / DATA).glob(f"*/**/{PART}*")]:
            left.unlink()
        yield


def _what_is_missing(version: Folder, to: Path, missing: Mapping[str, None], result: MolmoLayout) -> str:
    total = result.images.total() + result.missing
    return (
        f"{result.missing:,} of the {total:,} images of {version.title} are not at hand, the first of them "
        f"{next(iter(missing))}. Fetch them with: pixmo materialize {version.path} {to / IMAGES} - then try again, or "
        "leave their rows out with --skip-missing."
    )


def _check_outside(to: Path) -> None:
    for folder in (to.resolve(), *to.resolve().parents):
        if (folder / MANIFEST).is_file():
            raise FolderTaken(f"{to} lies in the version {folder}, which is never changed. Choose another folder.")


def _write(
    version: Folder,
    shape: Shape,
    new: Path,
    images: Path,
    missing: Mapping[str, None],
    result: MolmoLayout,
    advance: Callable[[int], None],
) -> dict[str, int]:
    """Write the folder of a shape to `new`; the rows of its splits."""
    schema = arrow_schema(shape.features(version.name))
    description = f"{version.title}, laid out for the original Molmo reader"
    licence = version.manifest["settings"]["licence"] or ""
    source = _Rows(version, shape, missing, result.left_out, advance)
    rows = {}
    for split in SPLITS if shape.split is None else (shape.split,):
        folder = new / split if shape.split is None else new
        with SplitWriter(folder, schema, split, description=description, licence=licence) as writer:
            for table in source.grouped(split) if shape.grouped else source.flat(split):
                paths = [str(images / file_name(url)) for url in table.column("image_url").to_pylist()]
                writer.write(table.append_column("image", pa.array(paths, pa.string())))
            rows[split] = writer.rows
    if shape.split is None:
        write_json(new / DICT, {"splits": list(SPLITS)})
    sync_folder(new)
    return rows


@dataclass
class _Rows:
    """The rows of a version, as a shape wants them, without images' paths."""

    version: Folder
    shape: Shape
    missing: Mapping[str, None]
    left_out: Counter[str]
    advance: Callable[[int], None]

    @property
    def columns(self) -> list[str]:
        return ["image_url", *self.shape.columns]

    def flat(self, split: str) -> Iterator[pa.Table]:
        size = _MASK_ROWS if "masks" in self.columns else BATCH_ROWS
        for file in self.version.of("default", split):
            with opened(self.version, file) as segment:
                for batch in segment.iter_batches(size, columns=self.columns, use_threads=False):
                    table = pa.Table.from_batches([batch])
                    yield table.filter(pa.array(self._kept(table)))
                    self.advance(table.num_rows)

    def grouped(self, split: str) -> Iterator[pa.Table]:
        """Windows of whole images. A first pass reads the addresses, a second one takes the rows of each window."""
        files = self.version.of("default", split)
        wanted, codes = self._order(files)
        if not wanted.size:
            return
        order = np.argsort(codes, kind="stable")
        begins = np.flatnonzero(np.diff(codes[order], prepend=-1))
        ends = np.append(begins[1:], len(order))
        bounds = np.cumsum([0, *(file.rows for file in files)])

        @lru_cache(_SEGMENTS)
        def read(number: int) -> pa.Table:
            return self.version.read(files[number], self.columns).combine_chunks()

        first = 0
        while first < len(begins):
            start = begins[first]
            last = max(first + 1, int(np.searchsorted(ends, start + GROUPED_ROWS, "right")))
            rows = wanted[order[start : ends[last - 1]]]
            table = _taken(read, bounds, rows)
            yield _lists(table, begins[first:last] - start, (ends - begins)[first:last])
            self.advance(len(rows))
            first = last

    def _order(self, files: Sequence[File]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The numbers of the rows that are kept, and of each the image, numbered in the order of first appearance."""
        wanted: list[NDArray[np.int64]] = [np.zeros(0, np.int64)]
        urls: list[pa.Array] = []
        start = 0
        columns = [name for name in ("collection_method", self.shape.needs) if name in self.columns]
        for file in files:
            table = self.version.read(file, ["image_url", *columns])
            kept = self._kept(table)
            wanted.append(np.flatnonzero(kept) + start)
            urls += table.column("image_url").filter(pa.array(kept)).chunks
            start += table.num_rows
        encoded = pa.chunked_array(urls, pa.string()).dictionary_encode()
        codes = [np.zeros(0, np.int64), *(chunk.indices.to_numpy().astype(np.int64) for chunk in encoded.chunks)]
        return np.concatenate(wanted), np.concatenate(codes)

    def _kept(self, table: pa.Table) -> NDArray[np.bool_]:
        """bool [rows]: those that this shape has. Others of its rows are counted."""
        kept = np.ones(table.num_rows, bool)
        if self.shape.method is not None:
            kept = _numpy(pc.equal(table.column("collection_method"), self.shape.method))
        if self.missing:
            there = np.array([url not in self.missing for url in table.column("image_url").to_pylist()], bool)
            self.left_out["image_missing"] += int((kept & ~there).sum())
            kept = kept & there
        if self.shape.needs is not None:
            column = table.column(self.shape.needs)
            usable = pc.is_valid(column)
            if pa.types.is_list(column.type):
                usable = pc.greater(pc.fill_null(pc.list_value_length(column), 0), 0)
            self.left_out[f"no_{self.shape.needs}"] += int((kept & ~_numpy(usable)).sum())
            kept = kept & _numpy(usable)
        return kept


def _numpy(flags: pa.ChunkedArray) -> NDArray[np.bool_]:
    values: NDArray[np.bool_] = flags.to_numpy().astype(bool)
    return values


def _taken(read: Callable[[int], pa.Table], bounds: NDArray[np.int64], rows: NDArray[np.int64]) -> pa.Table:
    """The rows of these numbers, in this order, out of tables of which number `i` begins with row `bounds[i]`."""
    ascending = np.sort(rows)
    of = np.searchsorted(bounds, ascending, "right") - 1
    parts = [read(int(number)).take(pa.array(ascending[of == number] - bounds[number])) for number in np.unique(of)]
    return pa.concat_tables(parts).combine_chunks().take(pa.array(np.searchsorted(ascending, rows)))


def _lists(table: pa.Table, firsts: NDArray[np.int64], lengths: NDArray[np.int64]) -> pa.Table:
    """One row for every group of `lengths` rows: its address, and lists of everything else."""
    starts = offsets(lengths)
    columns = {"image_url": table.column("image_url").take(pa.array(firsts))}
    for name in table.column_names[1:]:
        columns[name] = pa.ListArray.from_arrays(starts, table.column(name).combine_chunks())
    return pa.table(columns)
