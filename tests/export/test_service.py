"""Numbers, parents and options of versions, and that nothing overwrites one. Each test makes real versions."""

import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import select, text

from pixmo.accounts.models import AuditEvent
from pixmo.context import Context
from pixmo.database import table
from pixmo.errors import NotFound, Unprocessable
from pixmo.export.build import OptionInvalid
from pixmo.export.folder import ExportRunning, FolderTaken, FolderUnwritable, lock
from pixmo.export.models import DatasetVersion, Split
from pixmo.export.numbering import BumpTooSmall, NumberTaken
from pixmo.export.service import NothingToExport, SplitBroken, create
from pixmo.export.splits import pin
from pixmo.export.verification import verify
from pixmo.export.versions import Folder, NoVersion, VersionInvalid, resolve
from pixmo.points.models import CollectionMethod, PointSet
from pixmo.tasks.models import Slot, Task, TaskAction
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, SAID, Filler, tree
from tests.export.making import cap, corrected, described, images, inodes, listing, pointed, rows, unlink

EXPORTS = Path("exports")
FIRST = EXPORTS / "cap@1.0.0"


def withdrawn(context: Context, filler: Filler, image: int) -> None:
    """The first person who described this image, counted from 0, takes it back."""
    wanted = images(context)[image].id
    with context.db.write() as session:
        slot = session.scalars(
            select(Slot).join(Task, Task.id == Slot.task_id).where(Task.image_id == wanted).order_by(Slot.number)
        ).first()
        assert slot is not None
        filler.event(session, slot, TaskAction.undone, {})


def test_the_first_version_is_1_0_0_and_says_what_it_is(filled: Context) -> None:
    seen: list[tuple[int, int]] = []
    made = cap(filled, progress=lambda done, total: seen.append((done, total)))
    assert (made.new, made.changes, made.folder.title) == (True, None, "cap@1.0.0")
    assert made.folder.path.resolve() == FIRST.resolve()
    assert seen[-1] == (IMAGES, IMAGES)
    manifest = made.folder.manifest
    assert manifest["parent"] is None
    assert manifest["changes"] is None
    assert manifest["left_out"] == {}
    assert manifest["statistics"]["rows"] == {"train": 3, "test": 2}
    assert manifest["statistics"]["images"] == IMAGES
    assert manifest["statistics"]["voiced_seconds"] == 2 * IMAGES * 48.25
    assert manifest["snapshot"]["event"] == 2 * IMAGES
    listed = {file["path"]: file["sha256"] for file in manifest["files"]}
    assert listed == {name: digest for name, digest in tree(FIRST).items() if name != "manifest.json"}
    assert not [path for path in EXPORTS.iterdir() if path.name.startswith(".")]


def test_what_is_added_is_a_minor_version(filled: Context, filler: Filler) -> None:
    cap(filled)
    before = tree(FIRST)
    described(filler)
    made = cap(filled)
    assert made.folder.title == "cap@1.1.0"
    assert made.folder.manifest["changes"] == {"added": 1, "corrected": 0, "removed": 0}
    assert made.folder.manifest["parent"]["version"] == "1.0.0"
    assert made.folder.manifest["parent"]["manifest_sha256"] == Folder.open(FIRST).manifest_sha256
    assert len(rows(made.folder.path, "default")) == IMAGES + 1
    assert tree(FIRST) == before
    log = (made.folder.path / "CHANGELOG.md").read_text()
    assert log.index("## 1.1.0") < log.index("## 1.0.0")


def test_a_corrected_caption_is_a_patch_that_names_its_columns(filled: Context) -> None:
    cap(filled)
    with filled.db.read() as session:
        task = session.scalars(select(Task.id).order_by(Task.id)).first() or ""
    corrected(filled, task)
    made = cap(filled)
    assert made.folder.title == "cap@1.0.1"
    assert made.changes is not None
    assert made.changes.corrected == {"train": 1}
    assert made.changes.columns == {"caption": 1, "caption_revision": 1, "receipt": 1}
    assert made.changes.row_ids == {"corrected": [1]}
    texts = [row["caption"] for row in rows(made.folder.path, "default", "train")]
    assert [("dark red" in text) for text in texts] == [True, False, False]


def test_a_row_that_leaves_train_is_a_patch_and_one_that_leaves_test_is_major(filled: Context, filler: Filler) -> None:
    cap(filled)
    withdrawn(filled, filler, 0)
    patched = cap(filled)
    assert (patched.folder.title, patched.folder.manifest["left_out"]) == ("cap@1.0.1", {"withdrawn": 1})
    withdrawn(filled, filler, 2)
    made = cap(filled)
    assert (made.folder.title, made.folder.manifest["left_out"]) == ("cap@2.0.0", {"withdrawn": 2})
    assert [row["row_id"] for row in rows(made.folder.path, "index")] == [3, 9, 7]


def test_options_are_those_of_the_version_before(filled: Context, filler: Filler) -> None:
    cap(filled, licence="odc-by", images="url")
    described(filler)
    made = cap(filled)
    assert made.folder.title == "cap@1.1.0"
    assert (made.folder.manifest["settings"]["licence"], made.folder.manifest["settings"]["images"]) == (
        "odc-by",
        "url",
    )


def test_another_licence_is_a_patch_of_linked_segments(filled: Context) -> None:
    cap(filled, licence="odc-by")
    made = cap(filled, licence="cc-by-4.0")
    assert (made.folder.title, made.new) == ("cap@1.0.1", True)
    assert made.changes is not None
    assert made.changes.bump is None
    parts = ("data", "enriched", "index")
    assert inodes(made.folder.path, *parts) == inodes(FIRST, *parts)
    assert "license: cc-by-4.0" in (made.folder.path / "README.md").read_text()
    assert cap(filled, licence="").folder.manifest["settings"]["licence"] is None


@pytest.mark.parametrize("change", [{"images": "url"}, {"plain": True}, {"images": "repo", "repo": "org/caps"}])
def test_other_places_of_images_are_a_major_version(filled: Context, change: dict[str, object]) -> None:
    cap(filled)
    assert cap(filled, **change).folder.title == "cap@2.0.0"


def test_a_campaign_is_left_again_with_an_empty_name(filled: Context, filler: Filler) -> None:
    described(filler)
    made = cap(filled, campaign="other")
    assert [row["campaign"] for row in rows(made.folder.path)] == ["other"]
    assert not cap(filled).new
    assert len(rows(cap(filled, campaign="").folder.path)) == IMAGES + 1


def test_numbers_can_be_chosen(filled: Context, filler: Filler) -> None:
    assert cap(filled, version="0.3.7").folder.title == "cap@0.3.7"
    assert cap(filled, bump="major").folder.title == "cap@1.0.0"
    described(filler)
    assert cap(filled, version="1.4.0").folder.title == "cap@1.4.0"
    assert cap(filled, bump="minor").folder.title == "cap@1.5.0"
    assert cap(filled, bump="patch").folder.title == "cap@1.5.1"


@pytest.mark.parametrize("chosen", [{"version": "1.0.1"}, {"bump": "patch"}])
def test_a_number_that_promises_too_little_is_refused(
    filled: Context, filler: Filler, chosen: dict[str, str]
) -> None:  # fmt: skip
    cap(filled)
    described(filler)
    with pytest.raises(BumpTooSmall, match=r"at least 1\.1\.0: added: 1 in train\. Leave the number to --bump auto"):
        cap(filled, **chosen)
    with pytest.raises(BumpTooSmall, match=r"at least 2\.0\.0: nothing but the options|at least 2\.0\.0: "):
        cap(filled, images="url", **chosen)
    assert [path.name for path in EXPORTS.glob("cap@*")] == ["cap@1.0.0"]
    assert cap(filled).folder.title == "cap@1.1.0"


def test_a_number_that_exists_or_is_older_is_refused(filled: Context, filler: Filler) -> None:
    cap(filled, version="1.2.0")
    described(filler)
    with pytest.raises(NumberTaken, match=r"cap@1\.2\.0 exists already.*1\.2\.1, 1\.3\.0, 2\.0\.0"):
        cap(filled, version="1.2.0")
    with pytest.raises(NumberTaken, match=r"cap@1\.1\.9 would come after 1\.2\.0"):
        cap(filled, version="1.1.9")


@pytest.mark.parametrize("bad", ["1", "1.0", "v1.0.0", "1.0.0-rc1", "01.0.0", "1.0.0 ", "", "1.0.٣", "../1.0.0"])
def test_what_is_no_version_number_is_refused(filled: Context, bad: str) -> None:
    with pytest.raises(VersionInvalid, match=r"Versions look like 1\.2\.0"):
        cap(filled, version=bad)
    assert not EXPORTS.exists()


def test_bad_options_are_refused_before_anything_is_written(filled: Context) -> None:
    with pytest.raises(Unprocessable, match="auto, major, minor or patch, not by 'huge'"):
        cap(filled, bump="huge")
    with pytest.raises(OptionInvalid, match="not 'none'"):
        cap(filled, images="none")
    with pytest.raises(OptionInvalid, match="--repo ORG/NAME"):
        cap(filled, images="repo")
    with pytest.raises(OptionInvalid, match="no --plain"):
        cap(filled, images="repo", repo="org/caps", plain=True)
    with pytest.raises(OptionInvalid, match="'caps' is no repository"):
        cap(filled, repo="caps")
    with pytest.raises(OptionInvalid, match="at least one row"):
        create(filled, "count", balanced_eval=0)
    with pytest.raises(TypeError, match="no option colour"):
        cap(filled, colour="red")
    with pytest.raises(NotFound, match="There are: cap, points"):
        create(filled, "caps")
    with pytest.raises(NotFound, match="no campaign 'none'"):
        cap(filled, campaign="none")
    with pytest.raises(Unprocessable, match="Only cap is made by one"):
        create(filled, "points", recipe=Path("points.py"))
    assert not list(EXPORTS.rglob("*.parquet"))


def test_when_nothing_changed_nothing_is_written(filled: Context) -> None:
    first = cap(filled)
    before = listing(EXPORTS)
    again = cap(filled)
    assert (again.new, again.folder.path, again.folder.manifest_sha256) == (
        False, first.folder.path, first.folder.manifest_sha256,
    )  # fmt: skip
    assert listing(EXPORTS) == before


def test_a_change_that_does_not_concern_the_set_is_no_version(filled: Context, filler: Filler) -> None:
    cap(filled)
    before = listing(EXPORTS)
    filler.image(60)
    filler.task(filler.campaign("open", overlap=1), filler.image(61), filler.people(["late"]), SAID[:1])
    assert not cap(filled).new
    assert listing(EXPORTS) == before


def test_a_chosen_number_without_a_change_is_all_links(filled: Context) -> None:
    cap(filled)
    made = cap(filled, version="1.0.5")
    assert made.new
    assert inodes(made.folder.path, "data", "enriched", "index") == inodes(FIRST, "data", "enriched", "index")
    assert made.folder.manifest["changes"] == {"added": 0, "corrected": 0, "removed": 0}


def test_unchanged_splits_are_links_and_their_images_are_not_read(filled: Context, filler: Filler) -> None:
    cap(filled)
    for image in images(filled):
        if image.sha256 in {row["original_sha256"] for row in rows(FIRST, "index", "test")}:
            filled.storage.delete("images", image.served_sha256)
    described(filler)
    made = cap(filled).folder.path
    linked = {name for name, inode in inodes(made).items() if inode in inodes(FIRST).values()}
    assert linked == {f"{folder}/test-00000.parquet" for folder in ("data", "enriched", "index")}


def test_without_the_folder_before_a_number_has_to_be_said(filled: Context, filler: Filler) -> None:
    cap(filled)
    shutil.rmtree(FIRST)
    for _ in range(2):
        with pytest.raises(NoVersion, match=r"cap@1\.0\.0 is missing or damaged.*--version"):
            cap(filled)
        described(filler, campaign=f"c{_}", number=50 + _)
    with pytest.raises(NoVersion, match="--version"):
        cap(filled, bump="minor")
    made = cap(filled, version="1.1.0")
    assert made.folder.manifest["parent"]["version"] == "1.0.0"
    assert made.folder.manifest["changes"] is None
    assert "cannot be told" in (made.folder.path / "CHANGELOG.md").read_text()
    assert cap(filled, licence="odc-by").folder.title == "cap@1.1.1"


@pytest.mark.parametrize("damage", ["changed", "shortened", "gone"])
def test_a_damaged_segment_of_the_version_before_is_written_again(filled: Context, filler: Filler, damage: str) -> None:
    cap(filled)
    path = FIRST / "enriched/test-00000.parquet"
    whole = path.read_bytes()
    data = bytearray(whole)
    data[len(data) // 2] ^= 1
    path.write_bytes(data if damage == "changed" else whole[:-9])
    if damage == "gone":
        path.unlink()
    described(filler)
    made = cap(filled).folder
    assert made.title == "cap@1.1.0"
    assert (made.path / "enriched/test-00000.parquet").read_bytes() == whole
    assert verify(made.path).rows == IMAGES + 1


def test_what_lies_at_the_target_is_left_alone(filled: Context) -> None:
    FIRST.mkdir(parents=True)
    (FIRST / "mine.txt").write_text("mine")
    with pytest.raises(FolderTaken, match="never overwritten"):
        cap(filled)
    assert tree(EXPORTS).keys() == {
        "cap@1.0.0/mine.txt", *(name for name in tree(EXPORTS) if name.startswith(".cap.work/"))
    }  # fmt: skip
    shutil.rmtree(FIRST)
    assert cap(filled).new


def test_an_edited_manifest_is_noticed(filled: Context) -> None:
    cap(filled)
    path = FIRST / "manifest.json"
    path.write_text(path.read_text().replace('"licence": null', '"licence": "cc0-1.0"'))
    with pytest.raises(NoVersion, match=r"not the one that was recorded for cap@1\.0\.0"):
        resolve("cap@1.0.0", filled)
    made = cap(filled, licence="odc-by")
    recorded = Folder.open(made.folder.path).manifest["parent"]["manifest_sha256"]
    with filled.db.read() as session:
        row = session.scalars(select(DatasetVersion).order_by(DatasetVersion.id)).first()
        assert row is not None
        assert row.manifest_sha256 == recorded != Folder.open(FIRST).manifest_sha256


def test_a_version_is_on_record(filled: Context) -> None:
    made = cap(filled)
    with filled.db.read() as session:
        (row,) = session.scalars(select(DatasetVersion))
        assert row.manifest.encode() == (FIRST / "manifest.json").read_bytes()
        assert (row.name, row.version, row.manifest_sha256) == ("cap", "1.0.0", made.folder.manifest_sha256)
        (event,) = session.scalars(select(AuditEvent).where(AuditEvent.action == "version.created"))
        assert (event.subject, event.subject_id) == ("dataset", "cap@1.0.0")


def test_sets_have_numbers_of_their_own(filled: Context, filler: Filler) -> None:
    cap(filled, bump="major")
    pointed(filler, {70: 2})
    assert create(filled, "points").folder.title == "points@1.0.0"
    assert sorted(path.name for path in EXPORTS.iterdir()) == ["cap@1.0.0", "points@1.0.0"]


def test_an_image_keeps_its_split_in_all_sets_and_versions(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        pin(session, [images(filled)[0].id], Split.validation)
    made = cap(filled)
    assert made.folder.manifest["statistics"]["rows"] == {"train": 1, "validation": 2, "test": 2}
    with filled.db.write() as session:
        for i in (0, 2, 4):
            point = {
                "image_id": images(filled)[i].id,
                "label": "cup",
                "method": CollectionMethod.pointing,
                "points": [],
            }
            session.add(PointSet(**point, created_at=BEGIN))
    points = create(filled, "points").folder
    assert points.manifest["statistics"]["rows"] == {"train": 1, "validation": 1, "test": 1}
    with filled.db.write() as session:
        session.execute(text("UPDATE image_splits SET split = 'train' WHERE split = 'validation'"))
    described(filler)
    with pytest.raises(SplitBroken, match="Rows that would change their split: 2"):
        cap(filled)


def test_an_image_like_those_of_two_splits_stands_in_none(filled: Context, filler: Filler) -> None:
    cap(filled)
    described(filler)
    with filled.db.write() as session:
        session.execute(text("UPDATE images SET cluster_id = 'cluster-1' WHERE cluster_id = 'cluster-0'"))
        session.execute(text("UPDATE images SET cluster_id = 'cluster-1' WHERE cluster_id = 'cluster-25'"))
    made = cap(filled)
    assert made.folder.manifest["left_out"] == {"withheld": 1}


def test_an_export_is_one_snapshot(filled: Context, filler: Filler) -> None:
    """What is added while rows are written appears in the next version."""
    added: list[str] = []

    def add(*_: int) -> None:
        if not added:
            added.append(described(filler))

    made = cap(filled, progress=add)
    assert added
    assert made.folder.manifest["statistics"]["images"] == IMAGES
    assert len(rows(cap(filled).folder.path)) == IMAGES + 1


def test_two_exports_of_a_set_do_not_meet(filled: Context, filler: Filler) -> None:
    pointed(filler, {70: 1})
    EXPORTS.mkdir()
    with lock(EXPORTS / ".cap.lock"):
        with pytest.raises(ExportRunning, match="Wait until it ends"):
            cap(filled)
        assert create(filled, "points").new
    assert cap(filled).new


def test_a_place_that_cannot_be_written_is_one_clear_error(filled: Context) -> None:
    EXPORTS.write_text("a file")
    with pytest.raises(FolderUnwritable, match="exports cannot be written: File exists"):
        cap(filled)


def test_an_empty_store_says_what_to_do(context: Context) -> None:
    with pytest.raises(NothingToExport, match="pixmo invite"):
        cap(context)
    filler = Filler(context)
    filler.task(filler.campaign(overlap=1), filler.image(1), filler.people()[:1], SAID[:1])
    with pytest.raises(NothingToExport, match=r"wait for a caption: 1\. .*pixmo worker"):
        cap(context)
    with pytest.raises(NothingToExport, match="no annotations for clocks yet"):
        create(context, "clocks")
    assert not list(EXPORTS.glob("*@*"))


def test_nothing_but_withdrawn_answers_is_nothing(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        for slot in session.scalars(select(Slot)):
            filler.event(session, slot, TaskAction.undone, {})
    with pytest.raises(NothingToExport, match="left out: 5 withdrawn"):
        cap(filled)


def test_a_report_is_plain_values(filled: Context, filler: Filler) -> None:
    cap(filled)
    described(filler)
    report = cap(filled, licence="odc-by").report()
    assert report["version"] == "cap@1.1.0"
    assert report["parent"] == "1.0.0"
    assert report["new"] is True
    assert report["changes"]["added"] == {"train": 1}
    assert report["rows"] == {"train": 4, "test": 2}
    assert date.fromisoformat(report["first_day"]) == date(2026, 3, 1)
    assert "histograms" not in report


def test_segments_are_cut_by_rows_and_old_ones_stay(filled: Context, filler: Filler) -> None:
    """Enough rows for several segments: after more come, all but the last are linked."""
    [image] = pointed(filler, {70: 1})
    one = {"image_id": image, "label": "thing", "method": CollectionMethod.pointing, "points": [], "retracted": False,
           "annotators": 1, "created_at": BEGIN, "llm_call_ids": []}  # fmt: skip
    with filled.db.write() as session:
        session.execute(table(PointSet).insert(), [one] * 27_000)
    first = create(filled, "points").folder
    with filled.db.write() as session:
        session.execute(table(PointSet).insert(), [one] * 100)
    second = create(filled, "points").folder
    before, after = inodes(first.path, "data"), inodes(second.path, "data")
    assert len(before) > 1
    assert [name for name in before if after[name] != before[name]] == [max(before)]
    assert pa.concat_tables(second.index("train")).num_rows == 27_101


def test_versions_share_bytes_and_still_can_be_removed(filled: Context) -> None:
    cap(filled)
    made = cap(filled, licence="odc-by")
    whole = tree(made.folder.path)
    shutil.rmtree(FIRST)
    assert tree(made.folder.path) == whole
    unlink(made.folder.path / "README.md")
    assert tree(made.folder.path) == whole
