from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixmo.context import Context
from pixmo.export.models import Subject
from pixmo.export.pages import PAGE
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import MEANING, data_set
from pixmo.export.sources.point_explanations import SET, tag
from pixmo.questions.models import Explanation
from tests.export.sources.asking import DAY, by, made
from tests.export.sources.filling import Pointing

ASKED: dict[str, Any] = {
    "question": "Where is it hot?",
    "parts": [
        {"text": "Near the "},
        {"points": [[0.105, 0.2]], "inline": "kettle", "alt": "red kettle"},
        {"text": "."},
    ],
}


def group(*points: list[float], inline: str = "cups", alt: str = "blue cups") -> dict[str, Any]:
    return {"points": list(points), "inline": inline, "alt": alt}


@pytest.fixture
def store(context: Context) -> Pointing:
    return Pointing(context)


def test_the_set_is_found_by_its_name_and_every_column_has_a_meaning() -> None:
    assert data_set("point-explanations") is SET
    assert set(SET.enriched) <= {*SET.meaning, *MEANING}


def test_a_row_holds_the_answer_its_points_and_all_that_made_them(store: Pointing) -> None:
    person, campaign, call = store.person(), store.filler.campaign("explaining", language="de"), store.call()
    images = [store.image(0), store.image(1, "validation")]
    parts = [
        {"text": "The "},
        group([0.5, 0.2], [0.123456, 1], [0, 1 / 3]),
        {"text": ' are <b>"left"</b> &\nnext to '},
        group([1, 0.99949], inline='the "red" one', alt='<kettle> & "lid"'),
        {"text": ""},
        group([0.25, 0.25]),
    ]
    first = store.add(
        Explanation, image_id=images[0], question="Where?", parts=parts, campaign_id=campaign, llm_call_ids=[call],
        **person,
    )  # fmt: skip
    second = store.add(Explanation, image_id=images[1], question="How?\n", parts=[{"text": "It is é 水."}])
    asked, clicked = made("question", "human", saw=True), made("points", "human", saw=True)
    draft, answered = (
        made("response", "llm_text", "writer-1", "draft@1", saw=False),
        made("response", "human", saw=True),
    )
    assert store.rows(SET) == [
        {
            **store.of_image(images[0]), "row_id": first, "split": "train", "question": "Where?",
            "response": 'The <points x1="50.0" y1="20.0" x2="12.3" y2="100.0" x3="0.0" y3="33.3" alt="blue cups">cups'
            '</points> are <b>"left"</b> &\nnext to <point x="100.0" y="99.9" alt="<kettle> & "lid"">the "red" one'
            '</point><point x="25.0" y="25.0" alt="blue cups">cups</point>',
            "parsed_response": 'The <|POINT|> are <b>"left"</b> &\nnext to <|POINT|><|POINT|>',
            "alt_text": ["blue cups", '<kettle> & "lid"', "blue cups"],
            "inline_text": ["cups", 'the "red" one', "cups"],
            "points": [[[50.0, 20.0], [12.346, 100.0], [0.0, 33.333]], [[100.0, 99.949]], [[25.0, 25.0]]],
            "campaign": "explaining", "language": "de", "annotators": by(person), "consent_versions": ["2026-01"],
            "annotated_on": DAY, "agreement": None, "steps": [asked, clicked, draft, answered],
        },
        {
            **store.of_image(images[1]), "row_id": second, "split": "validation", "question": "How?\n",
            "response": "It is é 水.", "parsed_response": "It is é 水.", "alt_text": [], "inline_text": [],
            "points": [], "campaign": None, "language": None, "annotators": [], "consent_versions": [],
            "annotated_on": DAY, "agreement": None, "steps": [asked, clicked, answered],
        },
    ]  # fmt: skip
    assert store.count(SET) == 2


def test_plain_rows_have_the_published_columns_and_need_no_record_of_calls(store: Pointing) -> None:
    person, image = store.person(), store.image(3, "test")
    store.add(Explanation, image_id=image, llm_call_ids=["gone"], **ASKED, **person)
    of_image = store.of_image(image)
    assert store.rows(SET, enriched=False) == [
        {
            "image_url": "https://photos.example/3.jpg", "image_sha256": of_image["image_sha256"],
            "question": "Where is it hot?",
            "response": 'Near the <point x="10.5" y="20.0" alt="red kettle">kettle</point>.',
            "parsed_response": "Near the <|POINT|>.", "alt_text": ["red kettle"], "inline_text": ["kettle"],
            "points": [[[10.5, 20.0]]], "row_id": 1, "split": "test", "annotators": by(person),
            "original_sha256": of_image["original_sha256"],
        }
    ]  # fmt: skip


def test_the_newest_revision_stands_in_the_place_of_the_first(store: Pointing) -> None:
    image, one, other = store.image(0), store.person(), store.person()
    first, second, third = (store.add(Explanation, image_id=image, **ASKED, **one) for _ in range(3))
    store.add(Explanation, image_id=image, root_id=first, **ASKED | {"question": "Where is it?"}, **one)
    store.add(Explanation, image_id=image, root_id=first, **ASKED | {"question": "Where is heat?"}, **other)
    store.add(Explanation, image_id=image, root_id=second, retracted=True, question="", parts=[], **one)
    rows = store.rows(SET)
    assert [(row["row_id"], row["question"]) for row in rows] == [(first, "Where is heat?"), (third, ASKED["question"])]
    assert rows[0]["annotators"] == by(other)
    assert store.left_out == {"withdrawn": 1}


def test_what_was_taken_down_or_stands_in_no_split_is_left_out_and_counted(store: Pointing) -> None:
    silenced, heard = store.person(), store.person()
    images = [store.image(0), store.image(1), store.image(2, "withheld"), store.image(3, None)]
    for image in images:
        store.add(Explanation, image_id=image, **ASKED, **heard)
    store.add(Explanation, image_id=images[0], **ASKED, **silenced)
    store.take_down(Subject.image, images[1])
    store.take_down(Subject.annotator, silenced["user_id"])
    assert [row["row_id"] for row in store.rows(SET)] == [1]
    assert store.left_out == {"taken_down": 2, "withheld": 2}


def test_one_campaign_can_be_read_alone(store: Pointing) -> None:
    image, campaigns = store.image(0), [store.filler.campaign(name) for name in ("one", "two")]
    for campaign in (*campaigns, None, campaigns[1]):
        store.add(Explanation, image_id=image, campaign_id=campaign, **ASKED)
    rows = store.rows(SET, campaign=campaigns[1])
    assert [(row["row_id"], row["campaign"]) for row in rows] == [(2, "two"), (4, "two")]
    assert store.count(SET, campaign=campaigns[1]) == 2


def test_rows_go_on_over_pages(store: Pointing) -> None:
    image = store.image(0)
    rows = [{"image_id": image, "question": f"{n}?", "parts": [group([n / PAGE / 2, 0.5])]} for n in range(PAGE + 3)]
    store.add_many(Explanation, rows)
    pages = store.pages(SET, enriched=False)
    assert [page.num_rows for page in pages] == [PAGE, 3]
    last = pages[1].to_pylist()
    assert [row["question"] for row in last] == [f"{n}?" for n in range(PAGE, PAGE + 3)]
    assert last[0]["points"] == [[[50.0, 50.0]]]


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"question": " "}, r"has no question\. Correct or withdraw it"),
        ({"parts": []}, r"has no answer\. Correct or withdraw it"),
        ({"parts": [{"text": " \n"}, {"text": ""}]}, r"has no answer\."),
        ({"parts": [{"text": "x"}, group([0.5, 1.01])]}, r"has a point outside of its image \(y = 1\.01\)\."),
        ({"parts": [group([float("nan"), 0.5])]}, r"has a point outside of its image \(x = nan\)\."),
        ({"parts": [group([None, 0.5])]}, r"has a point outside of its image \(x = None\)\."),
        ({"parts": [{"text": "x"}, {}]}, r"has a part that is neither text nor points"),
        ({"parts": [None]}, r"has a part that is neither text nor points"),
        ({"parts": [group()]}, r"has a part that is neither text nor points"),
        ({"parts": [group([0.5])]}, r"has a part that is neither text nor points"),
        ({"parts": [group([0.5, 0.5, 0.5])]}, r"has a part that is neither text nor points"),
        ({"parts": [{"points": [[0.5, 0.5]], "inline": "x"}]}, r"has a part that is neither text nor points"),
        ({"parts": [{"points": [[0.5, 0.5]], "alt": "x"}]}, r"has a part that is neither text nor points"),
        ({"parts": [{"text": "x", **group([0.5, 0.5])}]}, r"has a part that is neither text nor points"),
        ({"parts": [{"text": "see <|POINT|>"}]}, r"has <\|POINT\|> in its text"),
        ({"parts": [{"text": "x", "bold": True}]}, r"holds what is no list"),
        ({"parts": [{"text": 7}]}, r"holds what is no list"),
        ({"parts": [group(["left", 0.5])]}, r"holds what is no list"),  # type: ignore[list-item]
        ({"parts": None}, r"has no answer\."),
    ],
)
def test_a_row_that_breaks_a_rule_is_named(store: Pointing, columns: dict[str, Any], reason: str) -> None:
    image = store.image(0)
    store.add(Explanation, image_id=image, **ASKED)
    bad = store.add(Explanation, image_id=image, **ASKED | columns)
    with pytest.raises(RowInvalid, match=rf"^Row {bad} {reason}"):
        store.rows(SET)


@pytest.mark.parametrize(
    ("points", "places"),
    [
        ([[45.05, 33.35]], 'point x="45.0" y="33.4"'),
        ([[0.0, 100.0]], 'point x="0.0" y="100.0"'),
        ([[-0.0, 0.04]], 'point x="0.0" y="0.0"'),
        ([[0.05, 0.15], [0.25, 0.35]], 'points x1="0.0" y1="0.2" x2="0.2" y2="0.4"'),
        ([[12.25, 12.35], [12.45, 12.55]], 'points x1="12.2" y1="12.4" x2="12.4" y2="12.6"'),
        ([[50.0, 20.0], [10.0, 80.0]], 'points x1="50.0" y1="20.0" x2="10.0" y2="80.0"'),
    ],
)
def test_numbers_are_spelt_as_molmo_spells_them(points: list[list[float]], places: str) -> None:
    name = places.split()[0]
    assert tag(points, "alt txt", "lbl") == f'<{places} alt="alt txt">lbl</{name}>'


@given(st.lists(st.lists(st.floats(0, 100), min_size=2, max_size=2), min_size=1, max_size=12))
def test_a_tag_tells_its_points_to_a_twentieth_of_a_percent(points: list[list[float]]) -> None:
    places = tag(points, "a", "b").split('"')[1:-3:2]
    assert [float(place) for place in places] == pytest.approx(
        [value for point in points for value in point], rel=0, abs=0.05 + 1e-9
    )
