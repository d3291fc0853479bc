import hashlib
import io
import json
import os
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pixmo.export.fetching import FetchOptions
from pixmo.export.folder import FolderUnwritable
from pixmo.export.journal import JournalTaken
from pixmo.export.links import NoLinks, ReportTaken, TableUnreadable
from pixmo.export.materializing import Materialized, materialize
from pixmo.images.fingerprints import pixel_sha256
from tests.export.test_links import OPTIONS, no_proxy, sha256, tables, wait_for, web
from tests.images.conftest import encoded, picture
from tests.photos import PhotoServer, Reply, photo

__all__ = ["no_proxy", "web"]
Row = dict[str, Any]


def cached(to: Path, url: str) -> Path:
    return to / hashlib.sha256(url.encode()).hexdigest()


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def failures(to: Path) -> dict[str, tuple[str, int | None, str]]:
    lines = [json.loads(line) for line in (to / "failures.jsonl").read_text().splitlines()]
    return {line["image_url"]: (line["status"], line["http_status"], line["detail"]) for line in lines}


def published(web: PhotoServer, count: int, **more: Any) -> list[Row]:
    """Rows of `count` images that the server has."""
    return [
        {"image_url": web.put(f"/{i}", Reply(photo(i), **more)), "image_sha256": sha256(photo(i))} for i in range(count)
    ]


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "pixmo_images"


def test_the_cache_of_the_original_code(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = published(web, 5)
    told: list[tuple[int, int]] = []
    done = materialize(
        tables(tmp_path / "set", rows * 3),
        to,
        options=OPTIONS,
        progress=lambda so_far: told.append((so_far.done, so_far.total)),
    )
    assert names(to) == sorted([".lock", *(cached(to, row["image_url"]).name for row in rows)])
    for i, row in enumerate(rows):
        assert cached(to, row["image_url"]).read_bytes() == photo(i)
    summary = done.summary()
    assert summary.pop("seconds") > 0
    assert json.loads(json.dumps(summary)) == {
        "to": str(to), "images": 5, "kept": 0, "embedded": 0, "linked": 0, "downloaded": 5, "by_pixels": 0,
        "failed": 0, "failed_by_status": {}, "failures": None, "bytes": sum(len(photo(i)) for i in range(5)),
    }  # fmt: skip
    assert told[0] == (0, 5)
    assert told[-1] == (5, 5)
    assert set(web.seen.values()) == {1}
    mask = os.umask(0)
    os.umask(mask)
    assert cached(to, rows[0]["image_url"]).stat().st_mode & 0o777 == 0o666 & ~mask  # others may read the cache


def test_what_is_there_is_not_asked_for_again(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = published(web, 6)
    folder = tables(tmp_path / "set", rows)
    materialize(folder, to, options=OPTIONS)
    cached(to, rows[2]["image_url"]).unlink()
    web.requests.clear()
    done = materialize(folder, to, options=OPTIONS)
    assert (done.origins["kept"], done.origins["downloaded"]) == (5, 1)
    assert web.seen == {"/2": 1}


def test_names_by_hash(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    jpeg, webp = encoded(picture(), "JPEG"), encoded(picture(), "WEBP")
    rows = [
        {"image_url": web.put(f"/{i}", Reply(data)), "image_sha256": sha256(data)}
        for i, data in enumerate((photo(1), jpeg, webp, b"no picture, but what was published"))
    ]
    rows.append({"image_url": web.put("/odd", Reply(photo(2))), "image_sha256": "../../../outside"})
    folder = tables(tmp_path / "set", rows)
    materialize(folder, to, names="sha256", options=OPTIONS)
    files = [f"{row['image_sha256'][:2]}/{row['image_sha256']}" for row in rows[:4]]
    expected = [f"{name}{suffix}" for name, suffix in zip(files, (".png", ".jpg", ".webp", ".bin"), strict=True)]
    assert names(to) == sorted([".lock", "failures.jsonl", *expected])
    assert failures(to) == {web.url + "/odd": ("changed", None, "its row has no image_sha256 to name the file by")}
    web.requests.clear()
    assert materialize(folder, to, names="sha256", options=OPTIONS).origins["kept"] == 4
    assert web.seen == {}
    (to / f"{files[0]}.png").write_bytes(jpeg)
    (to / f"{files[0]}.png").rename(to / f"{files[0]}.jpg")
    materialize(folder, to, names="sha256", recheck=True, options=OPTIONS)
    assert names(to) == sorted([".lock", "failures.jsonl", *expected])
    assert web.seen == {"/0": 1}
    bare = tables(tmp_path / "bare", [{"image_url": web.url + "/0"}])
    with pytest.raises(NoLinks, match="has no column image_sha256"):
        materialize(bare, to, names="sha256", options=OPTIONS)


def test_failures_are_named_and_nothing_wrong_gets_a_name(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    good = photo(1)
    known = {"image_sha256": sha256(good)}
    answers = {
        "/ok": Reply(good),
        "/other": Reply(photo(2)),
        "/page": Reply(b"<html>404", media_type="text/html"),
        "/missing": Reply(status=404),
        "/broken": Reply(status=502),
        "/large": Reply(good + bytes(5000)),
        "/cut": Reply(good, cut=50),
        "/reset": Reply(reset=True),
        "/slow": Reply(good, wait=2.5),
    }
    rows = [{"image_url": web.put(path, reply), **known} for path, reply in answers.items()]
    rows.append({"image_url": f"urn:sha256:{sha256(good)}", **known})
    options = replace(OPTIONS, retries=1, timeout=1, max_bytes=len(good) + 100)
    done = materialize(tables(tmp_path / "set", rows), to, options=options)
    found = {url.removeprefix(web.url): failure for url, failure in failures(to).items()}
    assert {path: status for path, (status, _, _) in found.items()} == {
        "/other": "changed",
        "/page": "changed",
        "/missing": "dead",
        "/broken": "unreachable",
        "/large": "changed",
        "/cut": "unreachable",
        "/reset": "unreachable",
        "/slow": "unreachable",
        f"urn:sha256:{sha256(good)}": "no_address",
    }
    assert found["/missing"] == ("dead", 404, "HTTP 404")
    assert found["/other"] == ("changed", 200, f"SHA-256 is {sha256(photo(2))}")
    assert found["/slow"][2] == "ReadTimeout: timed out"
    assert done.failures == to / "failures.jsonl"
    assert done.failed == {"changed": 3, "dead": 1, "unreachable": 4, "no_address": 1}
    assert names(to) == sorted([".lock", "failures.jsonl", cached(to, rows[0]["image_url"]).name])
    for path in answers:
        web.put(path, Reply(good))
    again = materialize(tables(tmp_path / "again", rows[:-1]), to, options=options)
    assert (again.origins, again.failures) == ({"kept": 1, "downloaded": 8}, None)
    assert "failures.jsonl" not in names(to)


def test_troubles_that_pass(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    good = photo(1)
    troubles = {
        "/500": Reply(status=500),
        "/429": Reply(status=429, headers={"Retry-After": "1"}),
        "/cut": Reply(good, cut=50),
        "/reset": Reply(reset=True),
    }
    rows = [
        {
            "image_url": web.put(path, lambda count, trouble=trouble: Reply(good) if count else trouble),
            "image_sha256": sha256(good),
        }
        for path, trouble in troubles.items()
    ]
    moved = web.put("/moved", Reply(status=307, headers={"Location": "/500"}))
    rows.append({"image_url": moved, "image_sha256": sha256(good)})
    done = materialize(tables(tmp_path / "set", rows), to, options=OPTIONS)
    assert done.origins == {"downloaded": 5}
    first, second = (moment for _, path, moment in web.requests if path == "/429")
    assert second - first >= 1
    assert all(cached(to, row["image_url"]).read_bytes() == good for row in rows)


def test_a_reencoded_copy_is_taken_for_its_pixels(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    original, again = photo(1, compress_level=1), photo(1, compress_level=9)
    pixels = pixel_sha256(Image.open(io.BytesIO(original)))
    url = web.put("/a", Reply(again))
    folder = tables(tmp_path / "set", [{"image_url": url, "image_sha256": sha256(original), "pixel_sha256": pixels}])
    strict = materialize(folder, to, accept_pixels=False, options=OPTIONS)
    assert failures(to)[url] == ("changed_pixels_match", 200, f"SHA-256 is {sha256(again)}")
    assert strict.failed.total() == 1
    done = materialize(folder, to, options=OPTIONS)
    assert (done.origins, done.by_pixels) == ({"downloaded": 1}, 1)
    assert cached(to, url).read_bytes() == again
    web.requests.clear()
    assert materialize(folder, to, recheck=True, options=OPTIONS).origins == {"kept": 1}
    assert web.seen == {}


def test_recheck_finds_what_the_original_code_left(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    """That code writes the error of a failed download into the cache, where it is taken for the image for ever."""
    rows = published(web, 4)
    folder = tables(tmp_path / "set", rows)
    materialize(folder, to, options=OPTIONS)
    cached(to, rows[1]["image_url"]).write_text("404 Client Error: Not Found")
    cached(to, rows[2]["image_url"]).write_bytes(photo(7))
    web.put("/2", Reply(status=404))
    web.requests.clear()
    assert materialize(folder, to, options=OPTIONS).origins == {"kept": 4}
    done = materialize(folder, to, recheck=True, options=OPTIONS)
    assert done.origins == {"kept": 2, "downloaded": 1}
    assert web.seen == {"/1": 1, "/2": 1}
    assert cached(to, rows[1]["image_url"]).read_bytes() == photo(1)
    assert list(failures(to)) == [rows[2]["image_url"]]
    assert cached(to, rows[2]["image_url"]).read_bytes() == photo(7)  # there is nothing better


def test_without_hashes_only_images_are_taken(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = [{"image_url": web.put("/a", Reply(photo(1)))}, {"image_url": web.put("/b", Reply(b"sorry"))}]
    done = materialize(tables(tmp_path / "set", rows), to, options=OPTIONS)
    assert done.origins == {"downloaded": 1}
    assert list(failures(to)) == [rows[1]["image_url"]]


def served(i: int) -> bytes:
    return photo(i, compress_level=9)


def embedded_rows(count: int) -> list[Row]:
    """Rows as in `enriched`: the address is that of the original, the image is what the annotators saw."""
    return [
        {
            "image_url": f"http://127.0.0.1:9/{i}" if i else f"urn:sha256:{sha256(photo(i))}",
            "image_sha256": sha256(photo(i)),
            "original_sha256": sha256(photo(i)),
            "served_sha256": sha256(served(i)),
            "image": {"bytes": served(i), "path": f"{sha256(served(i))}.png"},
        }
        for i in range(count)
    ]


def write(path: Path, rows: list[Row], **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, **options)


def test_embedded_images_need_no_network(tmp_path: Path, to: Path) -> None:
    rows = embedded_rows(45)
    folder = tables(tmp_path / "set", [{"image_url": row["image_url"]} for row in rows])
    write(folder / "enriched" / "train-00000.parquet", rows, row_group_size=20)
    done = materialize(folder, to, options=OPTIONS)
    assert done.origins == {"embedded": 45}
    assert all(cached(to, row["image_url"]).read_bytes() == row["image"]["bytes"] for row in rows)
    cached(to, rows[30]["image_url"]).unlink()
    again = materialize(folder, to, options=OPTIONS)
    assert again.origins == {"kept": 44, "embedded": 1}
    cached(to, rows[31]["image_url"]).write_bytes(b"something else")
    assert materialize(folder, to, recheck=True, options=OPTIONS).origins == {"kept": 44, "embedded": 1}
    one_file = folder / "enriched" / "train-00000.parquet"
    assert materialize(one_file, tmp_path / "from_one_file", options=OPTIONS).origins == {"embedded": 45}
    by_hash = tmp_path / "by_hash"
    materialize(folder, by_hash, names="sha256", options=OPTIONS)
    name = rows[3]["image_sha256"]
    assert (by_hash / name[:2] / f"{name}.png").read_bytes() == served(3)


@pytest.mark.parametrize("named", [True, False])
def test_the_configuration_images(tmp_path: Path, to: Path, named: bool) -> None:
    """Sets with many rows an image hold it once, called by the hash of its bytes."""
    rows = embedded_rows(20)
    plain = [{name: value for name, value in row.items() if name != "image"} for row in rows]
    twin = plain[5] | {"image_url": "http://127.0.0.1:9/twin"}
    folder = tables(tmp_path / "set", [*plain, *plain, *([] if named else [twin])], config="enriched")
    columns = ("image", "image_url", "image_sha256") if named else ("image",)
    write(folder / "images" / "train-00000.parquet", [{name: row[name] for name in columns} for row in rows])
    done = materialize(folder, to, options=OPTIONS)
    assert done.origins == {"embedded": 20 if named else 21}
    assert all(cached(to, row["image_url"]).read_bytes() == row["image"]["bytes"] for row in rows)


def test_a_damaged_embedded_image_comes_from_its_address(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = embedded_rows(3)
    rows[1]["image"]["bytes"] = served(9)
    rows[2]["image"] = None
    for i in (1, 2):
        rows[i]["image_url"] = web.put(f"/{i}", Reply(photo(i)))
    folder = tables(tmp_path / "set", rows, config="enriched")
    done = materialize(folder, to, options=OPTIONS)
    assert done.origins == {"embedded": 1, "downloaded": 2}
    assert cached(to, rows[1]["image_url"]).read_bytes() == photo(1)


def test_files_of_the_folder_are_linked(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = []
    for i in range(5):
        data = encoded(picture(seed=i), "JPEG")
        name = sha256(data)
        url = web.put(f"/files/{name[:2]}/{name}.jpg", Reply(data))
        rows.append({"image_url": url, "image_sha256": name, "served_sha256": name})
        if i < 4:
            file = tmp_path / "set" / "files" / name[:2] / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data if i < 3 else data[:-2])  # the fourth is damaged, the fifth is not there
    folder = tables(tmp_path / "set", rows, config="enriched")
    done = materialize(folder, to, options=OPTIONS)
    assert done.origins == {"linked": 3, "downloaded": 2}
    assert len(web.requests) == 2
    name = rows[0]["image_sha256"]
    source = folder / "files" / name[:2] / f"{name}.jpg"
    assert cached(to, rows[0]["image_url"]).samefile(source)
    assert all(sha256(cached(to, row["image_url"]).read_bytes()) == row["image_sha256"] for row in rows)
    assert not list(to.glob(".part-*"))


def test_where_links_are_impossible_files_are_copied(tmp_path: Path, to: Path) -> None:
    other_disk = Path("/dev/shm")
    if not other_disk.is_dir() or other_disk.stat().st_dev == tmp_path.stat().st_dev:
        other_disk = tmp_path
    data = photo(1)
    row = {"image_url": "http://127.0.0.1:9/a", "image_sha256": sha256(data)}
    folder = tables(tmp_path / "set", [row])
    file = folder / "files" / row["image_sha256"][:2] / f"{row['image_sha256']}.png"
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    to = other_disk / f"pixmo-test-{os.getpid()}"
    try:
        assert materialize(folder, to, options=OPTIONS).origins == {"linked": 1}
        assert cached(to, row["image_url"]).read_bytes() == data
    finally:
        for path in to.iterdir():
            path.unlink()
        to.rmdir()


MATERIALIZE = """
import sys
from pathlib import Path
from pixmo.export.fetching import FetchOptions
from pixmo.export.materializing import materialize
materialize(Path(sys.argv[1]), Path(sys.argv[2]), options=FetchOptions(allow_private=True, concurrency=4))
"""


def test_a_killed_run_goes_on(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = published(web, 120, wait=0.02)
    folder = tables(tmp_path / "set", rows)
    process = subprocess.Popen([sys.executable, "-c", MATERIALIZE, str(folder), str(to)], start_new_session=True)
    wait_for(lambda: to.is_dir() and len(list(to.iterdir())) > 40)
    with pytest.raises(JournalTaken, match="Another run is at work"):
        materialize(folder, to, options=OPTIONS)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for i, row in enumerate(rows):
        path = cached(to, row["image_url"])
        assert not path.exists() or path.read_bytes() == photo(i)
    (to / ".part-0123456789abcdef").write_bytes(b"half an image")
    done = materialize(folder, to, options=OPTIONS)
    assert done.origins["kept"] > 30
    assert done.done == 120
    assert len(web.requests) <= 120 + 4
    assert names(to) == sorted([".lock", *(cached(to, row["image_url"]).name for row in rows)])


def test_an_interrupt_leaves_whole_files(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    folder = tables(tmp_path / "set", published(web, 30))

    def interrupt(so_far: Materialized) -> None:
        if so_far.done >= 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        materialize(folder, to, options=replace(OPTIONS, concurrency=2), progress=interrupt)
    done = materialize(folder, to, options=OPTIONS)
    assert done.origins["kept"] >= 5
    assert done.done == 30


def test_a_full_disk_is_told(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    folder = tables(tmp_path / "set", published(web, 3))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FolderUnwritable, match="Check free space and permissions"):
            materialize(folder, to, options=OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not [name for name in names(to) if len(name) == 64]
    assert materialize(folder, to, options=OPTIONS).origins == {"downloaded": 3}


def test_places_that_are_not_written(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    folder = tables(tmp_path / "set", published(web, 1))
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FolderUnwritable, match="cannot be written"):
        materialize(folder, tmp_path / "file", options=OPTIONS)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ReportTaken, match="never changed"):
        materialize(folder, folder / "cache", options=OPTIONS)
    with pytest.raises(NoLinks):
        materialize(tmp_path / "nowhere", to, options=OPTIONS)
    (folder / "data" / "train-00000.parquet").write_bytes(b"")
    with pytest.raises(TableUnreadable):
        materialize(folder, to, options=OPTIONS)
    assert not to.exists()
    assert web.seen == {}


@pytest.mark.usefixtures("no_proxy")
def test_private_addresses_are_refused_unless_allowed(web: PhotoServer, tmp_path: Path, to: Path) -> None:
    rows = published(web, 1)
    done = materialize(tables(tmp_path / "set", rows), to, options=FetchOptions(retries=0))
    assert done.failed == {"unreachable": 1}
    assert "is not on the public internet" in failures(to)[rows[0]["image_url"]][2]
    assert web.seen == {}
