"""Pushing versions with the real `HfApi` to a local server, and reading them from it with the real `datasets`."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import huggingface_hub.utils
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pixmo.errors import PixmoError
from pixmo.export import hub as pushing
from pixmo.export.hub import Pushed
from pixmo.export.hub_errors import (
    HubForbidden,
    HubTokenMissing,
    HubUnreachable,
    ImagesElsewhere,
    RepoHoldsOther,
    RepoMoved,
    RepoNameInvalid,
    RepoPublic,
    TagTaken,
)
from pixmo.export.verification import VersionDamaged
from pixmo.export.versions import NoVersion
from tests.hub import READ_TOKEN, WRITE_TOKEN, FakeHub, Fault, serve

# huggingface_hub 1.x and later call httpx in a way that httpx would like to see changed.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "org/points"
SCHEMA = pa.schema(
    [("image_url", pa.string()), ("image_sha256", pa.string()), ("label", pa.string()), ("count", pa.int64())]
)
PICTURES = {number: f"picture {number}".encode() * 50 for number in range(3)}


def rows(*numbers: int, url: str = "https://example.org/{}.jpg") -> list[dict[str, Any]]:
    """Rows by number; the number is the count."""
    return [
        {"image_url": url.format(number), "image_sha256": f"{number:064x}", "label": f"thing {number}", "count": number}
        for number in numbers
    ]


def card(number: str, segments: Iterable[str]) -> bytes:
    """A card that names the splits that have files; `datasets` reads a cached older version if one has none."""
    splits = dict.fromkeys(Path(path).name.partition("-")[0] for path in segments if path.startswith("data/"))
    lines = [f"  - split: {split}\n    path: data/{split}-*\n" for split in splits]
    return f"---\nconfigs:\n- config_name: default\n  data_files:\n{''.join(lines)}---\n# Points {number}\n".encode()


def make_version(
    folder: Path,
    number: str,
    segments: dict[str, list[dict[str, Any]]],
    *,
    dataset: str = "points",
    images: str = "embed",
    files: dict[str, bytes] | None = None,
) -> Path:
    """A version folder with one Parquet file a segment, further `files`, and its manifest."""
    folder.mkdir()
    everything = {"README.md": card(number, segments), "plots/count.png": b"plot", **(files or {})}
    for path, data in everything.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    for path, content in segments.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(content, SCHEMA), folder / path, compression="zstd")
    listed = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    manifest = {
        "format": "pixmo-export-2",
        "dataset": dataset,
        "version": number,
        "settings": {"images": images, "repo": REPO if images == "repo" else None},
        "files": [
            {
                "path": path.relative_to(folder).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
            for path in listed
        ],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2))
    return folder


def on_disk(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def on_hub(hub: FakeHub, revision: str = "main") -> dict[str, bytes]:
    commit = hub.repos[REPO].at(revision)
    assert commit is not None
    return {path: entry.data for path, entry in commit.files.items() if path != ".gitattributes"}


def titles(hub: FakeHub) -> list[str]:
    return [commit.title for commit in hub.repos[REPO].commits]


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A server, and a huggingface_hub that is not offline and knows no token of this machine."""
    before_1 = hasattr(huggingface_hub.utils, "reset_sessions")
    reset = getattr(huggingface_hub.utils, "reset_sessions" if before_1 else "close_session")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "no-token"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    reset()
    with serve() as hub:
        yield hub
    reset()


@pytest.fixture
def push(hub: FakeHub) -> Callable[..., Pushed]:
    """`pixmo.export.hub.push` to the local server."""

    def pushed(folder: Path, repo: str = REPO, *, token: str | None = WRITE_TOKEN, **options: Any) -> Pushed:
        return pushing.push(folder, repo, token=token, endpoint=hub.url, **options)

    return pushed


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """points@1.0.0: two segments of training rows, one of validation rows, and an index."""
    segments = {
        "data/train-00000.parquet": rows(*range(1, 100)),
        "data/train-00001.parquet": rows(*range(100, 150)),
        "data/validation-00000.parquet": rows(200, 201),
        "index/train-00000.parquet": rows(7),
    }
    return make_version(tmp_path / "points@1.0.0", "1.0.0", segments)


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """points@1.1.0: the first segment as it was, the second longer, a third one; no validation rows any more."""
    segments = {
        "data/train-00000.parquet": rows(*range(1, 100)),
        "data/train-00001.parquet": rows(*range(100, 200)),
        "data/train-00002.parquet": rows(300),
        "index/train-00000.parquet": rows(7),
    }
    return make_version(tmp_path / "points@1.1.0", "1.1.0", segments)


def test_the_first_push(hub: FakeHub, push: Callable[..., Pushed], first: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    hub.page = 2
    pushed = push(first, progress=lambda *step: seen.append(step))
    repo = hub.repos[REPO]
    assert repo.private
    assert titles(hub) == ["initial commit", "points 1.0.0"]
    assert on_hub(hub) == on_disk(first)
    assert repo.tags == {"v1.0.0": pushed.sha}
    assert repo.head.sha == pushed.sha
    assert pushed.plan.new_repo
    assert not pushed.plan.already_there
    assert pushed.plan.tag == "v1.0.0"
    assert pushed.plan.url == f"{hub.url}/datasets/org/points/tree/v1.0.0"
    total = sum(len(data) for data in on_disk(first).values())
    assert pushed.bytes_sent == total
    assert seen[-1] == ("sending", total, total)
    assert ("checking", total, total) in seen
    assert len(pushed.plan.changes.added) == len(on_disk(first))


def test_a_public_repository_is_made_when_asked_for(hub: FakeHub, push: Callable[..., Pushed], first: Path) -> None:
    assert not push(first, private=False).plan.private
    assert not hub.repos[REPO].private


def test_a_repository_that_becomes_public_unasked_is_sent_nothing(
    hub: FakeHub, push: Callable[..., Pushed], first: Path
) -> None:
    hub.all_public = True
    with pytest.raises(RepoPublic):
        push(first)
    assert hub.bytes_received == 0
    assert on_hub(hub) == {}


def test_the_next_version_sends_what_changed_and_deletes_what_is_gone(
    hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path
) -> None:
    push(first)
    hub.stored.clear()
    hub.page = 3
    changes = push(second).plan.changes
    assert on_hub(hub) == on_disk(second)
    assert on_hub(hub, "v1.0.0") == on_disk(first)
    assert on_hub(hub, "v1.1.0") == on_disk(second)
    assert titles(hub) == ["initial commit", "points 1.0.0", "points 1.1.0"]
    changed = ["data/train-00001.parquet", "data/train-00002.parquet"]
    assert sorted(hub.stored) == sorted(hashlib.sha256(on_disk(second)[path]).hexdigest() for path in changed)
    assert [file.path for file in changes.added] == ["data/train-00002.parquet"]
    assert [file.path for file in changes.replaced] == ["README.md", "data/train-00001.parquet", "manifest.json"]
    assert [file.path for file in changes.deleted] == ["data/validation-00000.parquet"]
    kept = ["data/train-00000.parquet", "index/train-00000.parquet", "plots/count.png"]
    assert [file.path for file in changes.kept] == kept


def test_a_dry_run_sends_nothing(hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path) -> None:
    before = push(first, dry_run=True)
    assert (before.sha, before.bytes_sent) == (None, 0)
    assert before.plan.new_repo
    assert before.plan.private
    assert before.plan.changes.bytes_to_send == sum(len(data) for data in on_disk(first).values())
    assert hub.repos == {}
    push(first)
    hub.writes.clear()
    after = push(second, dry_run=True)
    assert [file.path for file in after.plan.changes.deleted] == ["data/validation-00000.parquet"]
    assert after.plan == pushing.plan(second, REPO, token=WRITE_TOKEN, endpoint=hub.url)
    assert hub.writes == []


def test_a_version_that_is_there_already(hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path) -> None:
    sha = push(first).sha
    push(second)
    hub.writes.clear()
    again = push(first)
    assert again.plan.already_there
    assert (again.sha, again.bytes_sent) == (sha, 0)
    assert hub.writes == []


def test_another_version_of_the_same_number_is_refused(
    hub: FakeHub, push: Callable[..., Pushed], first: Path, tmp_path: Path
) -> None:
    push(first)
    hub.writes.clear()
    other = make_version(tmp_path / "other", "1.0.0", {"data/train-00000.parquet": rows(5)})
    with pytest.raises(TagTaken, match=r"holds another v1\.0\.0: .*under the next number"):
        push(other)
    assert hub.writes == []
    hub.repos[REPO].tags.clear()
    with pytest.raises(RepoHoldsOther, match=r"another points 1\.0\.0 already"):
        push(other)
    assert hub.writes == []


def flip(folder: Path) -> None:
    data = bytearray((folder / "data/train-00000.parquet").read_bytes())
    data[100] ^= 1
    (folder / "data/train-00000.parquet").write_bytes(data)


DAMAGES: dict[str, tuple[Callable[[Path], object], type[PixmoError], str]] = {
    "flipped": (flip, VersionDamaged, r"train-00000\.parquet is not what was exported"),
    "shorter": (lambda folder: (folder / "README.md").write_text("cut"), VersionDamaged, "another size"),
    "missing": (lambda folder: (folder / "plots/count.png").unlink(), VersionDamaged, r"count\.png is missing"),
    "extra": (lambda folder: (folder / "data/train-00009.parquet").touch(), VersionDamaged, "not in its manifest"),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), NoVersion, "pixmo export"),
    "older format": (
        lambda folder: (folder / "manifest.json").write_text('{"format": "pixmo-export-1"}'),
        NoVersion,
        "is no version",
    ),
    "no folder": (lambda folder: folder.rename(folder.with_name("elsewhere")), NoVersion, "is no version"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_refused_before_anything_is_sent(
    hub: FakeHub, push: Callable[..., Pushed], first: Path, damage: str
) -> None:
    change, error, message = DAMAGES[damage]
    change(first)
    with pytest.raises(error, match=message):
        push(first)
    assert hub.writes == []


PUSH = """
import sys
from pathlib import Path
from pixmo.export.hub import push
print(push(Path(sys.argv[1]), sys.argv[2]).sha)
"""


def start_push(hub: FakeHub, folder: Path) -> subprocess.Popen[str]:
    """A push in a process of its own, which finds the server by its environment."""
    return subprocess.Popen(
        [sys.executable, "-c", PUSH, str(folder), REPO],
        env=os.environ | hub.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_at(hub: FakeHub, folder: Path, fault: Fault) -> None:
    """kill -9 of a push when it has come as far as `fault`."""
    hub.fault = fault
    process = start_push(hub, folder)
    reached = fault.reached.wait(60)
    process.kill()
    _, said = process.communicate()
    assert reached, said
    assert process.returncode == -signal.SIGKILL
    hub.fault = None


def test_a_push_that_is_killed_goes_on_where_it_stopped(hub: FakeHub, tmp_path: Path) -> None:
    segments = {
        f"data/train-{number:05}.parquet": rows(*range(number * 100, number * 100 + 99)) for number in range(12)
    }
    folder = make_version(tmp_path / "points@1.0.0", "1.0.0", segments)
    kill_at(hub, folder, Fault("object", after=5))
    arrived = list(hub.stored)
    assert len(arrived) == 5
    assert titles(hub) == ["initial commit"]
    assert on_hub(hub) == {}
    kill_at(hub, folder, Fault("commit"))
    assert len(hub.stored) == len(set(hub.stored)) == 13, "no object was sent twice"
    assert hub.stored[:5] == arrived
    assert on_hub(hub) == {}
    sent = hub.bytes_received
    kill_at(hub, folder, Fault("tag"))
    assert titles(hub) == ["initial commit", "points 1.0.0"]
    assert hub.repos[REPO].tags == {}
    hub.writes.clear()
    process = start_push(hub, folder)
    said, complaint = process.communicate()
    assert process.returncode == 0, complaint
    assert hub.repos[REPO].tags == {"v1.0.0": said.strip()}
    assert [write.rpartition("/")[0] for write in hub.writes] == ["POST /api/datasets/org/points/tag"]
    assert hub.bytes_received == sent
    assert titles(hub) == ["initial commit", "points 1.0.0"]
    assert on_hub(hub) == on_disk(folder)


def test_a_hub_that_fails_while_files_are_sent(hub: FakeHub, push: Callable[..., Pushed], first: Path) -> None:
    hub.fault = Fault("object", after=2, status=429)
    with pytest.raises(HubUnreachable, match=r"busy or out of order \(429\).*not sent twice"):
        push(first)
    assert on_hub(hub) == {}
    hub.fault = Fault("tag", status=500)
    with pytest.raises(HubUnreachable, match="500"):
        push(first)
    hub.fault = None
    pushed = push(first)
    assert not pushed.plan.already_there
    assert pushed.bytes_sent == 0
    assert hub.repos[REPO].tags == {"v1.0.0": pushed.sha}
    assert len(hub.stored) == len(set(hub.stored))


def test_somebody_else_changes_main_in_between(
    hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path
) -> None:
    push(first)
    theirs: dict[str, bytes | None] = {"README.md": b"theirs"}
    hub.before_commit = lambda: hub.repos[REPO].edit("theirs", theirs)
    with pytest.raises(RepoMoved, match=r"was changed while this version was sent.*then push again"):
        push(second)
    assert titles(hub) == ["initial commit", "points 1.0.0", "theirs"]
    assert on_hub(hub) == on_disk(first) | theirs
    hub.before_commit = lambda: None
    push(second)
    assert on_hub(hub) == on_disk(second)


def test_an_ignore_file_in_the_repository_hides_nothing(
    hub: FakeHub, push: Callable[..., Pushed], tmp_path: Path, first: Path
) -> None:
    push(first)
    hub.repos[REPO].edit("theirs", {".gitignore": b"*.jpg\n"})
    files = {"files/ab/one.jpg": b"picture"}
    folder = make_version(tmp_path / "points@1.1.0", "1.1.0", {"data/train-00000.parquet": rows(1)}, files=files)
    push(folder)
    assert on_hub(hub) == on_disk(folder)


def test_who_may_not_push(hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path) -> None:
    with pytest.raises(HubTokenMissing, match=r"does not accept this token.*hf auth login"):
        push(first, token="hf_wrong")
    with pytest.raises(HubTokenMissing, match=r"No token.*HF_TOKEN"):
        push(first, token=None)
    with pytest.raises(HubForbidden, match=r"may not write to org/points.*right to write"):
        push(first, token=READ_TOKEN)
    with pytest.raises(HubForbidden, match=r"may not write to strangers/points.*owner of strangers"):
        push(first, "strangers/points")
    push(first)
    with pytest.raises(HubForbidden, match="may not write to org/points"):
        push(second, token=READ_TOKEN)
    assert list(hub.repos) == [REPO]


@pytest.mark.parametrize(
    "name", ["points", "a/b/c", "org/", "/points", "org/with space", "org/../x", "org/" + 93 * "x"]
)
def test_malformed_names_of_repositories(hub: FakeHub, push: Callable[..., Pushed], first: Path, name: str) -> None:
    with pytest.raises(RepoNameInvalid, match="ORGANISATION/NAME"):
        push(first, name)
    assert hub.served == {}


def test_no_network(hub: FakeHub, first: Path) -> None:
    with pytest.raises(HubUnreachable, match=r"cannot be reached: .*refused.*HF_ENDPOINT.*push again"):
        pushing.push(first, REPO, token=WRITE_TOKEN, endpoint="http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-c", PUSH, str(first), REPO],
        env=os.environ | hub.environment | {"HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "HubUnreachable: HF_HUB_OFFLINE is set" in done.stderr


def test_what_a_repository_holds_is_not_overwritten_by_accident(
    hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path, tmp_path: Path
) -> None:
    hub.create("org/public", private=False)
    with pytest.raises(RepoPublic, match=r"org/public is public.*--public"):
        push(first, "org/public")
    assert not push(first, "org/public", private=False).plan.private
    theirs = hub.create("org/theirs")
    theirs.edit("theirs", {"README.md": b"theirs"})
    theirs.edit("theirs", {"model.bin": b"weights"})
    with pytest.raises(RepoHoldsOther, match=r"holds model\.bin, which pixmo did not write"):
        push(first, "org/theirs")
    theirs.edit("theirs", {"model.bin": None, "manifest.json": b"[]"})
    with pytest.raises(RepoHoldsOther, match=r"manifest\.json that pixmo did not write"):
        push(first, "org/theirs")
    push(second)
    with pytest.raises(RepoHoldsOther, match=r"points 1\.1\.0 already. Push a version after 1\.1\.0"):
        push(first)
    cap = make_version(tmp_path / "cap", "2.0.0", {"data/train-00000.parquet": rows(1)}, dataset="cap")
    with pytest.raises(RepoHoldsOther, match="holds points, not cap"):
        push(cap)
    assert titles(hub) == ["initial commit", "points 1.1.0"]


def with_images(folder: Path, number: str, pinned: dict[int, str], base: str) -> Path:
    """A version in mode `repo`: pictures by number, pinned to tags; those of its own tag lie in the folder."""
    names = {picture: hashlib.sha256(PICTURES[picture]).hexdigest() for picture in pinned}
    own = {
        f"files/{names[picture][:2]}/{names[picture]}.jpg": PICTURES[picture]
        for picture, tag in pinned.items()
        if tag == f"v{number}"
    }
    content = [
        row | {"image_url": f"{base}/resolve/{tag}/files/{names[picture][:2]}/{names[picture]}.jpg"}
        for picture, tag in pinned.items()
        for row in rows(picture)
    ]
    segments = {"data/train-00000.parquet": content, "enriched/train-00000.parquet": content}
    return make_version(folder, number, segments, images="repo", files=own)


def test_images_in_the_repository_need_the_versions_that_hold_them(
    hub: FakeHub, push: Callable[..., Pushed], tmp_path: Path
) -> None:
    base = f"{hub.url}/datasets/{REPO}"
    one = with_images(tmp_path / "one", "1.0.0", {0: "v1.0.0", 1: "v1.0.0"}, base)
    two = with_images(tmp_path / "two", "1.1.0", {0: "v1.0.0", 1: "v1.0.0", 2: "v1.1.0"}, base)
    with pytest.raises(
        ImagesElsewhere, match=r"lie in v1\.0\.0, which org/points does not have. Push points 1\.0\.0 first"
    ):
        push(two)
    with pytest.raises(ImagesElsewhere, match=r"not with .*/datasets/org/other/resolve.*export it for org/other"):
        push(one, "org/other")
    assert hub.writes == []
    push(one)
    push(two)
    assert on_hub(hub) == on_disk(two)
    for url in pq.read_table(two / "data/train-00000.parquet")["image_url"].to_pylist():
        with urlopen(Request(url, headers={"Authorization": f"Bearer {READ_TOKEN}"})) as answer:
            assert hashlib.sha256(answer.read()).hexdigest() in url


READ = """
import json, sys
import datasets
whole = datasets.load_dataset("org/points", revision=sys.argv[1])
stream = datasets.load_dataset("org/points", revision=sys.argv[1], split="train", streaming=True)
print(json.dumps({
    "splits": {name: rows.num_rows for name, rows in whole.items()},
    "counts": whole["train"]["count"][:],
    "stream": [row["count"] for row in stream],
    "columns": whole["train"].column_names,
}))
"""


def test_datasets_reads_every_version_from_the_hub(
    hub: FakeHub, push: Callable[..., Pushed], first: Path, second: Path, tmp_path: Path
) -> None:
    push(first)
    push(second)

    def read(revision: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", READ, revision],
            env=os.environ | hub.environment | {"HF_HOME": str(tmp_path / "hf"), "USE_TORCH": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    old = read("v1.0.0")
    assert old["splits"] == {"train": 149, "validation": 2}
    assert old["counts"] == old["stream"] == list(range(1, 150))
    assert old["columns"] == SCHEMA.names
    new = read("v1.1.0")
    assert new["splits"] == {"train": 200}
    assert new["counts"] == new["stream"] == [*range(1, 200), 300]
