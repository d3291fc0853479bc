"""The data sets that pixmo publishes: what each is called, its columns, and where its rows come from."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import pyarrow as pa

from pixmo.database import Base
from pixmo.errors import NotFound
from pixmo.export.pages import Reading
from pixmo.export.schemas import Feature
from pixmo.export.segments import Cuts

NAMES = (
    "cap", "points", "points-eval", "point-explanations", "count", "ask-model-anything", "cap-qa", "docs", "clocks",
)  # fmt: skip

IMAGE_COLUMNS: dict[str, Feature] = {
    "image_file": "string",
    "original_sha256": "string",
    "served_sha256": "string",
    "pixel_sha256": "string",
    "width": "int32",
    "height": "int32",
    "topic": "string",
    "licence": "string",
    "attribution": "string",
    "source_url": "string",
    "split_cluster": "string",
}
"""What `enriched` says of the image of a row."""

STEPS: Feature = [
    {"field": "string", "origin": "string", "model": "string", "model_revision": "string", "saw_image": "bool"}
]

PEOPLE_COLUMNS: dict[str, Feature] = {
    "campaign": "string",
    "language": "string",
    "annotators": ["string"],
    "consent_versions": ["string"],
    "annotated_on": "date32",
    "agreement": "float64",
    "steps": STEPS,
}
"""What `enriched` says of who made a row and how."""

MEANING = {
    "row_id": "identifies the row in all versions",
    "image": "the image as its annotators saw it: upright, without EXIF",
    "image_file": "name of the image: of its file in `files/`, and `path` in the configuration `images`",
    "original_sha256": "SHA-256 of the original file",
    "served_sha256": "SHA-256 of the image as its annotators saw it",
    "pixel_sha256": "SHA-256 of the decoded upright pixels, to recognise re-encoded copies",
    "width": "pixels, upright",
    "height": "pixels, upright",
    "topic": "topic under which the image was collected",
    "licence": "licence of the image",
    "attribution": "credit that the image's licence asks for",
    "source_url": "where the image came from",
    "split_cluster": "near-duplicate cluster; one cluster never stands in two splits",
    "campaign": "name of the campaign",
    "language": "language of the texts",
    "annotators": "keyed pseudonyms of the people who made the row",
    "consent_versions": "version of the consent that each of them gave",
    "annotated_on": "date, UTC",
    "agreement": "agreement of the annotators, 0 to 1; null if one person made the row",
    "steps": "what made each field: human, asr, llm_text, script or detector, and whether it saw the image",
}
"""Meaning of the columns that all sets share; those of the published ones are in `published`."""


@dataclass(frozen=True)
class Measure:
    """A number of every row that card and plots sum up. `of` takes a page and gives whole numbers."""

    title: str
    unit: str
    of: Callable[[pa.Table], pa.Array]


@dataclass(frozen=True)
class DataSet:
    """One data set.

    `configs`: the published configurations, exact; `enriched`: their columns and everything that is known besides.
    `rows` gives pages (see `pixmo.export.pages`) in the order of `row_id`, with all columns of `enriched` - or, if
    `reading.enriched` is false, those of `configs`, `annotators` and `original_sha256` - and `part` names the column
    that says to which configuration a row belongs, if there are several. `tables` are what the rows depend on besides
    images, campaigns and people: rows are only ever added to them. `image_once`: a row has an image of its own, so
    that `enriched` can hold it. `cuts`: sizes of segments,
    if its rows are unusually large. `by_models`: language models had a part in most rows, so that even a plain export reads
    all of `enriched`, to see that none was shown an image.
    """

    name: str
    title: str
    about: str
    configs: Mapping[str, Mapping[str, Feature]]
    enriched: Mapping[str, Feature]
    rows: Callable[[Reading], Iterator[pa.Table]]
    count: Callable[[Reading], int]
    tables: Sequence[type[Base]]
    meaning: Mapping[str, str]
    measures: Sequence[Measure] = ()
    image_once: bool = False
    cuts: Cuts | None = None
    by_models: bool = False
    part: str | None = None
    coordinates: str | None = None
    task_categories: Sequence[str] = ("visual-question-answering",)
    tags: Sequence[str] = ()
    statement: Sequence[str] = field(default=())


def data_set(name: str) -> DataSet:
    """The data set called `name`. Raises `NotFound`."""
    if name not in NAMES:
        raise NotFound(f"There is no data set {name!r}. There are: {', '.join(NAMES)}")
    module = import_module(f"pixmo.export.sources.{name.replace('-', '_')}")
    found: DataSet = module.SET
    return found


def enriched(published: Mapping[str, Feature], *extra: Mapping[str, Any]) -> dict[str, Feature]:
    """The columns of `enriched`: the published ones first, then `row_id`, then the rest."""
    columns = {**published, "row_id": "int64"}
    for more in extra:
        columns |= {name: feature for name, feature in more.items() if name not in published}
    return columns
