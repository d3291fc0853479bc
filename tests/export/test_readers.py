"""Every version is read by everybody: `datasets` from 2.21 to the newest, pyarrow, polars and duckdb."""

import hashlib
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import duckdb
import PIL.Image
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, List, Value, load_dataset
from datasets import Image as ImageFeature
from packaging.version import Version

import pixmo.export
from pixmo.context import Context
from pixmo.errors import NotFound
from pixmo.export.build import Options, configs_of
from pixmo.export.schemas import arrow_schema
from pixmo.export.service import create
from pixmo.export.sets import NAMES, data_set
from pixmo.export.splits import shares_of
from pixmo.export.versions import INDEX, Folder
from pixmo.settings import Settings
from tests.export import old_reader
from tests.export.environments import CACHE, RELEASES, environment
from tests.export.everything import EVALUATED, fill_everything
from tests.export.test_published import EXPECTED

VERSIONS = (*(f"{name}@1.0.0" for name in NAMES), "count@2.0.0")
"""All sets with their images in the files; and one whose images lie beside them in the repository."""

NEW_SPELLING = {"label": Value("string"), "words": List(Value("string"))}

Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Exports:
    """The folder of `VERSIONS`; and for each set the rows as the store gives them, in the published columns."""

    root: Path
    in_store: dict[str, Rows]

    def folder(self, version: str) -> Folder:
        return Folder.open(self.root / version)


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory, migrated: Path) -> Exports:
    """All versions, of one store."""
    root = tmp_path_factory.mktemp("readers")
    shutil.copytree(migrated.parent, root / "store")
    context = Context.open(Settings(data_dir=root / "store", exports_dir=root / "exports"))
    store = fill_everything(context)
    for name in NAMES:
        create(context, name)
    create(context, "count", images="repo", repo="kitchen/count")
    shares = shares_of(context.settings)
    rows = {name: store.rows(data_set(name), enriched=False, shares=shares) for name in NAMES}
    context.close()
    return Exports(root / "exports", rows)


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where `datasets` keeps what it prepared in this process."""
    return str(tmp_path_factory.mktemp("prepared"))


def parts(folder: Folder) -> Iterator[tuple[str, str, list[Path]]]:
    """Every configuration of the card and split, with its files."""
    for config, described in folder.manifest["configs"].items():
        if config != INDEX:
            for split in described["splits"]:
                yield config, split, [folder.path / file.path for file in folder.of(config, split)]


def glob_of(files: list[Path]) -> str:
    """What a reader is given to find all files of a split."""
    return f"{files[0].parent}/{files[0].name.partition('-')[0]}-*"


def expected_features(folder: Folder, config: str) -> Features:
    """The published features, as literals; those of the configurations that pixmo adds, as it declares them."""
    if (folder.name, config) in EXPECTED:
        return Features(EXPECTED[folder.name, config])
    options = Options(**folder.manifest["settings"])
    [features] = [one.features for one in configs_of(data_set(folder.name), options) if one.name == config]
    return Features.from_arrow_schema(arrow_schema(features))


def stored(files: list[Path]) -> Rows:
    """The rows of the files in their order, each read on its own."""
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("streaming", [False, True], ids=["map", "streaming"])
def test_datasets_reads_every_configuration(exports: Exports, caches: str, version: str, streaming: bool) -> None:
    folder = exports.folder(version)
    read: dict[str, Any] = {}
    for config, split, files in parts(folder):
        if config not in read:
            read[config] = load_dataset(str(folder.path), config, streaming=streaming, cache_dir=caches)
        data, expected = read[config][split], stored(files)
        assert data.features == expected_features(folder, config)
        assert list(data.features) == list(expected_features(folder, config))
        assert len(expected) == folder.manifest["configs"][config]["splits"][split]["rows"] > 0
        images = [name for name, feature in data.features.items() if feature == ImageFeature()]
        for name in images:
            decoded = list(data.select_columns(name))
            assert [row[name].size for row in decoded] == [(48, 32)] * len(expected)
            data = data.cast_column(name, ImageFeature(decode=False))
        assert list(data) == expected
    assert set(read) == folder.manifest["configs"].keys() - {INDEX}
    for config, splits in read.items():
        assert list(splits) == list(folder.manifest["configs"][config]["splits"])


def by_pyarrow(files: list[Path]) -> Rows:
    table = pa.concat_tables([pq.read_table(file) for file in files])
    assert isinstance(table, pa.Table)
    return list(table.to_pylist())


def by_pyarrow_dataset(files: list[Path]) -> Rows:
    return list(ds.dataset([str(file) for file in files], format="parquet").to_table().to_pylist())


def by_polars(files: list[Path]) -> Rows:
    return pl.read_parquet(glob_of(files)).to_dicts()


def by_lazy_polars(files: list[Path]) -> Rows:
    return pl.scan_parquet(glob_of(files)).collect().to_dicts()


def by_duckdb(files: list[Path]) -> Rows:
    with duckdb.connect() as connection:
        found = connection.execute(f"SELECT * FROM read_parquet('{glob_of(files)}')")
        names = [column[0] for column in found.description or ()]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("reader", [by_pyarrow, by_pyarrow_dataset, by_polars, by_lazy_polars, by_duckdb])
def test_other_readers_give_the_same_values(
    exports: Exports, version: str, reader: Callable[[list[Path]], Rows]
) -> None:
    for config, split, files in parts(exports.folder(version)):
        assert reader(files) == stored(files), (config, split)


@pytest.mark.parametrize("name", NAMES)
def test_the_files_hold_the_rows_of_the_store(exports: Exports, name: str) -> None:
    for config, split, files in parts(exports.folder(f"{name}@1.0.0")):
        if (name, config) in EXPECTED:
            rows = [row for row in exports.in_store[name] if row["split"] == split]
            rows = [row for row in rows if row.get("kind", config) == config]
            found = [{column: _name_of(value) for column, value in row.items()} for row in stored(files)]
            assert found == [{column: row[column] for column in EXPECTED[name, config]} for row in rows]


def _name_of(value: Any) -> Any:
    """An image by the name that the store has for it, made anew from its bytes."""
    if not isinstance(value, dict) or "bytes" not in value:
        return value
    name = f"{hashlib.sha256(value['bytes']).hexdigest()}.jpeg"
    assert value["path"] == name
    return name


def test_a_split_of_several_files_is_read_in_the_order_of_its_rows(exports: Exports, caches: str) -> None:
    folder = exports.folder("points-eval@1.0.0")
    assert len(folder.of("default", "test")) > 1
    data = load_dataset(str(folder.path), "enriched", split="test", streaming=True, cache_dir=caches)
    assert [row["label"] for row in data] == [f"lid {row}" for row in range(EVALUATED)]


@pytest.mark.parametrize("version", VERSIONS)
def test_load_gives_the_published_configuration(exports: Exports, caches: str, version: str) -> None:
    folder = exports.folder(version)
    config = next(iter(data_set(folder.name).configs))
    loaded = pixmo.export.load(folder.path, cache_dir=caches)
    for of, split, files in parts(folder):
        if of == config:
            assert loaded[split].features == Features(EXPECTED[folder.name, config])
            assert loaded[split].num_rows == len(stored(files))
    streamed = pixmo.export.load(folder.path, "enriched", streaming=True, cache_dir=caches)
    assert next(iter(next(iter(streamed.values()))))["row_id"] >= 1
    with pytest.raises(NotFound, match=rf"^{version} has no configuration 'index'\. It has: {config}, "):
        pixmo.export.load(folder.path, INDEX)


@pytest.fixture(scope="module")
def bare(exports: Exports, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same versions without their cards, and one that `datasets` itself wrote in the spelling of its release 4."""
    root = tmp_path_factory.mktemp("bare")
    for version in VERSIONS:
        shutil.copytree(exports.root / version, root / version, ignore=shutil.ignore_patterns("README.md", "files"))
    (root / "new" / "data").mkdir(parents=True)
    data = Dataset.from_list([{"label": "cup", "words": ["a", "cup"]}], features=Features(NEW_SPELLING))
    data.to_parquet(root / "new" / "data" / "train-00000.parquet")
    manifest = {"configs": {"default": {"folder": "data", "splits": {"train": {}}}}}
    (root / "new" / "manifest.json").write_text(json.dumps(manifest))
    return root


@pytest.fixture(scope="module", autouse=True)
def reading(
    exports: Exports, bare: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[str, Future[dict[str, Any]]]]:
    """The reports to come, by release: other processes read while the tests of this one run."""
    folders = [*(exports.root / version for version in VERSIONS), *(bare / version for version in (*VERSIONS, "new"))]

    def report(release: str, work: Path) -> dict[str, Any]:
        with environment(CACHE / f"datasets-{release}", ("pillow", *RELEASES[release])) as python:
            return run_reader(python, work, folders)

    wanted = any("reports" in getattr(item, "fixturenames", ()) for item in request.session.items)
    with ThreadPoolExecutor() as pool:
        works = {release: tmp_path_factory.mktemp("release") for release in RELEASES if wanted}
        yield {release: pool.submit(report, release, work) for release, work in works.items()}


@pytest.fixture(scope="module")
def reports(reading: dict[str, Future[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """What each release of `datasets` found in all folders."""
    return {release: future.result() for release, future in reading.items()}


def run_reader(python: Path, work: Path, folders: list[Path]) -> dict[str, Any]:
    """The report of `old_reader.py` under another interpreter, which sees nothing of this one."""
    script, result = Path(old_reader.__file__), work / "result.json"
    done = subprocess.run(
        [python, "-I", script, result, work / "cache", *folders],
        env={**os.environ, "HF_HOME": str(work / "home"), "HF_HUB_OFFLINE": "1"},
        capture_output=True, text=True, timeout=280, cwd=work,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(result.read_text("utf-8"))
    return found


def as_reported(folder: Folder, config: str) -> dict[str, Any]:
    """What a reader has to find in a configuration."""
    found = {}
    for of, split, files in [*parts(folder), *index_parts(folder)]:
        if of == config:
            columns = old_reader.spelled(expected_features(folder, config))
            found[split] = {"columns": columns, "rows": [reported_row(row) for row in stored(files)]}
    return found


def index_parts(folder: Folder) -> Iterator[tuple[str, str, list[Path]]]:
    for split in folder.manifest["configs"][INDEX]["splits"]:
        yield INDEX, split, [folder.path / file.path for file in folder.of(INDEX, split)]


def reported_row(row: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = old_reader.plain(row)
    if "image" in row:
        picture = PIL.Image.open(io.BytesIO(row["image"]["bytes"]))
        found["image"] |= {"size": list(picture.size), "mode": picture.mode}
    return found


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("release", RELEASES)
def test_other_releases_of_datasets_read_the_same(
    exports: Exports, bare: Path, reports: dict[str, Any], release: str, version: str
) -> None:
    folder, found = exports.folder(version), reports[release]["folders"]
    configs = list(folder.manifest["configs"])
    with_card, without = found[str(folder.path)], found[str(bare / version)]
    assert list(with_card) == [*(config for config in configs if config != INDEX), ""]
    assert list(without) == configs
    expected = {config: as_reported(folder, config) for config in configs}
    for config, ways in without.items():
        assert ways == {"map": expected[config], "streaming": expected[config]}, config
    assert with_card.pop("") == {"streaming": expected[next(iter(data_set(folder.name).configs))]}
    for config, ways in with_card.items():
        assert ways == {"map": expected[config], "streaming": expected[config]}, config


@pytest.mark.parametrize("release", RELEASES)
def test_the_releases_are_those_and_know_nothing_of_pixmo(reports: dict[str, Any], release: str) -> None:
    number = Version(reports[release]["datasets"])
    assert number >= Version(datasets.__version__) if release == "newest" else number == Version(release)
    assert "pixmo" not in reports[release]["modules"]


def test_old_releases_cannot_read_what_new_ones_write(bare: Path, reports: dict[str, Any]) -> None:
    """So the tests above would tell if pixmo wrote lists as `datasets` 4 does."""
    found = {release: report["folders"][str(bare / "new")]["default"] for release, report in reports.items()}
    for release in ("2.21.0", "3.1.0"):
        for way in ("map", "streaming"):
            assert found[release][way] == {"error": "TypeError: must be called with a dataclass type or instance"}
    columns = old_reader.spelled(Features(NEW_SPELLING))
    read = {"train": {"columns": columns, "rows": [{"label": "cup", "words": ["a", "cup"]}]}}
    assert found["newest"] == {"map": read, "streaming": read}


def test_an_environment_is_made_once_and_again_if_it_was_not_finished(tmp_path: Path) -> None:
    folder, requirements = tmp_path / "readers" / "one", ("iniconfig==2.1.0",)

    def made(_: int) -> int:
        with environment(folder, requirements) as python:
            subprocess.run([python, "-I", "-c", "import iniconfig; iniconfig.IniConfig"], check=True)
            return folder.stat().st_ino

    with ThreadPoolExecutor() as pool:
        first, second = pool.map(made, range(2))
    assert first == second == made(0)
    (folder / "finished.json").unlink()
    for file in folder.rglob("iniconfig/*.py"):
        file.unlink()
    made(0)
    with environment(folder, ("iniconfig==2.0.0",)) as python:
        stated = subprocess.run(
            [python, "-I", "-c", "from importlib.metadata import version; print(version('iniconfig'))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    assert stated.stdout.strip() == "2.0.0"


def test_a_requirement_that_is_not_there_says_so_and_leaves_nothing_usable(tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(RuntimeError, match="iniconfig"), environment(tmp_path / "none", ("iniconfig==0.0.0.1",)):
            pass
