"""What is taken down leaves every later version, earlier ones are named and can be patched."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from pixmo.accounts.models import AuditEvent, User
from pixmo.context import Context
from pixmo.errors import Conflict, NotFound
from pixmo.export.models import Subject, Takedown
from pixmo.export.service import create, record_push
from pixmo.export.takedown import NothingToTakeDown, holders, patch, put_back, take_down
from pixmo.export.verification import verify
from pixmo.export.versions import NoVersion
from pixmo.points.models import PointSet
from pixmo.synthetic.models import Document, DocumentKind
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, Filler, tree
from tests.export.making import cap, described, images, inodes, pointed, rows

EXPORTS = Path("exports")


def held(context: Context, image: int) -> tuple[Any, str]:
    """An image of the store, counted from 0, and its id."""
    found = images(context)[image]
    return found, found.id


@pytest.mark.parametrize("by", ["id", "sha256", "served_sha256", "source_url"])
def test_an_image_is_named_by_what_people_know_of_it(filled: Context, by: str) -> None:
    cap(filled)
    image, image_id = held(filled, 0)
    found = take_down(filled, "image", getattr(image, by))
    assert found.report() == {
        "subject": "image", "subject_id": image_id, "missing": [],
        "held_by": [{"version": "cap@1.0.0", "rows": 1, "pushed": []}],
    }  # fmt: skip


@pytest.mark.parametrize("by", ["pseudonym", "email", "id"])
def test_a_person_is_named_by_what_people_know_of_them(filled: Context, by: str) -> None:
    folder = cap(filled).folder.path
    with filled.db.write() as session:
        person = session.scalars(select(User).where(User.display_name == "two")).one()
        person.email = "two@mail.example"
        person_id = person.id
    names = {"id": person_id, "email": "two@mail.example", "pseudonym": rows(folder)[0]["annotators"][1]}
    found = take_down(filled, Subject.annotator, names[by])
    assert found.subject_id == person_id
    assert [(one.version, one.rows) for one in found.held_by] == [("cap@1.0.0", IMAGES)]


def test_who_or_what_is_unknown_is_refused(filled: Context, filler: Filler) -> None:
    for number in (70, 71):
        filler.image(number, source_url="https://photos.example/same.jpg")
    with pytest.raises(NotFound, match=r"no image 'none'\. Give its id, its address or the SHA-256"):
        take_down(filled, "image", "none")
    with pytest.raises(NotFound, match=r"no annotator 'a_0123456789'\. Give their id, e-mail or pseudonym"):
        take_down(filled, "annotator", "a_0123456789")
    with pytest.raises(NotFound, match="no annotator 'none'"):
        take_down(filled, "annotator", "none")
    with pytest.raises(Conflict, match=r"2 images have the address.*SHA-256 of one"):
        take_down(filled, "image", "https://photos.example/same.jpg")
    with pytest.raises(NotFound, match="is not taken down"):
        put_back(filled, "image", images(filled)[0].id)
    with filled.db.read() as session:
        assert not list(session.scalars(select(Takedown)))


def test_what_is_taken_down_is_in_no_later_version(filled: Context, filler: Filler) -> None:
    cap(filled)
    image, image_id = held(filled, 0)
    take_down(filled, "image", image.sha256)
    second = cap(filled).folder
    assert second.title == "cap@1.0.1"
    assert second.manifest["left_out"] == {"taken_down": 1}
    described(filler)
    third = cap(filled).folder
    for version in (second, third):
        for path in version.path.rglob("*"):
            if path.is_file():
                data = path.read_bytes()
                assert image.sha256.encode() not in data
                assert image_id.encode() not in data
        assert image.sha256 not in {row["original_sha256"] for row in rows(version.path)}
    assert [one.version for one in holders(filled, Subject.image, image_id).held_by] == ["cap@1.0.0"]


def test_it_can_be_undone(filled: Context) -> None:
    cap(filled)
    take_down(filled, "image", images(filled)[0].sha256)
    assert len(rows(cap(filled).folder.path)) == IMAGES - 1
    assert put_back(filled, "image", images(filled)[0].sha256) == images(filled)[0].id
    made = cap(filled).folder
    assert (made.title, len(rows(made.path))) == ("cap@1.1.0", IMAGES)


def test_one_that_is_put_back_and_another_taken_down_are_two_states(filled: Context) -> None:
    """The row of the second take-down may get the id of the first."""
    first, second = images(filled)[0], images(filled)[1]
    take_down(filled, "image", first.sha256)
    cap(filled)
    put_back(filled, "image", first.sha256)
    take_down(filled, "image", second.sha256)
    made = cap(filled)
    assert made.new
    assert {row["original_sha256"] for row in rows(made.folder.path, "index")} == {
        image.sha256 for image in images(filled) if image.sha256 != second.sha256
    }


def test_the_audit_trail_has_the_fact(filled: Context) -> None:
    for _ in range(2):
        take_down(filled, "image", images(filled)[0].sha256, reason="the owner asked")
    put_back(filled, "image", images(filled)[0].sha256)
    with filled.db.read() as session:
        events = [
            (event.action, event.subject, event.subject_id)
            for event in session.scalars(select(AuditEvent).order_by(AuditEvent.id))
            if event.action in ("taken_down", "put_back")
        ]
    assert events == [("taken_down", "image", images(filled)[0].id), ("put_back", "image", images(filled)[0].id)]


def test_versions_that_hold_it_say_where_they_went_and_missing_ones_are_named(filled: Context, filler: Filler) -> None:
    first = cap(filled).folder
    described(filler)
    second = cap(filled).folder
    pointed(filler, {70: 1})
    create(filled, "points")
    record_push(filled, second, "org/caps", "abc", "v1.1.0")
    shutil.rmtree(first.path)
    found = take_down(filled, "image", images(filled)[0].sha256)
    assert [(one.version, one.pushed) for one in found.held_by] == [("cap@1.1.0", ["org/caps at v1.1.0"])]
    assert found.missing == ["cap@1.0.0"]


def test_a_patch_is_the_same_version_without_it(filled: Context, filler: Filler) -> None:
    first = cap(filled, licence="odc-by").folder
    described(filler)
    cap(filled)
    before = tree(EXPORTS)
    take_down(filled, "image", images(filled)[0].sha256, reason="asked")
    with pytest.raises(NoVersion):
        patch(filled, "cap@7.0.0")
    made = patch(filled, "cap@1.0.0")
    assert (made.folder.title, made.new) == ("cap@1.0.1", True)
    assert made.changes is not None
    assert (made.changes.removed, made.changes.added, made.changes.corrected) == ({"train": 1}, {}, {})
    assert made.folder.manifest["parent"]["version"] == "1.0.0"
    assert made.folder.manifest["left_out"] == {"taken_down": 1}
    assert made.folder.manifest["settings"] == first.manifest["settings"]
    assert verify(made.folder.path).receipts == IMAGES - 1
    gone = {row["row_id"] for row in rows(first.path)} - {row["row_id"] for row in rows(made.folder.path)}
    assert gone == {1}
    for config in ("default", "enriched", "index"):
        assert rows(made.folder.path, config) == rows(first.path, config)[1:]
    assert {name: digest for name, digest in tree(EXPORTS).items() if not name.startswith("cap@1.0.1/")} == before
    assert "1 row removed" in (made.folder.path / "CHANGELOG.md").read_text()


def test_a_patch_links_what_it_does_not_touch_and_reads_no_image_of_it(filled: Context) -> None:
    first = cap(filled).folder.path
    for i in (2, 3):  # they stand in test
        filled.storage.delete("images", images(filled)[i].served_sha256)
    take_down(filled, "image", images(filled)[0].sha256)
    made = patch(filled, "cap@1.0.0").folder.path
    linked = {name for name, inode in inodes(made).items() if inode in inodes(first).values()}
    assert linked == {f"{folder}/test-00000.parquet" for folder in ("data", "enriched", "index")}


def test_patching_twice_gives_the_same_version(filled: Context, filler: Filler) -> None:
    cap(filled)
    take_down(filled, "image", images(filled)[0].sha256)
    made = patch(filled, "cap@1.0.0")
    before = tree(EXPORTS)
    again = patch(filled, "cap@1.0.0")
    assert (again.new, again.folder.manifest_sha256) == (False, made.folder.manifest_sha256)
    with pytest.raises(NothingToTakeDown, match=r"cap@1\.0\.1 holds nothing"):
        patch(filled, "cap@1.0.1")
    assert tree(EXPORTS) == before
    take_down(filled, "image", images(filled)[1].sha256)
    more = patch(filled, "cap@1.0.0")
    assert (more.folder.title, more.folder.manifest["left_out"]) == ("cap@1.0.2", {"taken_down": 2})
    assert patch(filled, "cap@1.0.1").folder.title == "cap@1.0.3"
    assert not cap(filled).new


def test_a_patch_leaves_rows_of_later_days_alone(filled: Context, filler: Filler) -> None:
    """Only what was taken down changes, whatever else happened in the store since."""
    cap(filled)
    described(filler)
    take_down(filled, "image", images(filled)[4].sha256)
    made = patch(filled, "cap@1.0.0").folder
    assert [row["row_id"] for row in rows(made.path, "index")] == [1, 3, 5, 7]
    later = cap(filled).folder
    assert later.title == "cap@1.1.0"
    assert later.manifest["parent"]["version"] == "1.0.1"


def test_nothing_that_was_taken_down_is_no_patch(filled: Context) -> None:
    cap(filled)
    with pytest.raises(NothingToTakeDown, match="holds nothing that was taken down"):
        patch(filled, "cap@1.0.0")
    with filled.db.read() as session:
        person = session.scalars(select(User.id).where(User.display_name == "one")).one()
    take_down(filled, "annotator", person)
    with pytest.raises(NothingToTakeDown, match=r"Nothing would be left.*Remove it instead"):
        patch(filled, "cap@1.0.0")
    assert [path.name for path in EXPORTS.iterdir() if path.name != ".cap.work"] == ["cap@1.0.0"]


@pytest.mark.parametrize("options", [{}, {"plain": True}, {"images": "repo", "repo": "org/caps"}, {"images": "url"}])
def test_a_patch_is_what_an_export_without_it_is(
    filled: Context, filler: Filler, options: dict[str, Any]
) -> None:  # fmt: skip
    """For every mode: the same segments as the next version that is made from the store."""
    cap(filled, **options)
    take_down(filled, "image", images(filled)[0].sha256)
    patched = patch(filled, "cap@1.0.0").folder
    verify(patched.path)
    exported = cap(filled, version="1.0.2").folder
    for config in ("default", "index", *(() if patched.plain else ("enriched",))):
        assert rows(patched.path, config) == rows(exported.path, config)
    names = [{file["path"] for file in one.manifest["files"]} for one in (patched, exported)]
    assert names[0] == names[1]
    hashes = [{file.path: file.sha256 for file in one.segments} for one in (patched, exported)]
    assert hashes[0] == hashes[1]
    image = images(filled)[0].served_sha256
    assert not list(patched.path.rglob(f"{image}*"))


def test_the_images_of_points_leave_with_their_last_row(filled: Context, filler: Filler) -> None:
    ids = pointed(filler, {70: 2, 72: 1})
    [other] = filler.people(["other"])
    with filled.db.write() as session:
        session.add(PointSet(image_id=ids[0], label="x", method="pointing", points=[], user_id=other, created_at=BEGIN))
    create(filled, "points")
    take_down(filled, "annotator", other)
    made = patch(filled, "points@1.0.0").folder
    assert (len(rows(made.path)), len(rows(made.path, "images"))) == (3, 2)
    take_down(filled, "image", ids[0])
    made = patch(filled, "points@1.0.0").folder
    assert (len(rows(made.path)), len(rows(made.path, "images"))) == (1, 1)
    verify(made.path)


@pytest.mark.parametrize("plain", [False, True], ids=["enriched", "plain"])
def test_a_set_of_several_configurations_is_patched_part_by_part(filled: Context, plain: bool) -> None:
    pictures = images(filled)
    with filled.db.write() as session:
        for number, kind in enumerate((*DocumentKind, DocumentKind.charts)):
            asked = [{"question": "What?", "answer": f"{number}"}]
            of = {"image_id": pictures[number].id, "kind": kind, "questions": asked, "code": "draw()"}
            session.add(Document(**of, created_at=BEGIN))
    first = create(filled, "docs", plain=plain).folder
    assert len(rows(first.path, "charts", "train")) == 2
    take_down(filled, "image", pictures[4].sha256)
    made = patch(filled, "docs@1.0.0").folder
    verify(made.path)
    assert len(rows(made.path, "charts", "train")) == 1
    exported = create(filled, "docs", version="1.0.2").folder
    for kind in DocumentKind:
        assert rows(made.path, kind) == rows(exported.path, kind)
    served = hashlib.sha256(rows(made.path, "charts")[0]["image"]["bytes"]).hexdigest()
    assert served == pictures[0].served_sha256


KILLED = """
import os, signal, sys
from pixmo.context import Context
from pixmo.export import service, takedown
from pixmo.settings import Settings
service._record = lambda *args: os.kill(os.getpid(), signal.SIGKILL)
takedown.patch(Context.open(Settings()), "cap@1.0.0")
"""


def test_a_patch_that_was_killed_is_made_again(filled: Context) -> None:
    cap(filled)
    take_down(filled, "image", images(filled)[0].id)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    assert subprocess.run([sys.executable, "-c", KILLED], env=environment, timeout=60).returncode == -signal.SIGKILL
    before = tree(EXPORTS / "cap@1.0.1")
    verify(EXPORTS / "cap@1.0.1")
    made = patch(filled, "cap@1.0.0")
    assert (made.new, made.folder.title) == (True, "cap@1.0.1")
    assert tree(made.folder.path) == before
    assert {path.name for path in EXPORTS.iterdir()} == {"cap@1.0.0", "cap@1.0.1"}


def test_a_patch_of_a_folder_that_is_not_in_exports_goes_to_exports(filled: Context) -> None:
    folder = cap(filled).folder.path
    shutil.copytree(folder, "elsewhere")
    take_down(filled, "image", images(filled)[0].sha256)
    assert patch(filled, "elsewhere").folder.path.name == "cap@1.0.1"
