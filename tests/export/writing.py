"""Tables of a few columns, written as segments. Imports little: processes of their own run it."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pixmo.export.schemas import Feature, arrow_schema
from pixmo.export.segments import Cuts, Segment, SegmentWriter

WORDS: dict[str, Feature] = {"row_id": "int64", "label": "string", "points": [{"x": "float64", "y": "float64"}]}
PHOTOS: dict[str, Feature] = {"caption": "string", "image": "image", "row_id": "int64"}
IDS: dict[str, Feature] = {"row_id": "int64"}
SMALL = Cuts(least=4, typical=8, most=24, group=5)


def no_load(name: str) -> bytes:
    raise AssertionError(f"{name} was read")


def words(ids: Sequence[int] | NDArray[np.int64]) -> pa.Table:
    rows = [{"row_id": int(i), "label": f"thing {i % 7}", "points": [{"x": i / 3, "y": 0.5}] * (i % 3)} for i in ids]
    return pa.Table.from_pylist(rows, arrow_schema(WORDS).remove_metadata())


def photo(number: int, size: int = 500) -> bytes:
    return number.to_bytes(4) * (size // 4)


def photos(ids: Sequence[int], size: int = 500) -> tuple[pa.Table, dict[str, bytes]]:
    """Rows with names of images, and the images; every fifth row has none."""
    stored = {f"{hashlib.sha256(photo(i, size)).hexdigest()}.jpg": photo(i, size) for i in ids if i % 5}
    names = iter(stored)
    table = {"caption": [f"photo {i}" for i in ids], "image": [next(names) if i % 5 else None for i in ids]}
    return pa.table({**table, "row_id": pa.array(ids, pa.int64())}), stored


def write(
    work: Path, table: pa.Table, features: dict[str, Feature] = WORDS, cuts: Cuts = SMALL, *, size: int = 10**9,
    known: dict[str, tuple[Path, str]] | None = None, load: Callable[[str], bytes] = no_load,
) -> list[Segment]:  # fmt: skip
    """The segments of a table with a column `row_id`, written in batches of `size` rows."""
    work.mkdir(exist_ok=True)
    writer = SegmentWriter(features, cuts, work, known=known or {}, load=load)
    for start in range(0, table.num_rows, size):
        part = table.slice(start, size)
        writer.write(part, part.column("row_id").to_numpy())
    return writer.close()
