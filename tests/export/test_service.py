import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import PIL.Image
import pyarrow.parquet as pq
import pytest
from datasets import Features, Image, List, Value, load_dataset
from sqlalchemy import select, update

import pixmo.export
from pipelines import cap as shipped
from pixmo.captions import receipt
from pixmo.captions.models import Caption
from pixmo.context import Context
from pixmo.errors import NotFound
from pixmo.export.folder import FolderTaken
from pixmo.export.schemas import ENRICHED
from pixmo.export.service import ModelSawImage, NothingToExport, Summary, Unlicensed
from pixmo.export.tables import RowInvalid
from pixmo.images.models import Image as ImageRow
from pixmo.language.models import LlmCall
from pixmo.storage import BlobMissing
from pixmo.tasks.models import Slot, TaskAction
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, SAID, Filler, jpeg, tree
from tests.language.endpoint import answer, serve

PUBLISHED = Features({"image_url": Value("string"), "caption": Value("string"), "transcripts": List(Value("string"))})


def export(context: Context, folder: Path | str = "cap", **options: Any) -> Summary:
    return pixmo.export.cap(context.db, context.storage, context.settings, Path(folder), **options)


def read(folder: str = "cap", config: str = "enriched", *, streaming: bool = False) -> Any:
    return load_dataset(str(Path(folder).resolve()), config, split="train", streaming=streaming, cache_dir="cache")


def recipe(text: str) -> Path:
    """A pipeline file: the shipped one with other rows."""
    file = Path("my_cap.py")
    begin = Path(shipped.__file__).read_text("utf-8").split("def rows")[0]
    file.write_text(f"{begin}\ndef rows(described):\n    from pipelines.cap import rows\n{text}", "utf-8")
    return file


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "streaming"])
def test_datasets_reads_the_published_configuration(filled: Context, streaming: bool) -> None:
    export(filled)
    data = read(config="default", streaming=streaming)
    assert data.features == PUBLISHED
    rows = list(data)
    assert len(rows) == IMAGES
    assert rows[0] == {
        "image_url": "https://photos.example/0.jpg",
        "caption": "There is a red kettle on the stove and two blue cups, next to it in picture number 10.",
        "transcripts": [f"{text} in picture number 10" for text in SAID],
    }
    assert all(row["image_url"].startswith("urn:sha256:") for row in rows[1::2])


@pytest.mark.parametrize("streaming", [False, True], ids=["map", "streaming"])
def test_datasets_reads_the_enriched_configuration(filled: Context, streaming: bool) -> None:
    export(filled)
    data = read(streaming=streaming)
    assert list(data.features) == list(ENRICHED)
    assert data.features["image"] == Image()
    for number, row in enumerate(data):
        assert isinstance(row["image"], PIL.Image.Image)
        assert row["image"].size == (row["width"], row["height"]) == (48, 32)
        assert row["split_cluster"] == f"cluster-{number // 2}"
        assert row["annotated_on"] == [BEGIN.date(), date(2026, 3, 2)]
        assert (row["licence"], row["topic"], row["language"]) == ("CC0-1.0", "kitchens", "en")
        assert [words[0]["text"] for words in row["word_times"]] == ["um", "a"]
        receipt.verify(json.loads(row["receipt"]), image_sha256=row["image_sha256"], caption=row["caption"])


def test_image_bytes_are_those_that_annotators_saw(filled: Context) -> None:
    export(filled)
    stored = pq.read_table("cap/enriched/train-00000-of-00001.parquet", columns=["image"]).to_pylist()
    assert [row["image"]["bytes"] for row in stored] == [jpeg(number) for number in range(IMAGES)]


def test_without_the_card_the_files_still_tell_their_features(filled: Context) -> None:
    export(filled)
    data = load_dataset("parquet", data_files="cap/data/*.parquet", split="train", cache_dir="cache")
    assert data.features == PUBLISHED


def test_load_gives_both_configurations(filled: Context) -> None:
    export(filled)
    captions = pixmo.export.load("cap", cache_dir="cache")
    assert list(captions) == ["train"]
    assert captions["train"].features == PUBLISHED
    images = pixmo.export.load(Path("cap"), "enriched", streaming=True, cache_dir="cache")
    assert next(iter(images["train"]))["image_sha256"]


def test_load_after_a_second_export_gives_the_new_rows(filled: Context, filler: Filler) -> None:
    export(filled)
    assert len(pixmo.export.load("cap", cache_dir="cache")["train"]) == IMAGES
    task = filler.task(filler.campaign("other", overlap=1), filler.image(50), filler.people()[:1], SAID[:1])
    filler.caption(task)
    export(filled)
    assert len(pixmo.export.load("cap", cache_dir="cache")["train"]) == IMAGES + 1


def test_load_of_something_else_names_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="pixmo export cap"):
        pixmo.export.load(tmp_path)


def test_the_summary_and_the_manifest_count_what_was_written(filled: Context) -> None:
    seen: list[tuple[int, int]] = []
    summary = export(filled, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(IMAGES, IMAGES)]
    report = summary.report()
    assert (report["rows"], report["images"], report["transcripts"]) == (IMAGES, IMAGES, 2 * IMAGES)
    assert report["voiced_seconds"] == 2 * IMAGES * 48.25
    assert report["annotators"] == 2
    assert report["snapshot"] == 2 * IMAGES
    manifest = json.loads(Path("cap/manifest.json").read_text())
    assert {file["path"]: file["sha256"] for file in manifest["files"]} == {
        name: digest for name, digest in tree(Path("cap")).items() if name != "manifest.json"
    }
    assert manifest["counts"]["rows"] == manifest["configs"]["default"]["rows"] == IMAGES
    assert manifest["snapshot"] == 2 * IMAGES
    key = receipt.server_key(filled.settings)
    assert manifest["receipt_keys"] == [receipt.key_id(key.public_key())]


def test_annotators_appear_under_pseudonyms_only(filled: Context) -> None:
    export(filled)
    people = {name for row in read() for name in row["annotators"]}
    assert len(people) == 2
    assert all(name.startswith("a_") and len(name) == 12 for name in people)
    with filled.db.read() as session:
        secrets = [f"{slot.user_id}" for slot in session.scalars(select(Slot))]
        secrets += session.scalars(select(Caption.id))
    secrets.append((filled.settings.store_dir / "pseudonym.key").read_text())
    for path in Path("cap").rglob("*.parquet"):
        text = json.dumps(pq.read_table(path).to_pylist(), default=str)
        assert not [secret for secret in secrets if secret in text]
    export(filled, "again")
    assert {name for row in read("again") for name in row["annotators"]} == people


RUN = """
import sys
from pathlib import Path
import pixmo.export
from pixmo.context import Context
from pixmo.settings import Settings
context = Context.open(Settings(data_dir=Path(sys.argv[1])))
pixmo.export.cap(context.db, context.storage, context.settings, Path(sys.argv[2]), licence="odc-by")
context.close()
"""


def test_processes_write_the_same_bytes(filled: Context, tmp_path: Path) -> None:
    export(filled, "warm-up")
    environment = {**os.environ, "PYTHONPATH": str(Path(shipped.__file__).parent.parent)}
    changes = {"a": {"PYTHONHASHSEED": "1", "TZ": "Asia/Tokyo"}, "b": {"PYTHONHASHSEED": "2", "TZ": "America/Lima"}}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RUN, str(filled.settings.store_dir), str(tmp_path / name)],
            env={**environment, **change},
        )
        for name, change in changes.items()
    ]
    assert [process.wait(60) for process in processes] == [0, 0]
    first = tree(tmp_path / "a")
    assert len(first) == 4
    assert first == tree(tmp_path / "b")


def test_a_second_export_replaces_the_first_and_leaves_no_stale_shard(filled: Context, filler: Filler) -> None:
    export(filled)
    before = tree(Path("cap"))
    export(filled)
    assert tree(Path("cap")) == before
    task = filler.task(filler.campaign("other", overlap=1), filler.image(50), filler.people()[:1], SAID[:1])
    filler.caption(task)
    export(filled)
    assert tree(Path("cap")).keys() == before.keys()
    assert tree(Path("cap")) != before
    export(filled, campaign="other")
    assert len(read(config="default")) == 1


def test_a_foreign_folder_is_left_alone(filled: Context) -> None:
    Path("cap").mkdir()
    Path("cap/mine.txt").write_text("mine")
    with pytest.raises(FolderTaken):
        export(filled)
    assert tree(Path("cap")).keys() == {"mine.txt"}


def test_an_export_is_one_snapshot(filled: Context, filler: Filler) -> None:
    """What is added while rows are written appears in the next export."""
    people, campaign = filler.people(), filler.campaign("late", overlap=1)

    def add(*_: int) -> None:
        filler.caption(filler.task(campaign, filler.image(60), people[:1], SAID[:1]))

    summary = export(filled, progress=add)
    assert summary.counts.rows == IMAGES
    assert export(filled).counts.rows == IMAGES + 1


def test_captions_of_a_language_model_name_it(filled: Context, filler: Filler) -> None:
    from pixmo.captions.service import run_caption

    task = filler.task(filler.campaign("other", overlap=1), filler.image(50), filler.people()[:1], SAID[:1])
    with serve(answer("A red kettle and two blue cups.")) as endpoint:
        changes = {"llm_base_url": endpoint.url, "llm_model": "small-1"}
        run_caption(filled.db, filled.storage, filled.settings.model_copy(update=changes), task)
    export(filled, campaign="other")
    (row,) = read()
    assert (row["caption_method"], row["caption_model"], row["caption_prompt"]) == ("llm", "small-1", "cap-polish-v1")
    assert row["steps"][-1] == {
        "field": "caption", "origin": "llm_text", "model": "small-1", "model_revision": "cap-polish-v1",
        "saw_image": False,
    }  # fmt: skip
    assert row["transcript_used"] == [True]


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "https://photos.example/1"}}],
        "Describe https://photos.example/1.jpg",
        "data:image/png;base64,iVBORw0KGgo=",
    ],
)
def test_a_call_that_carried_an_image_stops_the_export(filled: Context, content: object) -> None:
    export(filled)
    before = tree(Path("cap"))
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
    with pytest.raises(ModelSawImage, match="sees-1"):
        export(filled)
    assert tree(Path("cap")) == before


def test_a_pipeline_that_lets_a_model_see_is_stopped(filled: Context) -> None:
    file = recipe(
        "    for row in rows(described):\n"
        "        step = {'field': 'topic', 'origin': 'detector', 'model': 'd', 'model_revision': '1', 'saw_image': True}\n"
        "        yield {**row, 'steps': [*row['steps'], step]}\n"
    )
    with pytest.raises(ModelSawImage, match="topic"):
        export(filled, recipe=file)


def test_a_pipeline_may_choose_rows(filled: Context) -> None:
    file = recipe("    yield from (row for row in rows(described) if '12' in row['caption'])\n")
    assert export(filled, recipe=file).counts.rows == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ("{'image_url': ''}", RowInvalid, "empty image_url"),
        ("{'caption': ' '}", RowInvalid, "empty image_url, caption"),
        ("{'transcripts': []}", RowInvalid, "transcript"),
        ("{'transcripts': 'kettle'}", RowInvalid, "not a list"),
        ("{'transcripts': [None]}", RowInvalid, "transcript"),
        ("{'extra': 1}", RowInvalid, "extra"),
        ("{'width': 'wide'}", RowInvalid, "Rows 0 to"),
        ("{'caption': 'Another caption.'}", receipt.ReceiptInvalid, "another caption"),
        ("{'receipt': row['receipt'].replace('tidy', 'tidi')}", receipt.ReceiptInvalid, "changed after"),
        ("{'receipt': 'none'}", receipt.ReceiptInvalid, "Image "),
    ],
)
def test_rows_that_cannot_be_published_stop_the_export(
    filled: Context, change: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        export(filled, recipe=recipe(f"    for row in rows(described):\n        yield {{**row, **{change}}}\n"))
    assert not Path("cap").exists()
    assert not [path for path in Path().iterdir() if path.name.startswith(".cap")]


def test_images_without_a_licence_are_counted_or_refused(filled: Context, filler: Filler) -> None:
    task = filler.task(
        filler.campaign("other", overlap=1), filler.image(50, licence=None), filler.people()[:1], SAID[:1]
    )
    filler.caption(task)
    summary = export(filled)
    assert summary.counts.unlicensed_images == 1
    assert "| none stated | 1 |" in Path("cap/README.md").read_text()
    with pytest.raises(Unlicensed, match="--require-licence"):
        export(filled, "other", require_licence=True)
    assert not Path("other").exists()


def test_an_empty_store_says_what_to_do(context: Context) -> None:
    with pytest.raises(NothingToExport, match="pixmo invite"):
        export(context)
    with pytest.raises(NothingToExport, match="no campaign 'none'"):
        export(context, campaign="none")
    filler = Filler(context)
    filler.task(filler.campaign(overlap=1), filler.image(1), filler.people()[:1], SAID[:1])
    with pytest.raises(NothingToExport, match=r"wait for a caption: 1\. .*pixmo worker"):
        export(context)
    assert not Path("cap").exists()


def test_nothing_but_withdrawn_answers_is_nothing(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        for slot in session.scalars(select(Slot)):
            filler.event(session, slot, TaskAction.undone, {})
    with pytest.raises(NothingToExport, match="withdrawn"):
        export(filled)


def test_a_caption_without_a_receipt_stops_the_export(filled: Context) -> None:
    with filled.db.write() as session:
        session.execute(update(Caption).values(receipt={}))
    with pytest.raises(receipt.ReceiptInvalid, match="no receipt"):
        export(filled)


def test_a_missing_image_stops_the_export(filled: Context) -> None:
    with filled.db.read() as session:
        sha256 = session.scalars(select(ImageRow.served_sha256)).first() or ""
    filled.storage.delete("images", sha256)
    with pytest.raises(BlobMissing, match=sha256):
        export(filled)
    assert not Path("cap").exists()
