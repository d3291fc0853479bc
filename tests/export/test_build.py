"""What is in a version: images by mode, rows that may not be in it, pipelines, and what stops an export half-way."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from sqlalchemy import select, update

from pipelines import cap as shipped
from pixmo.accounts.models import User
from pixmo.captions import receipt
from pixmo.captions.models import Caption
from pixmo.captions.service import run_caption
from pixmo.context import Context
from pixmo.export.build import ModelSaw
from pixmo.export.models import ImagePublication
from pixmo.export.pages import Unlicensed
from pixmo.export.schemas import arrow_schema
from pixmo.export.segments import RowInvalid
from pixmo.export.service import ImageDamaged, NothingToExport, create
from pixmo.export.sets import data_set
from pixmo.export.takedown import take_down
from pixmo.export.verification import verify
from pixmo.images.models import Image
from pixmo.language.models import LlmCall
from pixmo.points.models import CollectionMethod, CountCheck, PointSet, Verdict
from pixmo.storage import BlobMissing
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, SAID, Filler, jpeg, tree
from tests.export.making import cap, described, images, inodes, pointed, rows
from tests.language.endpoint import answer, serve

EXPORTS = Path("exports")
FIRST = EXPORTS / "cap@1.0.0"


def untouched(before: dict[str, str]) -> bool:
    """Whether only what was there is there; finished segments for the next attempt may lie hidden."""
    return {name: digest for name, digest in tree(EXPORTS).items() if not name.startswith(".cap.work/")} == before


def test_the_published_configuration_is_exact(filled: Context) -> None:
    folder = cap(filled).folder.path
    schema = pq.read_schema(folder / "data/train-00000.parquet")
    assert schema.equals(arrow_schema(data_set("cap").configs["default"]))
    assert rows(folder, "default")[0] == {
        "image_url": "https://photos.example/0.jpg",
        "caption": "There is a red kettle on the stove and two blue cups, next to it in picture number 10.",
        "transcripts": [f"{text} in picture number 10" for text in SAID],
    }
    assert [row["image_url"].partition(":")[0] for row in rows(folder, "default")] == [
        "https", "urn", "https", "https", "urn"
    ]  # fmt: skip


def test_embedded_images_are_those_that_annotators_saw(filled: Context) -> None:
    found = rows(cap(filled).folder.path)
    stored = {image.sha256: image for image in images(filled)}
    pictures = {hashlib.sha256(jpeg(number)).hexdigest(): jpeg(number) for number in range(IMAGES)}
    assert len(found) == IMAGES
    for row in found:
        image = stored[row["original_sha256"]]
        assert row["image"]["bytes"] == pictures.pop(row["served_sha256"])
        assert row["image"]["path"] == row["image_file"] == f"{image.served_sha256}.jpeg"
        assert row["image_sha256"] == image.sha256
        assert row["image_url"] == (image.source_url or f"urn:sha256:{image.sha256}")
    assert not pictures


def test_sets_with_many_rows_an_image_hold_it_once(filled: Context, filler: Filler) -> None:
    pointed(filler, {70: 3, 72: 2, 74: 1})
    folder = create(filled, "points").folder.path
    pictures = rows(folder, "images")
    assert "image" not in rows(folder)[0]
    assert sorted(row["image"]["bytes"] for row in pictures) == sorted(jpeg(number) for number in (70, 72, 74))
    assert [row["image_url"] for row in rows(folder, "images", "train")] == [
        "https://photos.example/70.jpg", "https://photos.example/74.jpg"
    ]  # fmt: skip
    by_name = {row["image_file"]: row["original_sha256"] for row in pictures}
    assert len(rows(folder)) == 6
    assert all(by_name[row["image_file"]] == row["original_sha256"] for row in rows(folder))
    assert not (create(filled, "points", images="url").folder.path / "images").exists()


def test_images_as_files_are_pinned_to_the_version_that_first_had_them(filled: Context, filler: Filler) -> None:
    folder = cap(filled, images="repo", repo="org/caps").folder.path
    first = {row["row_id"]: row["image_url"] for row in rows(folder)}
    described(filler)
    second = cap(filled).folder.path
    third = cap(filled, licence="odc-by").folder.path
    for version, number in ((second, "1.1.0"), (third, "1.1.1")):
        assert version.name == f"cap@{number}"
        for row in rows(version):
            name = f"files/{row['served_sha256'][:2]}/{row['served_sha256']}.jpeg"
            tag = "v1.0.0" if row["row_id"] in first else "v1.1.0"
            assert row["image_url"] == f"https://huggingface.co/datasets/org/caps/resolve/{tag}/{name}"
            data = (version / name).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row["image_sha256"] == row["served_sha256"]
            assert first.get(row["row_id"], row["image_url"]) == row["image_url"]
        assert len(list((version / "files").rglob("*.jpeg"))) == IMAGES + 1
        assert "image" not in rows(version)[0]
        verify(version)
    assert inodes(folder, "files").items() <= inodes(third, "files").items()
    with filled.db.read() as session:
        assert len(list(session.scalars(select(ImagePublication)))) == IMAGES + 1
    other = cap(filled, repo="org/others", version="2.0.0").folder.path
    assert {row["image_url"].split("/resolve/")[1].split("/")[0] for row in rows(other)} == {"v2.0.0"}


def test_images_as_files_that_are_not_in_the_end_are_pinned_to_the_next_number(filled: Context, filler: Filler) -> None:
    """The number decides addresses, and what changed decides the number: here it is not the one first thought of."""
    cap(filled, images="repo", repo="org/caps")
    with filled.db.write() as session:
        session.execute(update(Caption).where(Caption.revision == 1).values(revision=2))
    take_down(filled, "image", images(filled)[2].sha256)
    described(filler)
    folder = cap(filled).folder.path
    assert folder.name == "cap@2.0.0"
    assert {row["image_url"].split("/")[7] for row in rows(folder)} == {"v1.0.0", "v2.0.0"}


def test_addresses_are_kept_as_they_are(filled: Context) -> None:
    folder = cap(filled, images="url").folder.path
    assert "image" not in rows(folder)[0]
    assert not (folder / "files").exists()
    assert [row["image_url"] for row in rows(folder)] == [
        image.source_url or f"urn:sha256:{image.sha256}" for image in (images(filled)[i] for i in (0, 1, 4, 2, 3))
    ]
    assert "check-links" in (folder / "README.md").read_text()


def test_a_plain_version_holds_nothing_but_what_was_published(filled: Context) -> None:
    folder = cap(filled, plain=True).folder
    assert {path.name for path in folder.path.iterdir() if path.is_dir()} == {"data", "index", "plots"}
    assert set(folder.manifest["configs"]) == {"default", "index"}
    assert len(rows(folder.path, "default")) == IMAGES
    assert verify(folder.path).receipts == 0


def test_annotators_appear_under_pseudonyms_only(filled: Context) -> None:
    folder = cap(filled).folder.path
    people = {name for row in rows(folder) for name in row["annotators"]}
    assert len(people) == 2
    assert all(re.fullmatch(r"a_[0-9a-f]{10}", name) for name in people)
    with filled.db.read() as session:
        secrets = [*session.scalars(select(User.id)), *session.scalars(select(Caption.id))]
    secrets.append((filled.settings.store_dir / "pseudonym.key").read_text())
    text = json.dumps([rows(folder, name) for name in ("default", "enriched", "index")], default=str)
    text += "".join(path.read_text() for path in folder.iterdir() if path.is_file())
    assert not [secret for secret in secrets if secret in text]


def test_what_is_left_out_is_counted_by_its_reason(filled: Context, filler: Filler) -> None:
    [image] = pointed(filler, {70: 2})
    described(filler)
    with filled.db.read() as session:
        person = session.scalars(select(User).where(User.display_name == "person 50")).one().id
    take_down(filled, "image", images(filled)[0].sha256)
    take_down(filled, "annotator", person)
    made = cap(filled).folder
    assert made.manifest["left_out"] == {"taken_down": 2}
    assert "Left out: taken down 2." in (made.path / "README.md").read_text()
    with filled.db.write() as session:
        values = {"image_id": image, "label": "cup", "count": 2, "points": [{"x": 0.5, "y": 0.5}], "created_at": BEGIN}
        session.add(CountCheck(**values, verdict=Verdict.rejected))
        session.add(CountCheck(**{**values, "count": 1}, verdict=Verdict.confirmed))
    assert create(filled, "count").folder.manifest["left_out"] == {"rejected": 1}


def test_a_balanced_evaluation_has_as_many_rows_of_each_count(filled: Context, filler: Filler) -> None:
    picture = images(filled)[2].id  # stands in test
    with filled.db.write() as session:
        for number in (2, 2, 2, 3, 3, 4):
            points = [{"x": 0.5, "y": 0.5}] * number
            of = {"image_id": picture, "label": "cup", "count": number, "points": points, "created_at": BEGIN}
            session.add(CountCheck(**of, verdict=Verdict.confirmed))
    folder = create(filled, "count", balanced_eval=1).folder
    counts = [row["count"] for row in rows(folder.path, "default", "test")]
    assert sorted(counts) == [2, 3, 4]
    assert folder.manifest["left_out"] == {"balanced_eval": 3}
    assert len(rows(create(filled, "count", balanced_eval=2).folder.path, "default", "test")) == 5


def test_images_without_a_licence_are_counted_or_refused(filled: Context, filler: Filler) -> None:
    described(filler, licence=None)
    made = cap(filled)
    assert made.folder.manifest["statistics"]["unlicensed_images"] == 1
    assert "| none stated | 1 |" in (made.folder.path / "README.md").read_text()
    before = tree(EXPORTS)
    with pytest.raises(Unlicensed, match="--require-licence"):
        cap(filled, require_licence=True)
    assert untouched(before)


def test_captions_of_a_language_model_name_it(filled: Context, filler: Filler) -> None:
    [person] = filler.people(["somebody"])
    task = filler.task(filler.campaign("other", overlap=1), filler.image(50), [person], SAID[:1])
    with serve(answer("A red kettle and two blue cups.")) as endpoint:
        changes = {"llm_base_url": endpoint.url, "llm_model": "small-1"}
        run_caption(filled.db, filled.storage, filled.settings.model_copy(update=changes), task)
    folder = cap(filled, campaign="other").folder
    (row,) = rows(folder.path)
    assert (row["caption_method"], row["caption_model"], row["caption_prompt"]) == ("llm", "small-1", "cap-polish-v1")
    assert row["steps"][-1] == {
        "field": "caption", "origin": "llm_text", "model": "small-1", "model_revision": "cap-polish-v1",
        "saw_image": False,
    }  # fmt: skip
    assert row["transcript_used"] == [True]
    assert folder.manifest["statistics"]["models"] == {"small-1": 1, "whisper-tiny": 1}


@pytest.mark.parametrize("plain", [False, True], ids=["enriched", "plain"])
@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "https://photos.example/1"}}],
        "Describe https://photos.example/1.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
    ids=["part", "address", "data"],
)
def test_a_call_that_carried_an_image_stops_the_export(filled: Context, content: object, plain: bool) -> None:
    with filled.db.write() as session:
        call = LlmCall(
            purpose="caption", subject_id="task", endpoint="http://127.0.0.1/v1", model="sees-1", parameters={},
            prompt="p", messages=[{"role": "user", "content": content}], sha256="0" * 64, answer="x", latency=0.1,
        )  # fmt: skip
        session.add(call)
        session.flush()
        caption = session.scalars(select(Caption)).first()
        assert caption is not None
        session.execute(update(Caption).where(Caption.id == caption.id).values(llm_call_ids=[call.id]))
    with pytest.raises(ModelSaw, match=r"Row \d+: the step caption \(llm_text, model sees-1\) was shown an image"):
        cap(filled, plain=plain)
    assert not list(EXPORTS.glob("cap@*"))


def recipe(body: str) -> Path:
    """A pipeline file: the shipped one with other rows."""
    file = Path("my_cap.py")
    begin = Path(shipped.__file__).read_text("utf-8").split("def rows")[0]
    file.write_text(f"{begin}\nimport pyarrow.compute as pc\n\ndef rows(page):\n    {body}\n", "utf-8")
    return file


def test_a_pipeline_may_choose_rows_and_change_columns(filled: Context) -> None:
    file = recipe(
        "kept = page.filter(pc.match_substring(page['caption'], '12'))\n"
        "    topics = pa.repeat(pa.scalar('mine'), kept.num_rows)\n"
        "    return kept.set_column(kept.column_names.index('topic'), 'topic', topics).append_column('more', topics)"
    )
    made = cap(filled, recipe=file).folder
    (row,) = rows(made.path)
    assert (row["topic"], row["row_id"]) == ("mine", 5)
    assert "more" not in row
    assert made.manifest["recipe_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert verify(made.path).rows == 1
    assert not cap(filled, recipe=file).new
    assert cap(filled).folder.title == "cap@1.1.0"


@pytest.mark.parametrize(
    ("body", "error", "message"),
    [
        ("return page.take(list(range(page.num_rows))[::-1])", RowInvalid, "must keep their order"),
        ("return pa.concat_tables([page, page])", RowInvalid, "must keep their order"),
        ("return page.drop_columns(['topic'])", RowInvalid, "columns that it was given"),
        ("return page.drop_columns(['row_id'])", RowInvalid, "columns that it was given"),
        ("return page.to_pylist()", RowInvalid, "must return a table"),
        ("return None", RowInvalid, "must return a table"),
        (
            "return page.set_column(page.column_names.index('row_id'), 'row_id', pc.add(page['row_id'], 1000))",
            RowInvalid, "made up row ids",
        ),
        (
            "return page.set_column(page.column_names.index('row_id'), 'row_id', pc.cast(page['row_id'], pa.string()))",
            RowInvalid, "made up row ids",
        ),
        (
            "return page.set_column(page.column_names.index('caption'), 'caption', pc.utf8_upper(page['caption']))",
            receipt.ReceiptInvalid, "changed captions",
        ),
        (
            "return page.set_column(page.column_names.index('split'), 'split', pa.repeat('train', page.num_rows))",
            RowInvalid, "changed split",
        ),
        (
            "return page.set_column(page.column_names.index('steps'), 'steps', "
            "pa.nulls(page.num_rows, page['steps'].type))",
            RowInvalid, "changed steps",
        ),
        (
            "return page.set_column(page.column_names.index('width'), 'width', pa.repeat('wide', page.num_rows))",
            RowInvalid, "Rows 1 to 9 do not fit the schema",
        ),
        ("return page.slice(0, 0)", NothingToExport, r"rows\(\) of my_cap.py keeps no row"),
    ],
)  # fmt: skip
def test_what_a_pipeline_may_not_do_stops_the_export(
    filled: Context, body: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        cap(filled, recipe=recipe(body))
    assert not list(EXPORTS.glob("cap@*"))


def test_a_missing_image_stops_the_export_and_the_next_one_goes_on(filled: Context, filler: Filler) -> None:
    cap(filled)
    before = tree(EXPORTS)
    described(filler)
    image = images(filled)[-1]
    path = filled.storage.path("images", image.served_sha256)
    data = path.read_bytes()
    path.unlink()
    with pytest.raises(BlobMissing, match=image.served_sha256):
        cap(filled)
    assert untouched(before)
    path.write_bytes(data)
    assert cap(filled).folder.title == "cap@1.1.0"
    assert not list(EXPORTS.glob(".*"))


@pytest.mark.parametrize("options", [{}, {"images": "repo", "repo": "org/caps"}], ids=["embed", "repo"])
def test_a_damaged_image_stops_the_export(filled: Context, options: dict[str, Any]) -> None:
    image = images(filled)[3]
    filled.storage.path("images", image.served_sha256).write_bytes(b"rotten")
    with pytest.raises(ImageDamaged, match=f"image {image.served_sha256} are damaged. Restore them from a backup"):
        cap(filled, **options)
    assert not list(EXPORTS.glob("cap@*"))
    assert not [path for path in EXPORTS.glob(".*") if ".new-" in path.name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": " "}, "Row 1 has no label"),
        ({"points": [{"x": float("nan"), "y": 0.5}]}, r"Row 1 "),
        ({"points": [{"x": 1.5, "y": 0.5}]}, r"Row 1 has a point outside of its image \(x = 1.5\)"),
        ({"points": [{"x": 0.5}]}, r"Row 1 has a point outside"),
        ({"points": [{"x": "left", "y": 0.5}]}, "Row 1 "),
        ({"points": {}}, "Row 1 "),
    ],
)
def test_a_row_that_breaks_its_rules_is_named(filled: Context, change: dict[str, Any], message: str) -> None:
    of = {"image_id": images(filled)[0].id, "label": "cup", "points": [], "method": CollectionMethod.pointing}
    with filled.db.write() as session:
        session.add(PointSet(**{**of, **change}, created_at=BEGIN))
        session.add(PointSet(**of, created_at=BEGIN))
    with pytest.raises(RowInvalid, match=message):
        create(filled, "points")
    assert not list(EXPORTS.glob("points@*"))


def test_a_caption_with_another_receipt_stops_the_export(filled: Context) -> None:
    with filled.db.write() as session:
        session.execute(update(Caption).values(receipt={}))
    with pytest.raises(receipt.ReceiptInvalid, match="about another image or caption"):
        cap(filled)
    assert not list(EXPORTS.glob("cap@*"))


FULL = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from pixmo.cli import main
main()
"""


def exported_on_a_full_disk(limit: int) -> str:
    """What `pixmo export cap` says where files cannot grow beyond `limit` bytes: writing stops as on a full disk."""
    result = subprocess.run(
        [sys.executable, "-c", FULL.format(limit=limit), "export", "cap"],
        env={**os.environ, "PYTHONPATH": str(Path(shipped.__file__).parents[1])},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (1, ""), result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


def test_a_full_disk_is_one_line_and_keeps_what_was_there(filled: Context, filler: Filler) -> None:
    cap(filled)
    before = tree(EXPORTS)
    described(filler)
    with filled.db.write() as session:
        served = filled.storage.put("images", bytes(4_000_000))
        session.execute(update(Image).where(Image.id == images(filled)[-1].id).values(served_sha256=served))
    line = exported_on_a_full_disk(3_000_000)
    assert line.startswith("pixmo: exports cannot be written: File too large. Check free space and permissions")
    assert untouched(before)
    assert not [path for path in EXPORTS.rglob("*") if path.name.endswith(".part") or ".new-" in path.name]
    kept = list((EXPORTS / ".cap.work").iterdir())
    assert "exports/.cap.work" in str(kept[0])
    made = cap(filled).folder
    assert made.title == "cap@1.1.0"
    assert verify(made.path).rows == IMAGES + 1
    assert not list(EXPORTS.glob(".*"))


def test_a_full_disk_under_the_database_is_one_line(filled: Context, filler: Filler) -> None:
    described(filler)
    line = exported_on_a_full_disk(0)
    assert re.fullmatch(r"pixmo: The database in .*pixmo-data cannot be used: .*start again: what is finished .*", line)
    assert untouched({})
    assert cap(filled).folder.title == "cap@1.0.0"
