from typing import Any

import pytest

from pixmo.context import Context
from pixmo.export.models import Subject
from pixmo.export.pages import PAGE
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.docs import SET
from pixmo.synthetic.models import Document, DocumentKind
from tests.export.sources.asking import DAY, PICTURE, Asking, by, made

ASKED = [{"question": "What is the highest bar?", "answer": "2024"}]
CHART = {"kind": DocumentKind.charts, "questions": ASKED, "code": "plot(1)"}


@pytest.fixture
def asking(context: Context) -> Asking:
    return Asking(context)


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("docs") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}
    assert list(SET.configs) == ["charts", "diagrams", "tables", "other"]
    assert "image" not in SET.enriched
    assert "annotators" not in SET.enriched
    assert SET.part == "kind"


def test_a_row_holds_image_questions_code_and_all_that_made_them(asking: Asking) -> None:
    campaign = asking.filler.campaign("drawn", language="de")
    images = [asking.image(number, split) for number, split in enumerate(("train", "validation", "train", "test"))]
    calls = [asking.call(prompt="code@1"), asking.call("writer-2", "questions@1")]
    several = [*ASKED, {"question": "Who\nmade it?", "answer": 'A "é" 水'}]
    for image, kind in zip(images, DocumentKind, strict=True):
        charts = kind is DocumentKind.charts
        asking.add(
            Document, image_id=image, kind=kind, code=f"draw('{kind}')\n", questions=several if charts else ASKED,
            campaign_id=campaign if charts else None, llm_call_ids=calls if charts else [],
        )  # fmt: skip
    rows = asking.rows(SET)
    of_image = asking.of_image(images[0])
    assert rows[0] == {
        **of_image, "row_id": 1, "split": "train", "kind": "charts", "code": "draw('charts')\n",
        "image": of_image["image_file"], "image_id": of_image["original_sha256"][:32],
        "questions": {
            "question": ["What is the highest bar?", "Who\nmade it?"],
            "answer": ["2024", 'A "é" 水'],
        },
        "campaign": "drawn", "language": "de", "annotators": [], "consent_versions": [], "annotated_on": DAY,
        "steps": [
            made("image", "script", saw=False),
            made("questions", "llm_text", "writer-1", "code@1", saw=False),
            made("questions", "llm_text", "writer-2", "questions@1", saw=False),
        ],
    }  # fmt: skip
    assert [(row["kind"], row["split"]) for row in rows] == [
        ("charts", "train"), ("diagrams", "validation"), ("other", "train"), ("tables", "test")
    ]  # fmt: skip
    scripted = [made("image", "script", saw=False), made("questions", "script", saw=False)]
    for row, image in zip(rows[1:], images[1:], strict=True):
        of_image = asking.of_image(image)
        assert row.items() >= of_image.items()
        assert row["image"] == row["image_file"]
        assert row["code"] == f"draw('{row['kind']}')\n"
        assert row["questions"] == {"question": ["What is the highest bar?"], "answer": ["2024"]}
        assert (row["steps"], row["campaign"], row["language"]) == (scripted, None, None)
    assert len({row["image_id"] for row in rows}) == 4
    assert asking.count(SET) == 4


def test_plain_rows_have_the_published_columns_and_their_configuration(asking: Asking) -> None:
    image, person = asking.image(1), asking.person()
    asking.add(Document, image_id=image, llm_call_ids=["gone"], **CHART, **person)
    sha256 = asking.of_image(image)["original_sha256"]
    assert asking.rows(SET, enriched=False) == [
        {
            "image": asking.of_image(image)["image_file"], "image_id": sha256[:32], "kind": "charts", "row_id": 1,
            "questions": {"question": ["What is the highest bar?"], "answer": ["2024"]}, "split": "train",
            "annotators": by(person), "original_sha256": sha256,
        }
    ]  # fmt: skip


def test_the_newest_revision_stands_in_the_place_of_the_first(asking: Asking) -> None:
    images = [asking.image(number) for number in range(2)]
    ids = [asking.add(Document, image_id=images[0], **CHART) for _ in range(3)]
    asking.add(Document, image_id=images[0], root_id=ids[0], **{**CHART, "code": "plot(2)"})
    asking.add(Document, image_id=images[1], root_id=ids[0], **{**CHART, "kind": DocumentKind.tables, "code": "td"})
    asking.add(Document, image_id=images[0], root_id=ids[2], retracted=True, **{**CHART, "questions": []})
    rows = asking.rows(SET)
    assert [(row["row_id"], row["kind"], row["code"], row["image"]) for row in rows] == [
        (ids[0], "tables", "td", asking.of_image(images[1])["image_file"]),
        (ids[1], "charts", "plot(1)", asking.of_image(images[0])["image_file"]),
    ]
    assert asking.left_out == {"withdrawn": 1}


def test_what_was_taken_down_or_stands_in_no_split_is_left_out_and_counted(asking: Asking) -> None:
    silenced = asking.person()
    images = [asking.image(0), asking.image(1), asking.image(2, "withheld"), asking.image(3, None)]
    for image in images:
        asking.add(Document, image_id=image, **CHART)
    asking.add(Document, image_id=images[0], **CHART, **silenced)
    asking.take_down(Subject.image, images[1])
    asking.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in asking.rows(SET)] == [1]
    assert asking.left_out == {"taken_down": 2, "withheld": 2}


def test_one_campaign_can_be_read_alone(asking: Asking) -> None:
    image, campaigns = asking.image(0), [asking.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None):
        asking.add(Document, image_id=image, campaign_id=campaign, **CHART)
    assert [(row["row_id"], row["campaign"]) for row in asking.rows(SET, campaign=campaigns[0])] == [(1, "one")]
    assert asking.count(SET, campaign=campaigns[0]) == 1


def test_pages_join_without_a_seam(asking: Asking) -> None:
    images, kinds = [asking.image(number) for number in range(3)], list(DocumentKind)
    asking.add_many(
        Document,
        [
            {
                "image_id": images[n % 3],
                "kind": kinds[n % 4],
                "code": f"draw({n})",
                "questions": [{"question": f"{n}.{i}?", "answer": f"{n}.{i}"} for i in range(1 + n % 3)],
            }
            for n in range(PAGE + 4)
        ],
    )
    pages = asking.pages(SET)
    assert [page.num_rows for page in pages] == [PAGE, 4]
    for row in pages[0].slice(PAGE - 8).to_pylist() + pages[1].to_pylist():
        number = row["row_id"] - 1
        answers = [f"{number}.{i}" for i in range(1 + number % 3)]
        assert row["questions"] == {"question": [f"{answer}?" for answer in answers], "answer": answers}
        assert (row["kind"], row["code"]) == (kinds[number % 4], f"draw({number})")
        assert row["image"] == asking.of_image(images[number % 3])["image_file"]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        ({"questions": []}, r"is a document without questions"),
        ({"questions": None}, r"is a document without questions"),
        ({"questions": [*ASKED, {"question": " ", "answer": "2024"}]}, r"has no question in one of its questions"),
        ({"questions": [*ASKED, {"question": "When?", "answer": ""}]}, r"has no answer in one of its questions"),
        ({"questions": [*ASKED, {"question": "When?"}]}, r"has no answer in one of its questions"),
        ({"questions": [None]}, r"has no question in one of its questions"),
        ({"questions": [{**ASKED[0], "hint": "look"}]}, r"holds what is no list<"),
        ({"questions": ["When?"]}, r"holds what is no list<"),
        ({"code": "\n"}, r"has no code"),
    ],
)
def test_a_document_that_says_too_little_is_refused_by_name(asking: Asking, wrong: dict[str, Any], what: str) -> None:
    image = asking.image(0)
    asking.add(Document, image_id=image, **{**CHART, "questions": ASKED * 3})
    asking.add(Document, image_id=image, **(CHART | wrong))
    asking.add(Document, image_id=image, **CHART)
    with pytest.raises(RowInvalid, match=rf"Row 2 {what}"):
        asking.rows(SET)


def test_a_call_that_carried_an_image_is_shown_to_have_seen_it(asking: Asking) -> None:
    asking.add(Document, image_id=asking.image(0), llm_call_ids=[asking.call(messages=PICTURE)], **CHART)
    [row] = asking.rows(SET)
    assert [(one["field"], one["saw_image"]) for one in row["steps"]] == [("image", False), ("questions", True)]
