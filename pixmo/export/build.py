"""From pages of rows to segments: the part of an export that costs time."""

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pixmo.errors import Unprocessable
from pixmo.export.schemas import Feature, fingerprint
from pixmo.export.segments import IMAGES, TEXT, WRITER, Cuts, Load, RowInvalid, Segment, SegmentWriter
from pixmo.export.sets import IMAGE_COLUMNS, DataSet
from pixmo.export.statistics import ModelSawImage, Statistics
from pixmo.export.versions import INDEX, SPLITS, Folder

ImageMode = Literal["embed", "repo", "url"]

INDEX_COLUMNS: dict[str, Feature] = {
    "row_id": "int64",
    "original_sha256": "string",
    "annotators": ["string"],
    "config": "string",
}
"""What a version remembers of every row besides its published columns: for diffs and take-downs."""

IMAGES_CONFIG: dict[str, Feature] = {
    "image": "image", "image_url": "string", "image_sha256": "string", **IMAGE_COLUMNS
}  # fmt: skip
"""One row for every image, where many rows of a data set show the same one."""


class OptionInvalid(Unprocessable):
    code = "option_invalid"
    title = "These options do not go together"


class ModelSaw(Unprocessable):
    """The invariant of all data sets: what is said about images comes from people."""

    code = "model_saw_image"
    title = "A model saw an image"


@dataclass(frozen=True)
class Options:
    """How a version is made. What is not given is as in the version before.

    `images`: `embed` puts images into the parquet files; `repo` puts them beside, as files of the repository `repo`, to
    which `image_url` then points; `url` leaves them where they came from. `plain`: published columns only.
    """

    images: ImageMode = "embed"
    repo: str | None = None
    campaign: str | None = None
    licence: str | None = None
    require_licence: bool = False
    plain: bool = False
    balanced_eval: int | None = None

    def check(self) -> None:
        """Raises `OptionInvalid`."""
        if self.images not in ("embed", "repo", "url"):
            raise OptionInvalid(
                f"Images are embedded (embed), files of the repository (repo) or addresses (url), not {self.images!r}."
            )
        if self.images == "repo" and (self.repo is None or self.plain):
            raise OptionInvalid("Images as files need the repository they go to, --repo ORG/NAME, and no --plain.")
        if self.repo is not None and self.repo.count("/") != 1:
            raise OptionInvalid(f"{self.repo!r} is no repository. Repositories look like ORG/NAME.")
        if self.balanced_eval is not None and self.balanced_eval < 1:
            raise OptionInvalid("A balanced split for evaluation needs at least one row of each count.")

    def report(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Config:
    """A configuration as it is written: its folder, columns and where its segments end."""

    name: str
    folder: str
    features: Mapping[str, Feature]
    cuts: Cuts


@dataclass
class Built:
    """The segments of all configurations by split, and what they hold."""

    configs: list[Config]
    segments: dict[tuple[str, str], list[Segment]]
    statistics: Statistics
    image_files: set[str] = field(default_factory=set)


def configs_of(data_set: DataSet, options: Options) -> list[Config]:
    """All configurations that a version has, `index` last."""

    def config(name: str, features: Mapping[str, Feature]) -> Config:
        usual = IMAGES if "image" in features.values() else TEXT
        own = usual if name == INDEX or data_set.cuts is None else data_set.cuts
        cuts = min(usual, own, key=lambda cuts: cuts.most)
        return Config(name, "data" if name == "default" else name, features, cuts)

    found = [config(name, features) for name, features in data_set.configs.items()]
    if not options.plain:
        enriched = dict(data_set.enriched)
        if options.images != "embed":
            enriched.pop("image", None)
        found.append(config("enriched", enriched))
        if options.images == "embed" and "image_file" in enriched and not data_set.image_once and not data_set.part:
            found.append(config("images", IMAGES_CONFIG))
    return [*found, config(INDEX, INDEX_COLUMNS)]


def build(
    data_set: DataSet,
    options: Options,
    pages: Iterable[pa.Table],
    *,
    work: Path,
    parent: Folder | None,
    load: Load,
    advance: Callable[[int], None],
) -> Built:
    """Write the rows of `pages` as segments below `work`, or use those of `parent` that are the same.

    `work` may hold segments of an attempt that was interrupted: they are used too. `load` gives the bytes of an image
    by its name. `advance` is told how many rows of the store were read. Raises `RowInvalid`, `ModelSaw`.
    """
    configs = configs_of(data_set, options)
    built = Built(configs, {}, Statistics())
    writers = {
        (config.name, split): SegmentWriter(
            config.features, config.cuts, work, known=_known(parent, config, split), load=load
        )
        for config in configs
        for split in SPLITS
    }
    seen: set[int] = set()
    last: dict[str, int] = {}
    with _uncollected():
        for page in pages:
            _add(data_set, options, built, writers, page, seen, last)
            advance(page.num_rows)
    for key, writer in writers.items():
        if segments := writer.close():
            built.segments[key] = segments
    return built


def _add(
    data_set: DataSet,
    options: Options,
    built: Built,
    writers: Mapping[tuple[str, str], SegmentWriter],
    page: pa.Table,
    seen: set[int],
    last: dict[str, int],
) -> None:
    """Count a page, and write its rows to every configuration. `seen`: images; `last`: row id by split, so far."""
    page = page.append_column("config", _config_names(data_set, page))
    try:
        built.statistics.add(page, data_set)
    except ModelSawImage as found:
        row, step = found.args
        raise ModelSaw(
            f"Row {row}: the step {step['field']} ({step['origin']}, model {step['model']}) was shown an image. "
            "Such rows are never exported; make the text again from what people said."
        ) from None
    if options.images == "repo" and "image_file" in page.column_names:
        built.image_files.update(name for name in page.column("image_file").unique().to_pylist() if name)
    for split, part in _by_split(page):
        last[split] = _in_order(part, last.get(split, 0))
        _write(data_set, built.configs, writers, split, part, seen)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without searching for cycles among millions of short-lived rows that form none: a fifth of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _write(
    data_set: DataSet,
    configs: list[Config],
    writers: Mapping[tuple[str, str], SegmentWriter],
    split: str,
    page: pa.Table,
    seen: set[int],
) -> None:
    for config in configs:
        rows = page
        if data_set.part and config.name in data_set.configs:
            rows = page.filter(pc.equal(page.column(data_set.part), config.name))
        elif config.name == "images":
            rows = _first_of_images(page, seen)
        if rows.num_rows:
            writers[config.name, split].write(rows, rows.column("row_id").to_numpy())


def _in_order(page: pa.Table, last: int) -> int:
    """The id of the last row, after which the next page has to begin."""
    ids = page.column("row_id").to_numpy()
    if ids[0] <= last or (np.diff(ids) <= 0).any():
        raise RowInvalid(f"Rows do not come in the order of row_id, near row {ids[0]}. rows() must keep their order.")
    return int(ids[-1])


def _first_of_images(page: pa.Table, seen: set[int]) -> pa.Table:
    """The first row of every image that did not come before, with its picture."""
    names = page.column("image_file").combine_chunks().dictionary_encode()
    _, firsts = np.unique(names.indices.to_numpy(), return_index=True)
    chosen = []
    for place, name in zip(firsts.tolist(), names.dictionary.to_pylist(), strict=True):
        key = int(name[:16], 16)
        if key not in seen:
            seen.add(key)
            chosen.append(place)
    rows = page.take(pa.array(sorted(chosen), pa.int64()))
    return rows.append_column("image", rows.column("image_file"))


def _config_names(data_set: DataSet, page: pa.Table) -> pa.Array | pa.ChunkedArray:
    if data_set.part:
        return page.column(data_set.part)
    return pa.repeat(pa.scalar("default"), page.num_rows)


def _by_split(page: pa.Table) -> Iterable[tuple[str, pa.Table]]:
    """The rows of each split that the page has."""
    column = page.column("split")
    names = column.unique().to_pylist()
    if len(names) == 1:
        yield names[0], page
        return
    for name in names:
        yield name, page.filter(pc.equal(column, name))


def _known(parent: Folder | None, config: Config, split: str) -> dict[str, tuple[Path, str]]:
    """Segments of the parent that may be used again: same columns, same writer, and still as long as they were."""
    if parent is None or parent.manifest["writer"] != WRITER:
        return {}
    stated = parent.manifest["configs"].get(config.name)
    if stated is None or stated["schema_sha256"] != fingerprint(config.features):
        return {}
    return {
        file.content_sha256: (parent.path / file.path, file.sha256)
        for file in parent.of(config.name, split)
        if (parent.path / file.path).is_file() and (parent.path / file.path).stat().st_size == file.bytes
    }
