import re

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pixmo.captions.tidy import richest, tidy


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("um a cat", "A cat."),
        ("a cat um sits, uh, here", "A cat sits, here."),
        ("there is the the cat", "There is the cat."),
        ("a red, a red car", "A red car."),
        ("it's it's on the left on the left is a tree", "It's on the left is a tree."),
        ("a wo- woman walks", "A woman walks."),
        ("so, you know, a cat", "So, a cat."),
        ("I mean, there are two. you know", "There are two."),
        ("It's blue, um.", "It's blue."),
        ("Um. Uh... there is , like , a dog", "There is, a dog."),
        ("i think i'm done", "I think I'm done."),
        ("a  cat\n\tsits", "A cat sits."),
        ("a cat,", "A cat."),
        ("one. two! three? four", "One. Two! Three? Four."),
        ("— a cat —", "— A cat."),
        ("", ""),
        ("um, uh.", ""),
        ("...", ""),
    ],
)
def test_hesitation_goes(spoken: str, written: str) -> None:
    assert tidy(spoken, "en") == written


@pytest.mark.parametrize(
    "text",
    [
        "You know the way.",
        "A very very big dog.",
        "He had had enough.",
        "A chair, a chair and a table.",
        "A chair a chair a chair.",
        "Two two three.",
        "New York New York.",
        'The sign says "um the the um".',
        '"stop" is written there.',
        "The ER is open, HA HA.",
        "A 35 mm lens, e.g. a prime.",
        "B B C in letters.",
        "It goes 1- 10 here.",
        "Is it a cat or...",
        "eBay and iPhone.",
        "www.example.com is on it.",
        "He said (um) no.",
    ],
)
def test_what_may_be_meant_stays(text: str) -> None:
    assert tidy(text, "en") == text


def test_german() -> None:
    spoken = "ähm da ist ein, ein Hund, sagen wir mal, um den Baum und er ist ist groß"
    assert tidy(spoken, "de") == "Da ist ein Hund, um den Baum und er ist groß."


def test_a_language_without_a_list_keeps_its_doubled_words() -> None:
    assert tidy("hmm orang orang besar", "id") == "Orang orang besar."


def test_chinese_ends_with_its_own_full_stop() -> None:
    assert tidy("一只猫在桌子上", "zh") == "一只猫在桌子上。"


def test_the_richest_text_states_most_and_the_first_wins() -> None:
    assert richest(["a cat a cat a cat a cat", "a black cat sleeps"], "en") == 1
    assert richest(["a black cat", "a white dog"], "en") == 0


def _words(text: str) -> list[str]:
    return [word.casefold() for word in re.findall(r"\w+", text)]


SPEECH = st.lists(
    st.sampled_from(
        [
            "um",
            "uh",
            "er",
            "hmm",
            "you",
            "know",
            "i",
            "mean",
            "like",
            "the",
            "the",
            "a",
            "a",
            "red",
            "red,",
            "car",
            "car.",
            "is",
            "is",
            "very",
            "very",
            "I",
            "NEW",
            "York",
            "york",
            "two",
            "2",
            "2.",
            "wo-",
            "woman",
            '"stop',
            'stop"',
            "(um)",
            "um,",
            "uh.",
            "—",
            "…",
            "...",
            ",",
            ".",
            "!",
            "e.g.",
            "J.",
            "don't",
            "iPhone",
            "一只猫",
            "äh",
            "ist",
            "er",
            "ß",
        ]
    ),
    max_size=30,
).map(" ".join)


@settings(max_examples=200, deadline=None)
@given(st.one_of(SPEECH, st.text(max_size=80)), st.sampled_from(["en", "de", "zh", "xx"]))
@example("ŉ ǰ ﬁ İ", "en")
@example("- - a", "en")
def test_no_word_is_ever_added_and_tidying_twice_changes_nothing(spoken: str, language: str) -> None:
    written = tidy(spoken, language)
    rest = iter(_words(spoken))
    assert all(word in rest for word in _words(written))
    assert tidy(written, language) == written
