"""Reading a version with `datasets`."""

from pathlib import Path
from typing import TYPE_CHECKING

from pixmo.errors import NotFound
from pixmo.export.sets import data_set
from pixmo.export.versions import INDEX, resolve

if TYPE_CHECKING:
    from datasets import DatasetDict


def load(
    target: str | Path, config: str | None = None, *, streaming: bool = False, cache_dir: str | Path | None = None
) -> "DatasetDict":
    """A version as `datasets.DatasetDict` (`IterableDatasetDict` when `streaming`) of its splits.

    `target`: a folder, `name@version` or `name` for the newest in the folder of exports. `config`: the published one
    by default, `enriched` for everything that is known of each row, `images` where it has one. Raises `NoVersion`,
    `NotFound`.
    """
    version = resolve(target)
    configs = [name for name in version.manifest["configs"] if name != INDEX]
    config = config or next(name for name in data_set(version.name).configs if name in configs)
    if config not in configs:
        raise NotFound(f"{version.title} has no configuration {config!r}. It has: {', '.join(configs)}")
    from datasets import load_dataset

    cache = None if cache_dir is None else str(cache_dir)
    return load_dataset(str(version.path.resolve()), config, streaming=streaming, cache_dir=cache)
