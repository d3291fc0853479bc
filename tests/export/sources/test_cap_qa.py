import re
from typing import Any

import pytest

from pixmo.captions.models import Caption, CaptionMethod
from pixmo.context import Context
from pixmo.export.models import Subject
from pixmo.export.pages import PAGE
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.cap_qa import SET
from pixmo.questions.models import CaptionDialogue
from pixmo.tasks.models import Task
from tests.export.sources.asking import DAY, INLINE, PICTURE, Asking, by, made

PAIR = ["What is red?", "The kettle."]


@pytest.fixture
def asking(context: Context) -> Asking:
    return Asking(context)


def caption(asking: Asking, image: str, text: str) -> str:
    """A caption of the image in a campaign of its own; its id."""
    task = asking.add(Task, campaign_id=asking.filler.campaign(text), image_id=image)
    found: str = asking.add(Caption, task_id=task, revision=1, text=text, method=CaptionMethod.tidy, transcript_ids=[])
    return found


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("cap-qa") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}
    assert list(SET.enriched)[:6] == ["image_url", "question", "answer", "messages", "row_id", "image_sha256"]


def test_a_row_holds_the_turns_their_transcript_the_caption_and_all_that_made_them(asking: Asking) -> None:
    person, campaign = asking.person(), asking.filler.campaign("dialogues")
    images = [asking.image(0), asking.image(1, "test")]
    captions = [caption(asking, images[0], "A red kettle on a stove."), caption(asking, images[1], "A “é” 水.")]
    calls = [asking.call(prompt="dialogue@1"), asking.call("writer-2", "dialogue@1")]
    turns = ["What is red?", "The kettle.", "Where\nis it?", 'On the "stove".']
    first = asking.add(
        CaptionDialogue, image_id=images[0], campaign_id=campaign, caption_id=captions[0], messages=turns,
        llm_call_ids=calls,
    )  # fmt: skip
    second = asking.add(
        CaptionDialogue, image_id=images[1], caption_id=captions[1], messages=PAIR, llm_call_ids=calls[:1], **person
    )
    third = asking.add(CaptionDialogue, image_id=images[0], messages=["Hm?", "Yes."])
    written = [made("messages", "llm_text", f"writer-{n}", "dialogue@1", saw=False) for n in (1, 2)]
    nobody = {"campaign": None, "language": None, "annotators": [], "consent_versions": []}
    always = {"annotated_on": DAY, "agreement": None}
    assert asking.rows(SET) == [
        {
            **asking.of_image(images[0]), **nobody, **always, "row_id": first, "split": "train", "messages": turns,
            "question": "[USER] What is red? [ASSISTANT] The kettle. [USER] Where\nis it? [ASSISTANT]",
            "answer": 'On the "stove".', "campaign": "dialogues", "language": "en", "steps": written,
            "caption": "A red kettle on a stove.",
        },
        {
            **asking.of_image(images[1]), **nobody, **always, "row_id": second, "split": "test", "messages": PAIR,
            "question": "[USER] What is red? [ASSISTANT]", "answer": "The kettle.", "annotators": by(person),
            "consent_versions": ["2026-01"], "steps": [written[0], made("messages", "human", saw=True)],
            "caption": "A “é” 水.",
        },
        {
            **asking.of_image(images[0]), **nobody, **always, "row_id": third, "split": "train",
            "question": "[USER] Hm? [ASSISTANT]", "answer": "Yes.", "messages": ["Hm?", "Yes."], "steps": [],
            "caption": None,
        },
    ]  # fmt: skip
    assert asking.count(SET) == 3


def test_plain_rows_have_the_published_columns(asking: Asking) -> None:
    image = asking.image(1)
    asking.add(CaptionDialogue, image_id=image, messages=PAIR, llm_call_ids=["gone"])
    assert asking.rows(SET, enriched=False) == [
        {
            "image_url": "https://photos.example/1.jpg", "question": "[USER] What is red? [ASSISTANT]",
            "answer": "The kettle.", "messages": PAIR, "image_sha256": asking.of_image(image)["image_sha256"],
            "row_id": 1, "split": "train", "annotators": [],
            "original_sha256": asking.of_image(image)["original_sha256"],
        }
    ]  # fmt: skip


def test_the_transcript_taken_apart_gives_the_turns(asking: Asking) -> None:
    image = asking.image(0)
    for pairs in (1, 2, 3, 7):
        turns = [f"Turn [{n}] of {pairs}\n\n[user] [ USER ] é?" for n in range(2 * pairs)]
        asking.add(CaptionDialogue, image_id=image, messages=turns)
    rows = asking.rows(SET)
    assert len(rows) == 4
    for row in rows:
        before, *turns, after = re.split(r"\s*\[(?:USER|ASSISTANT)\]\s*", row["question"])
        assert (before, after) == ("", "")
        assert [*turns, row["answer"]] == row["messages"]
        markers = re.findall(r"\[USER\]|\[ASSISTANT\]", row["question"])
        assert markers == ["[USER]", "[ASSISTANT]"] * (len(row["messages"]) // 2)


def test_the_newest_revision_stands_in_the_place_of_the_first(asking: Asking) -> None:
    image, person = asking.image(0), asking.person()
    ids = [asking.add(CaptionDialogue, image_id=image, messages=PAIR, llm_call_ids=[asking.call()]) for _ in range(3)]
    kettles = [caption(asking, image, "A kettle."), caption(asking, image, "A red kettle.")]
    for text in kettles:
        asking.add(
            CaptionDialogue, image_id=image, root_id=ids[0], caption_id=text, messages=["Where?", "Here."], **person
        )
    asking.add(CaptionDialogue, image_id=image, root_id=ids[1], messages=[], retracted=True)
    rows = asking.rows(SET)
    assert [(row["row_id"], row["messages"], row["caption"]) for row in rows] == [
        (ids[0], ["Where?", "Here."], "A red kettle."),
        (ids[2], PAIR, None),
    ]
    assert [[one["origin"] for one in row["steps"]] for row in rows] == [["human"], ["llm_text"]]
    assert asking.left_out == {"withdrawn": 1}


def test_what_was_taken_down_or_stands_in_no_split_is_left_out_and_counted(asking: Asking) -> None:
    silenced = asking.person()
    images = [asking.image(0), asking.image(1), asking.image(2, "withheld"), asking.image(3, None)]
    for image in images:
        asking.add(CaptionDialogue, image_id=image, messages=PAIR)
    asking.add(CaptionDialogue, image_id=images[0], messages=PAIR, **silenced)
    asking.take_down(Subject.image, images[1])
    asking.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in asking.rows(SET)] == [1]
    assert asking.left_out == {"taken_down": 2, "withheld": 2}


def test_one_campaign_can_be_read_alone(asking: Asking) -> None:
    image, campaigns = asking.image(0), [asking.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None):
        asking.add(CaptionDialogue, image_id=image, campaign_id=campaign, messages=PAIR)
    assert [(row["row_id"], row["campaign"]) for row in asking.rows(SET, campaign=campaigns[1])] == [(2, "two")]
    assert asking.count(SET, campaign=campaigns[1]) == 1


def test_pages_join_without_a_seam(asking: Asking) -> None:
    images, call = [asking.image(number) for number in range(2)], asking.call()
    asking.add_many(
        CaptionDialogue,
        [
            {
                "image_id": images[n % 2],
                "messages": [f"{n}.{turn}" for turn in range(2 + 2 * (n % 3))],
                "llm_call_ids": [call] * (n % 2),
            }
            for n in range(PAGE + 3)
        ],
    )
    asking.add(CaptionDialogue, image_id=images[1], root_id=PAGE, messages=["New?", "New."])
    pages = asking.pages(SET)
    assert [page.num_rows for page in pages] == [PAGE, 3]
    assert pages[0].slice(PAGE - 1).select(["question", "answer"]).to_pylist() == [
        {"question": "[USER] New? [ASSISTANT]", "answer": "New."}
    ]
    for row in pages[0].slice(PAGE - 8, 7).to_pylist() + pages[1].to_pylist():
        number = row["row_id"] - 1
        turns = [f"{number}.{turn}" for turn in range(2 + 2 * (number % 3))]
        assert row["messages"] == turns
        assert re.findall(r"[\d.]+", row["question"]) == turns[:-1]
        assert row["answer"] == turns[-1]
        assert len(row["steps"]) == number % 2


@pytest.mark.parametrize(
    ("messages", "what"),
    [
        ([], r"has no messages, and a dialogue is pairs"),
        (None, r"has no messages"),
        (["Why?"], r"has an odd number of messages \(1\)"),
        (["Why?", "So.", "Really?"], r"has an odd number of messages \(3\)"),
        (["Why?", " \n"], r"has no text in one of its messages"),
        (["Why?", None], r"has no text in one of its messages"),
        (["Why?", "[USER] Why?"], r"has \[USER\] or \[ASSISTANT\] in a message"),
        (["Is [ASSISTANT] you?", "Yes."], r"has \[USER\] or \[ASSISTANT\] in a message"),
        (["Why?", 7], r"holds what is no list<"),
        ({"user": "Why?"}, r"holds what is no list<"),
    ],
)
def test_turns_that_are_no_dialogue_are_refused_by_name(asking: Asking, messages: Any, what: str) -> None:
    image = asking.image(0)
    asking.add(CaptionDialogue, image_id=image, messages=["Why?", "So.", "And?", "Then."])
    asking.add(CaptionDialogue, image_id=image, messages=messages)
    asking.add(CaptionDialogue, image_id=image, messages=PAIR)
    with pytest.raises(RowInvalid, match=rf"Row 2 {what}"):
        asking.rows(SET)


@pytest.mark.parametrize("messages", [PICTURE, INLINE], ids=["part", "data address"])
def test_a_call_that_carried_an_image_is_shown_to_have_seen_it(asking: Asking, messages: list[Any]) -> None:
    image, calls = asking.image(0), [asking.call(messages=messages), asking.call()]
    for call in calls:
        asking.add(CaptionDialogue, image_id=image, messages=PAIR, llm_call_ids=[call])
    assert [[one["saw_image"] for one in row["steps"]] for row in asking.rows(SET)] == [[True], [False]]
