import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixmo.captions.faithfulness import Flag, check
from pixmo.captions.tidy import tidy
from tests.captions.test_tidy import SPEECH


def tokens(caption: str, *said: str, language: str = "en") -> list[str]:
    return [flag.token for flag in check(caption, said, language)]


def test_added_words_and_numbers_are_flagged_with_their_sentence() -> None:
    caption = "A red kettle stands on a stove. Behind it, four cups gleam."
    assert check(caption, ["there is a red kettle on the stove, it stands there, and cups behind"], "en") == [
        Flag("added_number", "four", 1),
        Flag("added_word", "gleam", 1),
    ]


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("Three dogs", "3 dogs"),
        ("3 dogs", "three dogs"),
        ("21 cats", "twenty-one cats"),
        ("Twenty-one cats", "21 cats"),
        ("105 birds", "a hundred and five birds"),
        ("1,200 seats", "one thousand two hundred seats"),
        ("24 eggs", "two dozen eggs"),
        ("3000000 stars", "three million stars"),
        ("3000000 stars", "3 million stars"),
        ("built in 1990", "built nineteen ninety"),
        ("built in nineteen ninety", "built 1990"),
        ("number 555", "number five five five"),
        ("at 10:30", "ten thirty"),
        ("the 2nd car", "the second car"),
        ("one dog", "a dog"),
        ("a pair of dogs", "two dogs"),
    ],
)
def test_numbers_are_compared_by_value(caption: str, said: str) -> None:
    assert tokens(caption, said) == []


@pytest.mark.parametrize(
    ("caption", "said", "flagged"),
    [
        ("four dogs", "three dogs", ["four"]),
        ("31 cats", "twenty-one cats", ["31"]),
        ("twenty-two cats", "twenty-one cats", ["twenty-two"]),
        ("three animals", "two dogs and a cat are animals", ["three"]),
        ("1991", "nineteen ninety", ["1991"]),
        ("one dog", "two dogs", ["one"]),
    ],
)
def test_other_values_are_flagged(caption: str, said: str, flagged: list[str]) -> None:
    assert tokens(caption, said) == flagged


@pytest.mark.parametrize(
    ("caption", "said"),
    [
        ("Children are sitting", "a child sits"),
        ("A brightly coloured kite", "bright color kite"),
        ("The image shows a cat", "a cat"),
        ("A basketball", "a basket ball"),
        ("A basket ball", "a basketball"),
        ("A light-blue T-shirt", "light blue tshirt"),
        ('A sign reads "STOP"', "a sign reads s t o p"),
        ("The man's hat", "the man has a hat"),
        ("Grey walls", "gray wall"),
    ],
)
def test_the_same_in_other_words_is_not_flagged(caption: str, said: str) -> None:
    assert tokens(caption, said) == []


def test_quotations_must_have_been_said_as_they_stand() -> None:
    assert tokens('A sign says "the walks".', "a sign says walking") == ["the", "walks"]
    assert tokens('A sign says "no walking".', "a sign says no walking") == []


def test_any_transcript_will_do_and_omissions_are_no_fault() -> None:
    assert tokens("A red cat.", "a cat", "something red, huge and old") == []


def test_german() -> None:
    assert tokens("Drei rote Hunde laufen über 21 Felder. Ein Auto.", "drei roter hund läuft, einundzwanzig feld",
                  language="de") == ["Auto"]  # fmt: skip


def test_a_language_without_a_list_is_compared_by_longer_words_and_numerals() -> None:
    assert tokens("Kucing hitam di atas 3 meja besar", "kucing hitam di atas 2 meja", language="id") == ["3", "besar"]


def test_scripts_without_spaces_are_compared_by_numerals() -> None:
    assert tokens("桌子上有 3 只猫", "桌子上有 2 只猫", language="zh") == ["3"]


def test_a_tidied_transcript_has_no_flags() -> None:
    said = "um there's there's a a red kettle with 3 cups, you know, and a sign that says \"no entry\" at 10:30"
    assert check(tidy(said, "en"), [said], "en") == []


NUMBERS = st.lists(
    st.sampled_from(
        [
            "um",
            ",",
            "two",
            "hundred",
            "and",
            "five",
            "twenty",
            "one",
            "3",
            "1,200",
            "10:30",
            "dozen",
            "first",
            "S",
            "T",
            "O",
            "P",
            "basket",
            "ball",
            "a",
        ]
    ),
    max_size=20,
).map(" ".join)


@settings(max_examples=150, deadline=None)
@given(st.one_of(SPEECH, NUMBERS, st.text(max_size=60)), st.sampled_from(["en", "de", "xx"]))
@example("two um hundred", "en")
def test_tidying_never_earns_a_flag(said: str, language: str) -> None:
    assert check(tidy(said, language), [said], language) == []
