import hashlib
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpcore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageOps

from pixmo.errors import PixmoError
from pixmo.export.fetching import FetchOptions, Status, retry_after
from pixmo.export.folder import FolderUnwritable
from pixmo.export.journal import JournalTaken
from pixmo.export.links import LinkReport, NoLinks, ReportTaken, TableUnreadable, check_links
from pixmo.images import fetch
from pixmo.images.fingerprints import pixel_sha256
from tests.images.conftest import secret_jpeg
from tests.photos import PhotoServer, Reply, photo

OPTIONS = FetchOptions(allow_private=True, backoff=0.01, timeout=5)
Row = dict[str, Any]


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def web() -> Iterator[PhotoServer]:
    server = PhotoServer()
    yield server
    server.stop()


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def tables(folder: Path, rows: list[Row], *, config: str = "data", files: int = 1) -> Path:
    """A data set of these rows in `folder`."""
    (folder / config).mkdir(parents=True)
    for i in range(files):
        part = rows[i * len(rows) // files : (i + 1) * len(rows) // files]
        pq.write_table(pa.Table.from_pylist(part), folder / config / f"train-{i:05d}.parquet")
    return folder


def statuses(report: Path) -> dict[str, str]:
    return {row["image_url"]: row["status"] for row in pq.read_table(report).to_pylist()}


def check(tmp_path: Path, rows: list[Row], options: FetchOptions = OPTIONS, **more: Any) -> dict[str, Row]:
    """The report of a check, by address."""
    report = tmp_path / "report.parquet"
    check_links(tables(tmp_path / "set", rows), report=report, options=options, **more)
    return {row["image_url"]: row for row in pq.read_table(report).to_pylist()}


def test_every_kind_of_answer(web: PhotoServer, tmp_path: Path) -> None:
    good, other, page = photo(1), photo(2), b"<!DOCTYPE html><p>Not found"
    rows = [
        {"image_url": web.put("/ok", Reply(good)), "image_sha256": sha256(good)},
        {"image_url": web.put("/other", Reply(other)), "image_sha256": sha256(good)},
        {"image_url": web.put("/page", Reply(page)), "image_sha256": sha256(good)},
        {"image_url": web.put("/empty", Reply(b"")), "image_sha256": sha256(good)},
        {"image_url": web.url + "/missing", "image_sha256": sha256(good)},
        {"image_url": web.put("/gone", Reply(status=410)), "image_sha256": sha256(good)},
        {"image_url": web.put("/forbidden", Reply(status=403)), "image_sha256": sha256(good)},
        {"image_url": web.put("/broken", Reply(status=500)), "image_sha256": sha256(good)},
        {"image_url": web.put("/reset", Reply(reset=True)), "image_sha256": sha256(good)},
        {"image_url": web.put("/cut", Reply(good, cut=100)), "image_sha256": sha256(good)},
        {"image_url": web.put("/moved", Reply(status=301, headers={"Location": "/ok"})), "image_sha256": sha256(good)},
        {"image_url": web.put("/loop", Reply(status=302, headers={"Location": "/loop"})), "image_sha256": sha256(good)},
        {"image_url": f"urn:sha256:{sha256(good)}", "image_sha256": sha256(good)},
        {"image_url": None, "image_sha256": sha256(good)},
        {"image_url": "ftp://example.org/a.jpg", "image_sha256": sha256(good)},
    ]
    before = datetime.now(UTC)
    found = check(tmp_path, rows, replace(OPTIONS, retries=1))
    told = {url.removeprefix(web.url): (row["status"], row["http_status"], row["detail"]) for url, row in found.items()}
    cut, reset = told.pop("/cut"), told.pop("/reset")
    assert (cut[0], cut[1], reset[0]) == ("unreachable", None, "unreachable")
    assert "RemoteProtocolError" in cut[2]
    assert told == {
        "/ok": ("ok", 200, ""),
        "/other": ("changed", 200, f"SHA-256 is {sha256(other)}"),
        "/page": ("changed", 200, f"no image: it begins with {page[:16]!r}"),
        "/empty": ("changed", 200, "an empty answer"),
        "/missing": ("dead", 404, "HTTP 404"),
        "/gone": ("dead", 410, "HTTP 410"),
        "/forbidden": ("dead", 403, "HTTP 403"),
        "/broken": ("unreachable", 500, "HTTP 500"),
        "/moved": ("ok", 200, ""),
        "/loop": ("dead", None, "more than 5 redirects"),
        f"urn:sha256:{sha256(good)}": ("no_address", None, ""),
        "": ("no_address", None, ""),
        "ftp://example.org/a.jpg": ("dead", None, told["ftp://example.org/a.jpg"][2]),
    }
    assert web.seen["/missing"] == 1  # a final answer
    assert web.seen["/broken"] == web.seen["/cut"] == web.seen["/reset"] == 2
    row = found[web.url + "/ok"]
    assert row["image_sha256"] == sha256(good)
    assert before <= row["checked_at"] <= datetime.now(UTC)


def test_a_copy_with_the_same_pixels_is_told_from_another_image(web: PhotoServer, tmp_path: Path) -> None:
    original, again = photo(1, compress_level=1), photo(1, compress_level=9)
    assert original != again
    turned = secret_jpeg(orientation=6)  # pixels are compared upright
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(turned)))
    assert upright is not None
    pixels = {"again": pixel_sha256(Image.open(io.BytesIO(original))), "turned": pixel_sha256(upright)}
    known = {"image_sha256": sha256(original), "pixel_sha256": pixels["again"]}
    rows = [
        {"image_url": web.put("/again", Reply(again)), **known},
        {"image_url": web.put("/other", Reply(photo(2))), **known},
        {"image_url": web.put("/bad", Reply(again[:500])), **known},
        {"image_url": web.put("/turned", Reply(turned)), **known, "pixel_sha256": pixels["turned"]},
    ]
    found = check(tmp_path, rows)
    assert [found[row["image_url"]]["status"] for row in rows] == [
        "changed_pixels_match",
        "changed",
        "changed",
        "changed_pixels_match",
    ]
    assert "the image is bad" in found[web.url + "/bad"]["detail"]


def test_without_hashes_an_image_is_an_image(web: PhotoServer, tmp_path: Path) -> None:
    """As in the published pixmo-cap, which has none."""
    rows = [{"image_url": web.put("/a", Reply(photo(1)))}, {"image_url": web.put("/b", Reply(b"sorry"))}]
    found = check(tmp_path, rows)
    assert [found[row["image_url"]]["status"] for row in rows] == ["ok", "changed"]


def test_trouble_that_passes(web: PhotoServer, tmp_path: Path) -> None:
    good = photo(1)

    def after(times: int, trouble: Reply) -> Any:
        return lambda count: trouble if count < times else Reply(good)

    troubles = {
        "/500": after(3, Reply(status=500)),
        "/503": after(1, Reply(status=503, headers={"Retry-After": "0"})),
        "/reset": after(2, Reply(reset=True)),
        "/cut": after(1, Reply(good, cut=10)),
        "/slow": after(1, Reply(good, wait=3)),
    }
    rows = [{"image_url": web.put(path, reply), "image_sha256": sha256(good)} for path, reply in troubles.items()]
    found = check(tmp_path, rows, replace(OPTIONS, timeout=1.5))
    assert {row["status"] for row in found.values()} == {"ok"}
    assert web.seen == {"/500": 4, "/503": 2, "/reset": 3, "/cut": 2, "/slow": 2}


def test_retry_after_quiets_its_host_and_no_other(web: PhotoServer, tmp_path: Path) -> None:
    good = photo(1)
    busy = Reply(status=429, headers={"Retry-After": "2"})
    first = web.put("/busy", lambda count: Reply(good) if count else busy)
    rows = [{"image_url": first, "image_sha256": sha256(good)}]
    for i in range(3):
        web.put(f"/{i}", Reply(good))
        rows.append({"image_url": f"{web.url}/{i}", "image_sha256": sha256(good)})
    web.put("/elsewhere", Reply(good, wait=0.2))
    rows.append({"image_url": web.other_url + "/elsewhere", "image_sha256": sha256(good)})
    found = check(tmp_path, rows, replace(OPTIONS, per_host=1))
    assert {row["status"] for row in found.values()} == {"ok"}
    moments = {path: moment for _, path, moment in web.requests}
    refusal = web.requests[0 if web.requests[0][1] == "/busy" else 1][2]
    assert min(moments[path] for path in ("/busy", "/0", "/1", "/2")) >= refusal + 2
    assert moments["/elsewhere"] < refusal + 1.9


def test_a_host_that_wants_to_be_left_alone_for_long_is_given_up(web: PhotoServer, tmp_path: Path) -> None:
    rows = [
        {"image_url": web.put(f"/{i}", Reply(status=429, headers={"Retry-After": "3600"})), "image_sha256": "ab" * 32}
        for i in range(20)
    ]
    found = check(tmp_path, rows, replace(OPTIONS, per_host=1))
    assert {row["status"] for row in found.values()} == {"unreachable"}
    assert len(web.requests) == 1
    details = {row["detail"] for row in found.values()}
    assert "HTTP 429" in details
    assert any(detail.startswith("not asked: its host wants to be left alone for 3") for detail in details)


def test_a_host_that_does_not_answer_is_given_up(web: PhotoServer, tmp_path: Path) -> None:
    rows = [{"image_url": web.put(f"/{i}", Reply(reset=True))} for i in range(60)]
    web.put("/ok", Reply(photo(1)))
    rows.append({"image_url": web.other_url + "/ok"})
    found = check(tmp_path, rows, replace(OPTIONS, per_host=2, host_failures=5))
    assert found[web.other_url + "/ok"]["status"] == "ok"
    assert [row["status"] for row in found.values()].count("unreachable") == 60
    assert found[web.url + "/50"]["detail"] == "not asked: its host gave no answer to 5 requests in a row"
    assert len(web.requests) <= 1 + 5 + 1


def test_retry_after_in_both_spellings() -> None:
    assert retry_after("7") == 7
    assert 58 < retry_after(format_datetime(datetime.now(UTC) + timedelta(minutes=1), usegmt=True)) <= 60
    assert retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert [retry_after(value) for value in ("", "soon", "-5", "1.5")] == [0, 0, 0, 0]


def test_what_is_too_large_or_too_slow_is_cut_off(web: PhotoServer, tmp_path: Path) -> None:
    good = photo(1)
    rows = [
        {"image_url": web.put("/large", Reply(good + bytes(2000))), "image_sha256": sha256(good)},
        {"image_url": web.put("/silent", Reply(good, wait=2)), "image_sha256": sha256(good)},
    ]
    options = replace(OPTIONS, max_bytes=len(good) + 10, timeout=0.6, retries=0)
    started = time.monotonic()
    found = check(tmp_path, rows, options)
    assert time.monotonic() - started < 1.9
    large, silent = (found[row["image_url"]] for row in rows)
    assert (large["status"], large["detail"][-12:]) == ("changed", f"limit is {len(good) + 10:,}"[-12:])
    assert (silent["status"], silent["detail"]) == ("unreachable", "ReadTimeout: timed out")


def test_hosts_that_do_not_exist_are_dead_and_those_unknown_now_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lookup(host: str, *_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN if "busy" in str(host) else socket.EAI_NONAME, "no answer")

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    rows = [{"image_url": f"http://{host}.example/a"} for host in ("gone", "busy")]
    for allow_private in (True, False):
        folder = tmp_path / str(allow_private)
        found = check(folder, rows, replace(OPTIONS, allow_private=allow_private, retries=1))
        assert [found[row["image_url"]]["status"] for row in rows] == ["dead", "unreachable"]


def test_no_redirect_leads_into_a_private_network(
    web: PhotoServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = socket.getaddrinfo

    def lookup(host: str, port: int, *more: Any, **named: Any) -> Any:
        if host == "photos.example":
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", port))]
        return real(host, port, *more, **named)

    class Here(httpcore.SyncBackend):
        def connect_tcp(self, host: str, port: int, *more: Any, **named: Any) -> httpcore.NetworkStream:
            assert host == "93.184.215.14"
            return super().connect_tcp("127.0.0.1", web.server_port, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    monkeypatch.setattr(fetch.httpcore, "SyncBackend", Here)
    good = photo(1)
    web.put("/ok", Reply(good))
    web.put("/in", Reply(status=302, headers={"Location": f"{web.url}/secret"}))
    web.put("/secret", Reply(good))
    rows = [{"image_url": f"http://photos.example/{name}", "image_sha256": sha256(good)} for name in ("ok", "in")]
    found = check(tmp_path, rows, replace(OPTIONS, allow_private=False))
    assert [found[row["image_url"]]["status"] for row in rows] == ["ok", "unreachable"]
    assert "127.0.0.1 is not on the public internet" in found["http://photos.example/in"]["detail"]
    assert web.seen == {"/ok": 1, "/in": 1}


def test_an_address_in_many_rows_is_asked_once(web: PhotoServer, tmp_path: Path) -> None:
    good = photo(1)
    urls = [web.put(f"/{i}", Reply(good)) for i in range(30)]
    rows = [{"image_url": url, "image_sha256": sha256(good)} for url in 3 * urls]
    result = check_links(tables(tmp_path / "set", rows, files=4), options=OPTIONS)
    assert set(web.seen.values()) == {1}
    assert (result.total, result.done, result.statuses) == (30, 30, {"ok": 30})


def test_a_host_gets_no_more_requests_at_once_than_allowed(web: PhotoServer, tmp_path: Path) -> None:
    rows = [{"image_url": web.put(f"/{i}", Reply(photo(1), wait=0.05))} for i in range(24)]
    check(tmp_path, rows, replace(OPTIONS, per_host=3))
    assert web.most == 3


def test_the_summary_by_host(web: PhotoServer, tmp_path: Path) -> None:
    good = photo(1)
    web.put("/ok", Reply(good))
    rows = [
        {"image_url": url, "image_sha256": sha256(good)}
        for url in (f"{web.url}/ok", f"{web.url}/a", f"{web.url}/b", f"{web.other_url}/ok", "urn:sha256:00")
    ]
    told: list[int] = []
    result = check_links(
        tables(tmp_path / "set", rows),
        report=tmp_path / "new" / "report.parquet",
        options=OPTIONS,
        progress=lambda report: told.append(report.done),
    )
    assert told[0] == 0
    assert told[-1] == 5
    summary = result.summary()
    assert summary.pop("seconds") > 0
    assert json.loads(json.dumps(summary)) == {
        "match": True,
        "links": 5,
        "checked": 5,
        "resumed": 0,
        "statuses": {
            "ok": {"count": 2, "share": 0.4},
            "dead": {"count": 2, "share": 0.4},
            "no_address": {"count": 1, "share": 0.2},
        },
        "hosts": {
            "127.0.0.1": {
                "links": 3,
                "statuses": {"ok": {"count": 1, "share": 1 / 3}, "dead": {"count": 2, "share": 2 / 3}},
            },
            "": {"links": 1, "statuses": {"no_address": {"count": 1, "share": 1.0}}},
            "localhost": {"links": 1, "statuses": {"ok": {"count": 1, "share": 1.0}}},
        },
        "report": str(tmp_path / "new" / "report.parquet"),
    }
    assert list(result.summary(hosts=1)["hosts"]) == ["127.0.0.1"]


def test_a_cheap_check_reads_no_body(web: PhotoServer, tmp_path: Path) -> None:
    web.put("/ok", Reply(photo(1)))
    web.put("/page", Reply(b"<html>", media_type="text/html; charset=utf-8"))
    web.put("/flaky", lambda count: Reply(photo(1), status=200 if count > 1 else 503))
    rows = [{"image_url": web.url + path, "image_sha256": "ab" * 32} for path in ("/ok", "/page", "/flaky", "/no")]
    found = check(tmp_path, rows, match=False)
    assert [found[row["image_url"]]["status"] for row in rows] == ["ok", "changed", "ok", "dead"]
    methods = [(method, path) for method, path, _ in web.requests]
    assert [method for method, path in methods if path == "/ok"] == ["HEAD"]
    assert [method for method, path in methods if path == "/no"] == ["HEAD", "GET"]
    assert [method for method, path in methods if path == "/flaky"] == ["HEAD", "GET", "GET"]


def test_a_server_without_head_is_asked_for_one_byte(web: PhotoServer, tmp_path: Path) -> None:
    web.refused_methods = {"HEAD"}
    url = web.put("/ok", Reply(photo(1)[:1], status=206))
    assert check(tmp_path, [{"image_url": url}], match=False)[url]["status"] == "ok"
    assert [method for method, _, _ in web.requests] == ["HEAD", "GET"]


def test_layouts(web: PhotoServer, tmp_path: Path) -> None:
    good, url = photo(1), web.put("/ok", Reply(photo(1)))
    plain = {"image_url": url, "caption": "a"}
    version = tables(tmp_path / "version", [plain])
    tables(version, [plain | {"image_sha256": sha256(good)}], config="enriched")
    flat = tmp_path / "flat"
    flat.mkdir()
    pq.write_table(pa.Table.from_pylist([plain]), flat / "a.parquet")
    for folder, detail in (
        (version, ""),
        (tables(tmp_path / "published", [plain]), "an image; its hash is not known"),
        (flat, "an image; its hash is not known"),
        (flat / "a.parquet", "an image; its hash is not known"),
    ):
        report = tmp_path / "report.parquet"
        assert check_links(folder, report=report, options=OPTIONS).statuses == {"ok": 1}
        assert pq.read_table(report).column("detail").to_pylist() == [detail]


def test_what_is_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(NoLinks, match="There is no folder or file"):
        check_links(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(NoLinks, match="holds no tables"):
        check_links(tmp_path / "empty")
    with pytest.raises(NoLinks, match="has no column image_url"):
        check_links(tables(tmp_path / "clocks", [{"text": "8:15"}]))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 but not more")
    with pytest.raises(TableUnreadable, match=r"bad\.parquet cannot be read"):
        check_links(tmp_path / "bad.parquet")


def test_what_lies_in_the_way_stays(web: PhotoServer, tmp_path: Path) -> None:
    folder = tables(tmp_path / "set", [{"image_url": web.put("/ok", Reply(photo(1)))}])
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    (tmp_path / "folder").mkdir()
    for report in (mine, tmp_path / "folder", folder / "data" / "train-00000.parquet"):
        with pytest.raises(ReportTaken, match="is no report of pixmo"):
            check_links(folder, report=report, options=OPTIONS)
    assert mine.read_text() == "mine"
    with pytest.raises(FolderUnwritable, match="The report cannot be written"):
        check_links(folder, report=mine / "report.parquet", options=OPTIONS)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(ReportTaken, match="never changed"):
        check_links(folder, report=folder / "report.parquet", options=OPTIONS)
    assert web.seen == {}


def test_a_report_is_replaced_by_a_newer_one(web: PhotoServer, tmp_path: Path) -> None:
    url = web.put("/a", lambda count: Reply(photo(1)) if count == 0 else Reply(status=404))
    folder, report = tables(tmp_path / "set", [{"image_url": url}]), tmp_path / "report.parquet"
    check_links(folder, report=report, options=OPTIONS)
    assert statuses(report) == {url: "ok"}
    check_links(folder, report=report, options=OPTIONS)
    assert statuses(report) == {url: "dead"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.parquet", "set"]


def test_an_interrupt_keeps_what_was_answered(web: PhotoServer, tmp_path: Path) -> None:
    rows = [{"image_url": web.put(f"/{i}", Reply(photo(i)))} for i in range(40)]
    folder, report = tables(tmp_path / "set", rows), tmp_path / "report.parquet"

    def interrupt(so_far: LinkReport) -> None:
        if so_far.done >= 10:
            raise KeyboardInterrupt

    options = replace(OPTIONS, concurrency=2)
    with pytest.raises(KeyboardInterrupt):
        check_links(folder, report=report, options=options, progress=interrupt)
    journal = report.with_name("report.parquet.journal")
    kept = [json.loads(line)["image_url"] for line in journal.read_text().splitlines()[1:]]
    assert len(kept) >= 10
    assert not report.exists()
    with pytest.raises(JournalTaken, match="other tables, or of another kind"):
        check_links(folder, report=report, options=options, match=False)
    with journal.open("ab") as file:
        file.write(b'{"image_url": "http://half')  # torn by a crash
    result = check_links(folder, report=report, options=options)
    assert (result.resumed, result.done) == (len(kept), 40)
    assert len(statuses(report)) == pq.read_metadata(report).num_rows == 40
    assert {web.seen[url.removeprefix(web.url)] for url in kept} == {1}
    assert len(web.requests) <= 40 + 2
    assert not journal.exists()


CHECK = """
import sys
from pathlib import Path
from pixmo.export.fetching import FetchOptions
from pixmo.export.links import check_links
check_links(Path(sys.argv[1]), report=Path(sys.argv[2]), options=FetchOptions(allow_private=True, concurrency=4))
"""


def wait_for(condition: Any) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_killed_check_loses_the_requests_in_flight_at_most(web: PhotoServer, tmp_path: Path) -> None:
    good = photo(1)
    rows = [{"image_url": web.put(f"/{i}", Reply(good, wait=0.02)), "image_sha256": sha256(good)} for i in range(150)]
    folder, report = tables(tmp_path / "set", rows), tmp_path / "report.parquet"
    journal = report.with_name("report.parquet.journal")
    command = [sys.executable, "-c", CHECK, str(folder), str(report)]
    for stage in (30, 80):
        process = subprocess.Popen(command, start_new_session=True)
        wait_for(lambda stage=stage: journal.exists() and journal.read_bytes().count(b"\n") > stage)
        with pytest.raises(JournalTaken, match="Another run is at work"):
            check_links(folder, report=report, options=OPTIONS)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    result = check_links(folder, report=report, options=OPTIONS)
    assert result.resumed >= 80
    assert result.statuses == {"ok": 150}
    assert len(statuses(report)) == 150
    assert len(web.requests) <= 150 + 2 * 4


def test_a_full_disk_is_told_and_what_was_answered_is_kept(web: PhotoServer, tmp_path: Path) -> None:
    rows = [{"image_url": web.put(f"/{i}", Reply(photo(1)))} for i in range(60)]
    folder, report = tables(tmp_path / "set", rows), tmp_path / "report.parquet"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, hard))
    try:
        with pytest.raises(FolderUnwritable, match="run it again to go on") as caught:
            check_links(folder, report=report, options=OPTIONS)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert isinstance(caught.value, PixmoError)
    result = check_links(folder, report=report, options=OPTIONS)
    assert result.resumed > 0
    assert result.statuses == {Status.OK: 60}
    assert threading.active_count() < 40
