from typing import Any

import pytest

from pixmo.context import Context
from pixmo.export.models import Subject
from pixmo.export.pages import PAGE
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.ask_model_anything import SET
from pixmo.questions.models import Answer
from tests.export.sources.asking import DAY, INLINE, PICTURE, Asking, by, made

ASKED = {"question": "What is red?", "answer": "The kettle."}


@pytest.fixture
def asking(context: Context) -> Asking:
    return Asking(context)


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("ask-model-anything") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}


def test_a_row_holds_question_answer_image_and_all_that_made_them(asking: Asking) -> None:
    person, campaign = asking.person(), asking.filler.campaign("questions", language="de")
    images = [asking.image(0), asking.image(1, "validation")]
    calls = [asking.call(), asking.call("writer-2", "draft@2"), asking.call()]
    first = asking.add(
        Answer, image_id=images[0], campaign_id=campaign, llm_call_ids=[calls[1], calls[0], calls[1]], **ASKED, **person
    )
    second = asking.add(Answer, image_id=images[1], question="Why?\n", answer='"So" \\ é 水', llm_call_ids=[calls[2]])
    third = asking.add(Answer, image_id=images[0], question="Who?", answer="Nobody.", **person)
    asked, answered = made("question", "human", saw=True), made("answer", "human", saw=True)
    drafts = [made("answer", "llm_text", f"writer-{n}", f"draft@{n}", saw=False) for n in (1, 2)]
    nobody = {"campaign": None, "language": None, "annotators": [], "consent_versions": []}
    somebody = {"annotators": by(person), "consent_versions": ["2026-01"]}
    always = {"annotated_on": DAY, "agreement": None}
    assert asking.rows(SET) == [
        {
            **ASKED, **asking.of_image(images[0]), **always, **somebody, "row_id": first, "split": "train",
            "campaign": "questions", "language": "de", "answer_models": ["writer-2", "writer-1", "writer-2"],
            "steps": [asked, drafts[1], drafts[0], drafts[1], answered],
        },
        {
            **asking.of_image(images[1]), **always, **nobody, "row_id": second, "split": "validation",
            "question": "Why?\n", "answer": '"So" \\ é 水', "answer_models": ["writer-1"],
            "steps": [asked, drafts[0], answered],
        },
        {
            **asking.of_image(images[0]), **always, **nobody, **somebody, "row_id": third, "split": "train",
            "question": "Who?", "answer": "Nobody.", "answer_models": [], "steps": [asked, answered],
        },
    ]  # fmt: skip
    assert asking.count(SET) == 3


def test_plain_rows_have_the_published_columns_and_need_no_record_of_calls(asking: Asking) -> None:
    person, image = asking.person(), asking.image(3, "test")
    asking.add(Answer, image_id=image, llm_call_ids=["gone"], **ASKED, **person)
    of_image = asking.of_image(image)
    assert asking.rows(SET, enriched=False) == [
        {
            **ASKED, "image_url": "https://photos.example/3.jpg", "image_sha256": of_image["image_sha256"], "row_id": 1,
            "split": "test", "annotators": by(person), "original_sha256": of_image["original_sha256"],
        }
    ]  # fmt: skip


def test_the_newest_revision_stands_in_the_place_of_the_first(asking: Asking) -> None:
    image, one, other = asking.image(0), asking.person(), asking.person()
    first = asking.add(Answer, image_id=image, **ASKED, **one)
    second = asking.add(Answer, image_id=image, **ASKED, **one)
    third = asking.add(Answer, image_id=image, **ASKED, **one)
    asking.add(Answer, image_id=image, root_id=first, question="What is it?", answer="A pot.", **one)
    call = asking.call(prompt="draft@3")
    asking.add(
        Answer, image_id=image, root_id=first, question="What is it?", answer="A kettle.", llm_call_ids=[call], **other
    )
    asking.add(Answer, image_id=image, root_id=second, retracted=True, question="", answer="", **one)
    rows = asking.rows(SET)
    assert [(row["row_id"], row["question"], row["answer"]) for row in rows] == [
        (first, "What is it?", "A kettle."),
        (third, "What is red?", "The kettle."),
    ]
    assert rows[0]["annotators"] == by(other)
    assert rows[0]["steps"][1] == made("answer", "llm_text", "writer-1", "draft@3", saw=False)
    assert asking.left_out == {"withdrawn": 1}


def test_what_was_taken_down_or_stands_in_no_split_is_left_out_and_counted(asking: Asking) -> None:
    silenced, heard = asking.person(), asking.person()
    images = [asking.image(0), asking.image(1), asking.image(2, "withheld"), asking.image(3, None)]
    for image in images:
        asking.add(Answer, image_id=image, **ASKED, **heard)
    asking.add(Answer, image_id=images[0], **ASKED, **silenced)
    asking.take_down(Subject.image, images[1])
    asking.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in asking.rows(SET)] == [1]
    assert asking.left_out == {"taken_down": 2, "withheld": 2}


def test_one_campaign_can_be_read_alone(asking: Asking) -> None:
    image, campaigns = asking.image(0), [asking.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None, campaigns[1]):
        asking.add(Answer, image_id=image, campaign_id=campaign, **ASKED)
    rows = asking.rows(SET, campaign=campaigns[1])
    assert [(row["row_id"], row["campaign"]) for row in rows] == [(2, "two"), (4, "two")]
    assert asking.count(SET, campaign=campaigns[1]) == 2


def test_a_correction_of_an_early_page_keeps_its_place_and_its_calls(asking: Asking) -> None:
    images, calls = [asking.image(number) for number in range(3)], [asking.call(f"writer-{n}") for n in range(7)]
    asking.add_many(
        Answer,
        [
            {
                "image_id": images[n % 3],
                "question": f"{n}?",
                "answer": f"{n}.",
                "llm_call_ids": [calls[n % 7]] * (n % 4),
            }
            for n in range(PAGE + 5)
        ],
    )
    asking.add(Answer, image_id=images[2], root_id=2, question="1?", answer="One.", llm_call_ids=[calls[3]])
    pages = asking.pages(SET)
    assert [page.num_rows for page in pages] == [PAGE, 5]
    assert pages[0].slice(1, 1).select(["row_id", "answer", "answer_models"]).to_pylist() == [
        {"row_id": 2, "answer": "One.", "answer_models": ["writer-3"]}
    ]
    for row in pages[0].slice(PAGE - 9).to_pylist() + pages[1].to_pylist():
        number = row["row_id"] - 1
        assert (row["question"], row["answer"]) == (f"{number}?", f"{number}.")
        assert row["answer_models"] == [f"writer-{number % 7}"] * (number % 4)
        assert [one["model"] for one in row["steps"]] == [None, *row["answer_models"], None]
        assert row["image_file"] == asking.of_image(images[number % 3])["image_file"]


@pytest.mark.parametrize(
    ("wrong", "what"),
    [({"question": ""}, "no question"), ({"question": " \n\u3000"}, "no question"), ({"answer": "\t"}, "no answer")],
)
def test_an_empty_text_is_refused_by_name(asking: Asking, wrong: dict[str, Any], what: str) -> None:
    image = asking.image(0)
    asking.add(Answer, image_id=image, **ASKED)
    asking.add(Answer, image_id=image, **(ASKED | wrong))
    with pytest.raises(RowInvalid, match=rf"Row 2 has {what}\..*then export again"):
        asking.rows(SET)


@pytest.mark.parametrize(("calls", "missing"), [(["gone"], "gone"), ([None], "None")])
def test_a_call_without_a_record_is_refused_by_name(asking: Asking, calls: list[Any], missing: str) -> None:
    image = asking.image(0)
    asking.add(Answer, image_id=image, llm_call_ids=[asking.call()], **ASKED)
    asking.add(Answer, image_id=image, **ASKED)
    asking.add(Answer, image_id=image, llm_call_ids=[asking.call(), *calls], **ASKED)
    with pytest.raises(
        RowInvalid, match=rf"Row 3 names the language model call {missing}, of which there is no record"
    ):
        asking.rows(SET)


@pytest.mark.parametrize("messages", [PICTURE, INLINE], ids=["part", "data address"])
def test_a_call_that_carried_an_image_is_shown_to_have_seen_it(asking: Asking, messages: list[Any]) -> None:
    calls = [asking.call(), asking.call(messages=messages)]
    asking.add(Answer, image_id=asking.image(0), llm_call_ids=calls, **ASKED)
    [row] = asking.rows(SET)
    assert [(one["origin"], one["saw_image"]) for one in row["steps"]] == [
        ("human", True), ("llm_text", False), ("llm_text", True), ("human", True)
    ]  # fmt: skip
