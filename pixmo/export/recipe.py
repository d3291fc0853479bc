"""What a pipeline file of a data team changes in what is published, and what it may not change."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pixmo import pipeline
from pixmo.captions import receipt
from pixmo.errors import Unprocessable
from pixmo.export.segments import RowInvalid

_FIXED = {"split", "original_sha256", "annotators", "steps", "receipt", "image", "image_file", "split_cluster"}


def pipeline_of(name: str, file: Path | None) -> Any:
    """The pipeline whose `rows` may change what is published; None where the set has no pipeline yet."""
    if name == "cap":
        return pipeline.load("cap", file)
    if file is not None:
        raise Unprocessable(f"{name} has no pipeline. Only cap is made by one.")
    return None


def recipe_sha256(name: str, file: Path | None) -> str | None:
    """What names a pipeline: the hash of its file."""
    recipe = pipeline_of(name, file)
    return recipe and hashlib.sha256(Path(recipe.__file__).read_bytes()).hexdigest()


def edited(pages: Iterable[pa.Table], edit: Callable[[pa.Table], pa.Table]) -> Iterator[pa.Table]:
    """Pages as a pipeline publishes them: it may drop rows and change columns, but not what a receipt vouches for."""
    for page in pages:
        changed = edit(page)
        if changed is page:
            yield page
            continue
        if not isinstance(changed, pa.Table) or set(page.column_names) - set(changed.column_names):
            raise RowInvalid("rows() of the pipeline must return a table with the columns that it was given.")
        ids = page.column("row_id").combine_chunks()
        same = changed.schema.field("row_id").type == ids.type
        places = pc.index_in(changed.column("row_id"), value_set=ids) if same else None
        if places is None or places.null_count:
            raise RowInvalid("rows() of the pipeline made up row ids.")
        if not changed.column("caption").equals(page.column("caption").take(places)):
            raise receipt.ReceiptInvalid(
                "rows() of the pipeline changed captions, for which receipts vouch. Change captions in its caption()."
            )
        for name in _FIXED & set(page.column_names):
            if not changed.column(name).equals(page.column(name).take(places)):
                raise RowInvalid(f"rows() of the pipeline changed {name}, which says where rows come from. Leave it.")
        yield changed
