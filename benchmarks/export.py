"""Exports: versions of pixmo against `Dataset.from_generator(...).to_parquet`, both out of the same live SQLite store.

    python -m benchmarks.export [--quick] [--only NAME]

Every method runs in a process of its own. CPU seconds are user and system time after the imports; memory is the
greatest resident size of the process. The peer reads the same rows by plain SQL, parses their JSON with Python's
json and yields dicts, as a script does. A version has, besides the parquet files, an index of its rows, splits,
statistics, a card with plots, hashes and a signature; `all columns` adds provenance to that.
"""

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROWS = {"points": 1_000_000, "points 100k": 100_000, "captions": 100_000, "images": 5_000, "annotated": 20_000}
QUICK = {"points": 50_000, "points 100k": 5_000, "captions": 5_000, "images": 300, "annotated": 2_000}
IMAGE_BYTES = 147_000

_POINTS = """
    SELECT i.source_url, i.sha256, p.points, p.label, p.method
    FROM point_sets p JOIN images i ON i.id = p.image_id WHERE p.root_id IS NULL ORDER BY p.id
"""
_CAPTIONS = """
    SELECT i.source_url, c.text, c.transcript_ids, i.served_sha256
    FROM captions c JOIN tasks t ON t.id = c.task_id JOIN images i ON i.id = t.image_id ORDER BY c.id
"""


def pixmo_points(folder: Path, *, plain: bool) -> int:
    return _created(folder, "points", images="url", plain=plain)


def pixmo_captions(folder: Path, *, plain: bool, images: str = "url") -> int:
    return _created(folder, "cap", images=images, plain=plain)


def _created(folder: Path, name: str, **options: Any) -> int:
    """Bytes of the parquet files that were made; the index of rows is counted apart by nobody, so it counts here."""
    from benchmarks.export_stores import opened
    from pixmo.export.service import create

    context = opened(folder)
    made = create(context, name, **options)
    context.close()
    return sum(file.bytes for file in made.folder.segments if file.config != "index")


def generator_points(folder: Path) -> int:
    from datasets import Features, List, Value

    def rows() -> Iterator[dict[str, Any]]:
        for url, sha256, points, label, method in _rows(folder, _POINTS):
            places = [{"x": point["x"] * 100, "y": point["y"] * 100} for point in json.loads(points)]
            yield {
                "image_url": url, "image_sha256": sha256, "points": places, "count": len(places), "label": label,
                "collection_method": method,
            }  # fmt: skip

    text = Value("string")
    return _generated(folder, rows, Features({
        "image_url": text, "image_sha256": text, "points": List({"x": Value("float64"), "y": Value("float64")}),
        "count": Value("int64"), "label": text, "collection_method": text,
    }))  # fmt: skip


def generator_captions(folder: Path) -> int:
    from datasets import Features, List, Value

    def rows() -> Iterator[dict[str, Any]]:
        for url, caption, ids, _ in _rows(folder, _CAPTIONS):
            yield {"image_url": url, "caption": caption, "transcripts": _transcripts(folder, json.loads(ids))}

    text = Value("string")
    return _generated(folder, rows, Features({"image_url": text, "caption": text, "transcripts": List(text)}))


def generator_images(folder: Path) -> int:
    from datasets import Features, Image, List, Value

    def rows() -> Iterator[dict[str, Any]]:
        blobs = folder / "pixmo-data" / "blobs" / "images"
        for url, caption, ids, sha256 in _rows(folder, _CAPTIONS):
            yield {
                "image_url": url, "caption": caption, "transcripts": _transcripts(folder, json.loads(ids)),
                "image": {"path": f"{sha256}.jpeg", "bytes": (blobs / sha256[:2] / sha256).read_bytes()},
            }  # fmt: skip

    text = Value("string")
    features = Features({"image_url": text, "caption": text, "transcripts": List(text), "image": Image()})
    return _generated(folder, rows, features)


_connections: dict[Path, sqlite3.Connection] = {}


def _connection(folder: Path) -> sqlite3.Connection:
    if folder not in _connections:
        _connections[folder] = sqlite3.connect(f"file:{folder / 'pixmo-data' / 'pixmo.db'}?mode=ro", uri=True)
    return _connections[folder]


def _rows(folder: Path, query: str) -> sqlite3.Cursor:
    return _connection(folder).execute(query)


def _transcripts(folder: Path, ids: list[str]) -> list[str]:
    query = f"SELECT text FROM transcripts WHERE id IN ({','.join('?' * len(ids))})"
    return [text for (text,) in _connection(folder).execute(query, ids)]


def _generated(folder: Path, rows: Callable[[], Iterator[dict[str, Any]]], features: Any) -> int:
    from datasets import Dataset

    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Dataset.from_generator(rows, features=features, cache_dir=scratch)
        target = Path(scratch, "out.parquet")
        made.to_parquet(str(target))
        return target.stat().st_size


METHODS: dict[str, Callable[[Path], int]] = {
    "from_generator points": generator_points,
    "pixmo points": lambda folder: pixmo_points(folder, plain=True),
    "pixmo points, all columns": lambda folder: pixmo_points(folder, plain=False),
    "from_generator captions": generator_captions,
    "pixmo captions": lambda folder: pixmo_captions(folder, plain=True),
    "pixmo captions, all columns": lambda folder: pixmo_captions(folder, plain=False),
    "from_generator images": generator_images,
    "pixmo images": lambda folder: pixmo_captions(folder, plain=False, images="embed"),
}


def measure(method: str, folder: Path) -> dict[str, float]:
    """One run in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.export", "--method", method, "--folder", str(folder)]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    )
    if done.returncode:
        raise SystemExit(f"{method} failed:\n{done.stderr}")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def run_method(method: str, folder: Path) -> None:
    """What the process of a method does. Only what it needs itself is imported: that is part of its memory."""
    import pandas  # noqa: F401 - pyarrow and datasets both import it

    if method.startswith("pixmo"):
        import pixmo.export.service
        import pixmo.export.sources.cap
        import pixmo.export.sources.points  # noqa: F401
    else:
        import datasets  # noqa: F401
    started, before = time.perf_counter(), _cpu()
    size = METHODS[method](folder)
    answer = {
        "cpu_seconds": _cpu() - before,
        "wall_seconds": time.perf_counter() - started,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "file_mb": size / 1e6,
    }
    print(json.dumps(answer))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def fresh(folder: Path) -> None:
    """Forget the versions of a store, so that the next export is a first one."""
    shutil.rmtree(folder / "exports", ignore_errors=True)
    with sqlite3.connect(folder / "pixmo-data" / "pixmo.db") as connection:
        connection.execute("DELETE FROM dataset_versions")
    connection.close()


def prepared(folder: Path) -> None:
    """Give images their splits, which happens once in the life of a store."""
    from benchmarks.export_stores import opened
    from pixmo.export import splits

    context = opened(folder)
    with context.db.write() as session:
        splits.assign(session, splits.shares_of(context.settings))
    context.close()


def fill(part: str, rows: int, folder: Path) -> None:
    """Make the store of a part."""
    from benchmarks import export_stores as stores

    if part.startswith("points"):
        stores.points(folder, rows)
    else:
        stores.captions(folder, rows, IMAGE_BYTES if part == "images" else 0)
    prepared(folder)


PARTS = {
    "points": ["from_generator points", "pixmo points", "pixmo points, all columns"],
    "points 100k": ["from_generator points", "pixmo points"],
    "captions": ["from_generator captions", "pixmo captions", "pixmo captions, all columns"],
    "images": ["from_generator images", "pixmo images"],
    "annotated": ["pixmo captions", "pixmo captions, all columns"],
}


def run(part: str, rows: int, folder: Path) -> dict[str, dict[str, float]]:
    """All methods on one store, and the last version once more without any change."""
    folder.mkdir()
    filling = multiprocessing.get_context("spawn").Process(target=fill, args=(part, rows, folder))
    filling.start()
    filling.join()  # in a process of its own: what it leaves resident would count for its children
    if filling.exitcode:
        raise SystemExit(f"The store for {part} could not be filled.")
    results = {}
    for method in PARTS[part]:
        fresh(folder)
        results[method] = measure(method, folder)
    results["again, nothing changed"] = measure(PARTS[part][-1], folder)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the rows")
    parser.add_argument("--only", choices=PARTS, help="one part")
    parser.add_argument("--method", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.method:
        run_method(options.method, options.folder)
        return
    table = Table("Store", "Method", "CPU s", "Wall s", "Peak MB", "File MB", title="Exports")
    answer: dict[str, Any] = {"bench": "export", "load": os.getloadavg()[0], "results": {}}
    with tempfile.TemporaryDirectory(prefix="pixmo-bench-") as scratch:
        for part, rows in (QUICK if options.quick else ROWS).items():
            if options.only not in (None, part):
                continue
            results = run(part, rows, Path(scratch, part.replace(" ", "-")))
            answer["results"][part] = {"rows": rows, **results}
            for method, result in results.items():
                figures = (result[name] for name in ("cpu_seconds", "wall_seconds", "peak_mb", "file_mb"))
                table.add_row(f"{rows:,} {part}", method, *(f"{figure:,.2f}" for figure in figures))
    Console().print(table)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
