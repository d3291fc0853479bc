"""The card says what is in the files. It is read as the Hub would: YAML in front of Markdown."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]
from sqlalchemy import update

from pixmo.campaigns.models import Campaign
from pixmo.captions import receipt
from pixmo.context import Context
from pixmo.export.schemas import card_features
from pixmo.export.service import create
from pixmo.export.sets import data_set
from pixmo.export.takedown import take_down
from pixmo.images.models import Image
from pixmo.points.models import CountCheck, Verdict
from pixmo.synthetic.models import Document, DocumentKind
from tests.export.conftest import IMAGES
from tests.export.filling import BEGIN, Filler
from tests.export.making import cap, described, images, pointed


def read(folder: Path) -> tuple[dict[str, Any], str]:
    """Header and text."""
    _, header, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_header_tells_configurations_splits_and_sizes(filled: Context) -> None:
    folder = cap(filled, licence="odc-by").folder
    header, _ = read(folder.path)
    assert header["license"] == "odc-by"
    assert header["language"] == ["en"]
    assert header["size_categories"] == ["n<1K"]
    assert header["annotations_creators"] == ["crowdsourced", "machine-generated"]
    assert header["tags"][0] == "pixmo"
    assert header["configs"] == [
        {
            "config_name": name,
            "data_files": [{"split": split, "path": f"{place}/{split}-*"} for split in ("train", "test")],
            **({"default": True} if name == "default" else {}),
        }
        for name, place in (("default", "data"), ("enriched", "enriched"))
    ]
    for info in header["dataset_info"]:
        stated = folder.manifest["configs"][info["config_name"]]["splits"]
        assert info["splits"] == [
            {"name": split, "num_bytes": one["num_bytes"], "num_examples": one["rows"]} for split, one in stated.items()
        ]
        files = (folder.path / ("data" if info["config_name"] == "default" else "enriched")).iterdir()
        assert info["download_size"] == sum(path.stat().st_size for path in files)
        assert info["dataset_size"] == sum(one["num_bytes"] for one in stated.values())
    assert header["dataset_info"][0]["features"] == card_features(data_set("cap").configs["default"])
    assert header["dataset_info"][1]["features"] == card_features(data_set("cap").enriched)


def test_numbers_of_the_text_come_from_the_rows(filled: Context) -> None:
    folder = cap(filled).folder
    key = receipt.key_id(receipt.server_key(filled.settings).public_key())
    _, body = read(folder.path)
    for line in (
        f"{IMAGES} rows on {IMAGES} images",
        "with the columns of `allenai/pixmo-cap`",
        f"| rows | {IMAGES} |",
        "| speech | 0.1 h |",
        "| annotators | 2 |",
        "| annotated | 2026-03-01 to 2026-03-02 |",
        "| train | 3 |",
        "| test | 2 |",
        "validation 2%, test 2%",
        f"| CC0-1.0 | {IMAGES} |",
        "`whisper-tiny`",
        'pixmo.export.load("cap@1.0.0")["train"]',
        f"key `{key}`",
        f"event {2 * IMAGES}.",
        "version of the consent: 2026-01 10",
    ):
        assert line in body
    assert re.findall(r"!\[(.*)\]\((plots/\d\.png)\)", body) == [
        ("Words of a caption", "plots/0.png"), ("Words of a transcript", "plots/1.png")
    ]  # fmt: skip
    assert all((folder.path / plot).read_bytes().startswith(b"\x89PNG") for plot in ("plots/0.png", "plots/1.png"))


def test_every_column_is_explained(filled: Context, filler: Filler) -> None:
    pointed(filler, {70: 1})
    for folder in (cap(filled).folder, create(filled, "points").folder):
        _, body = read(folder.path)
        for name in data_set(folder.name).enriched:
            lines = [line for line in body.splitlines() if line.startswith(f"| `{name}` |")]
            assert lines
            assert all(len(line.split("|")[3].strip()) > 3 for line in lines), lines


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "part of the parquet files of the configuration `enriched`"),
        ({"images": "repo", "repo": "org/caps"}, "Images lie in `files/`"),
        ({"images": "url"}, "`pixmo materialize` downloads them"),
        ({"plain": True}, "`pixmo materialize` downloads them"),
    ],
)
def test_it_says_where_the_images_are(filled: Context, options: dict[str, Any], said: str) -> None:
    assert said in read(cap(filled, **options).folder.path)[1]


def test_without_a_licence_none_is_claimed(filled: Context) -> None:
    header, body = read(cap(filled).folder.path)
    assert "license" not in header
    assert "for the publisher to state" in body


def test_what_people_wrote_cannot_break_it(filled: Context, filler: Filler) -> None:
    with filled.db.write() as session:
        session.execute(update(Image).values(licence="CC BY 4.0 | x\n---\nlicense: none"))
        session.execute(update(Campaign).values(name="a|b\n# c", language="no"))
    header, body = read(cap(filled, licence='yes: "no"\n#', campaign="a|b\n# c").folder.path)
    assert header["license"] == 'yes: "no"\n#'
    assert header["language"] == ["no"]
    assert r"| CC BY 4.0 \| x --- license: none | 5 |" in body
    assert r"| campaign | a\|b # c |" in body


def test_what_is_left_out_is_said(filled: Context) -> None:
    take_down(filled, "image", images(filled)[0].id)
    assert "Left out: taken down 1." in read(cap(filled).folder.path)[1]


def test_sets_of_several_configurations_name_each(filled: Context) -> None:
    with filled.db.write() as session:
        for number, kind in enumerate((DocumentKind.charts, DocumentKind.tables)):
            of = {"image_id": images(filled)[number].id, "kind": kind, "code": "draw()"}
            session.add(Document(**of, questions=[{"question": "What?", "answer": "1"}], created_at=BEGIN))
    header, body = read(create(filled, "docs").folder.path)
    assert [(one["config_name"], one.get("default")) for one in header["configs"]] == [
        ("charts", True), ("tables", None), ("enriched", None)
    ]  # fmt: skip
    assert header["annotations_creators"] == ["machine-generated"]
    assert "`tables` has the same columns." in body
    assert "No person is named" in body


def test_who_made_what_is_counted_by_origin(filled: Context, filler: Filler) -> None:
    [person] = filler.people(["asker"])
    image = images(filled)[0].id
    with filled.db.write() as session:
        session.add(
            CountCheck(
                image_id=image, label="cup", count=1, points=[{"x": 0.5, "y": 0.5}], verdict=Verdict.confirmed,
                detector="boxes-1", user_id=person, created_at=BEGIN,
            )
        )  # fmt: skip
    header, body = read(create(filled, "count").folder.path)
    assert header["annotations_creators"] == ["crowdsourced", "machine-generated"]
    assert "| `detector` | an object detector, no vision-language model; checked by people |" in body
    assert "`boxes-1`" in body


def test_croissant_and_manifest_agree_with_it(filled: Context, filler: Filler) -> None:
    described(filler, licence=None)
    folder = cap(filled, licence="odc-by").folder
    header, body = read(folder.path)
    document = json.loads((folder.path / "croissant.json").read_text())
    assert document["version"] == folder.manifest["version"] == "1.0.0"
    assert {one["name"] for one in document["recordSet"]} >= {one["config_name"] for one in header["configs"]}
    assert folder.manifest["statistics"]["images"] == IMAGES + 1
    assert f"on {IMAGES + 1} images" in body
    assert "| none stated | 1 |" in body
