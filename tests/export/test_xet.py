"""What the next version costs to send: the real client of Xet, the Hub's storage, against a store in a local folder.

Xet cuts files into chunks by content and sends those that it does not know yet. How segments are written decides how
many these are.
"""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hf_xet import DeduplicationMetrics, XetSession

IMAGE_BYTES = 40_000
POINTS = pa.schema(
    [
        ("image_url", pa.string()),
        ("label", pa.string()),
        ("points", pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())]))),
    ]
)
IMAGES = pa.schema(
    [("caption", pa.string()), ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
)  # fmt: skip


def send(store: Path, *files: Path) -> DeduplicationMetrics:
    """Send files to `store` as one commit; what was new in them."""
    store.mkdir(exist_ok=True)
    commit = XetSession().new_upload_commit(endpoint=f"local://{store}")
    for file in files:
        commit.start_upload_file(str(file))
    return commit.wait_to_finish().dedup_metrics


def points(number: int) -> dict[str, Any]:
    """Row `number`, always the same."""
    chance = random.Random(number)
    marks = [{"x": chance.randrange(10_000) / 100, "y": chance.randrange(10_000) / 100} for _ in range(5)]
    return {"image_url": f"urn:sha256:{chance.randbytes(32).hex()}", "label": f"thing {number % 97}", "points": marks}


def picture(number: int) -> dict[str, Any]:
    """Row `number` with an image that cannot be compressed, as a JPEG."""
    chance = random.Random(number)
    words = " ".join(f"word{chance.randrange(5_000)}" for _ in range(150))
    return {"caption": words, "image": {"bytes": chance.randbytes(IMAGE_BYTES), "path": None}}


def write_text(path: Path, numbers: range) -> Path:
    pq.write_table(
        pa.Table.from_pylist([points(number) for number in numbers], POINTS),
        path,
        compression="zstd",
        compression_level=3,
    )
    return path


def write_images(path: Path, rows: list[dict[str, Any]], compression: str = "none") -> Path:
    """A segment as pixmo writes it: row groups of 100, image bytes without a dictionary, nothing compressed."""
    pq.write_table(
        pa.Table.from_pylist(rows, IMAGES),
        path,
        row_group_size=100,
        compression=compression,
        use_dictionary=["caption"],
    )
    return path


def test_appended_rows_of_text_cost_one_segment(tmp_path: Path) -> None:
    closed = [write_text(tmp_path / f"{n}.parquet", range(n * 5_000, (n + 1) * 5_000)) for n in range(4)]
    last = write_text(tmp_path / "last.parquet", range(20_000, 20_500))
    first = send(tmp_path / "store", *closed, last)
    assert first.new_bytes == first.total_bytes
    longer = write_text(tmp_path / "longer.parquet", range(20_000, 20_900))
    second = send(tmp_path / "store", *closed, longer)
    assert second.total_bytes == sum(file.stat().st_size for file in [*closed, longer])
    assert 0 < second.new_bytes <= 1.2 * longer.stat().st_size
    assert second.new_bytes < 0.1 * second.total_bytes


def test_appended_images_cost_about_what_they_are(tmp_path: Path) -> None:
    rows = [picture(number) for number in range(270)]
    first = send(tmp_path / "store", write_images(tmp_path / "first.parquet", rows[:250]))
    assert first.new_bytes == first.total_bytes
    second = send(tmp_path / "store", write_images(tmp_path / "second.parquet", rows))
    assert 20 * IMAGE_BYTES <= second.new_bytes < 3 * 20 * IMAGE_BYTES


def test_a_corrected_caption_does_not_send_the_images_again(tmp_path: Path) -> None:
    rows = [picture(number) for number in range(300)]
    send(tmp_path / "store", write_images(tmp_path / "first.parquet", rows))
    rows[150]["caption"] += " and a correction"
    corrected = send(tmp_path / "store", write_images(tmp_path / "second.parquet", rows))
    assert corrected.total_bytes > 300 * IMAGE_BYTES
    assert 0 < corrected.new_bytes < 0.1 * corrected.total_bytes


def test_a_removed_image_costs_far_less_than_in_a_compressed_file(tmp_path: Path) -> None:
    rows = [picture(number) for number in range(300)]
    new = {}
    for compression in ("none", "zstd"):
        store = tmp_path / compression
        send(store, write_images(tmp_path / "first.parquet", rows, compression))
        new[compression] = send(store, write_images(tmp_path / "second.parquet", rows[1:], compression)).new_bytes
    assert new["none"] < 0.3 * new["zstd"]
