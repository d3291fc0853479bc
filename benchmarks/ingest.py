"""Ingest of JPEGs: images per second and CPU time per image, against a plain loop with Pillow.

    python -m benchmarks.ingest [--quick]

The plain loop is what a script of ten lines does: open, turn upright, resize to 1024 and 256 pixels, save. Ingest
does that and also hashes bytes and pixels, checks every pixel decodes, strips metadata without loss, computes PDQ,
writes all versions durably and finds near-duplicates. The pictures are enlarged photographs with noise, so that their
sizes in bytes are those of a camera.
"""

import argparse
import io
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from rich.console import Console
from rich.table import Table

from pixmo import setup
from pixmo.context import Context
from pixmo.images.demo import demo_images
from pixmo.images.ingest import IngestOptions, Report, add_images
from pixmo.images.sources import FileAt, Folder
from pixmo.images.workers import cores
from pixmo.settings import Settings

SIZES = {"12 MP": (4000, 3000), "1 MP": (1152, 864)}


def camera(width: int, height: int, seed: int, photographs: list[Image.Image]) -> bytes:
    """A JPEG as a camera makes it: every third one on its side, with an Exif block."""
    noise = np.random.default_rng(seed).normal(0, 4, (height, width, 1)).astype(np.float32)
    photograph = photographs[seed % len(photographs)].resize((width, height), Image.Resampling.BICUBIC)
    image = Image.fromarray((np.asarray(photograph) + noise).clip(0, 255).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6 if seed % 3 == 0 else 1
    exif[0x010F] = "camera"
    out = io.BytesIO()
    image.save(out, "JPEG", quality=92, exif=exif)
    return out.getvalue()


def plain_loop(folder: Path, target: Path) -> int:
    """The script that ingest is compared with. Returns how many images it made."""
    made = 0
    for path in sorted(folder.iterdir()):
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened).convert("RGB")
        for side, quality in ((1024, 85), (256, 80)):
            image.thumbnail((side, side))
            image.save(target / f"{path.stem}-{side}.jpg", quality=quality)
        made += 1
    return made


def cpu_seconds() -> float:
    """User and system time of this process and of its ended children."""
    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def measured(what: Callable[[], int]) -> dict[str, float]:
    before, started = cpu_seconds(), time.perf_counter()
    images = what()
    wall = time.perf_counter() - started
    cpu = cpu_seconds() - before
    return {"images": images, "images_per_second": images / wall, "cpu_ms_per_image": 1000 * cpu / images}


def store(folder: Path) -> Context:
    settings = Settings(data_dir=folder)
    setup.prepare(settings)
    return Context.open(settings)


def taken(report: Report) -> int:
    if report.failures:
        raise SystemExit(f"refused: {report.failures[0]}")
    return report.new + report.known


def run(name: str, number: int, photographs: list[Image.Image], scratch: Path) -> dict[str, dict[str, float]]:
    """All methods on `number` new pictures of one size."""
    folder, target = scratch / "in", scratch / "out"
    folder.mkdir(parents=True)
    target.mkdir()
    for seed in range(number):
        (folder / f"{seed:05}.jpg").write_bytes(camera(*SIZES[name], seed, photographs))
    size = sum(path.stat().st_size for path in folder.iterdir()) / number
    results = {"plain Pillow loop": measured(lambda: plain_loop(folder, target))}
    for workers in dict.fromkeys((1, cores())):
        context = store(scratch / f"store{workers}")
        options = IngestOptions(workers=workers)
        first = measured(lambda c=context, o=options: taken(add_images(c.db, c.storage, [Folder(folder)], o)))  # type: ignore[misc]
        again = measured(lambda c=context, o=options: taken(add_images(c.db, c.storage, [Folder(folder)], o)))  # type: ignore[misc]
        context.close()
        results[f"pixmo ingest, {workers} worker{'s' * (workers > 1)}"] = first
        results["pixmo ingest, again"] = again
    results["pixmo ingest, again"] = results.pop("pixmo ingest, again")
    for result in results.values():
        result["megabytes"] = size / 1e6
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the images")
    quick = parser.parse_args().quick
    photographs = [
        Image.open(item.locator.path).convert("RGB") for item in demo_images() if isinstance(item.locator, FileAt)
    ]
    if not photographs:
        raise SystemExit("The photographs come with two packages. Install them with: pip install 'pixmo[demo]'")
    table = Table("Pictures", "Method", "Images/s", "CPU ms per image", title=f"Ingest on {cores()} cores")
    answer: dict[str, Any] = {"bench": "ingest", "cores": cores(), "load": os.getloadavg()[0], "results": {}}
    with tempfile.TemporaryDirectory(prefix="pixmo-bench-") as scratch:
        for name, number in {"12 MP": 60, "1 MP": 400}.items():
            number = number // 10 if quick else number
            results = run(name, number, photographs, Path(scratch, name.replace(" ", "")))
            answer["results"][name] = results
            for method, result in results.items():
                pictures = f"{number} × {name}, {result['megabytes']:.1f} MB"
                rate, cpu = f"{result['images_per_second']:.1f}", f"{result['cpu_ms_per_image']:.1f}"
                table.add_row(pictures, method, rate, cpu)
    Console().print(table)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
