import pytest

from pixmo.transcripts.models import Outcome
from pixmo.transcripts.quality import Segment, assess, compression_ratio, count_words, is_stock
from pixmo.transcripts.vad import Region

GOOD = "This is a photograph of a small kitchen counter in the morning, with a wooden cutting board on it."


def segment(text: str, start: float = 0, end: float = 7, avg_logprob: float = -0.1) -> Segment:
    return Segment(start=start, end=end, text=text, avg_logprob=avg_logprob)


def flags(text: str, voiced: float = 7, avg_logprob: float = -0.1) -> list[str]:
    outcome, found = assess([segment(text, 0, voiced, avg_logprob)], [Region(0, voiced)], "en")
    assert (outcome is Outcome.ok) == (set(found) <= {"few_words"})
    return found


def test_good_speech_has_no_flags() -> None:
    assert flags(GOOD) == []


@pytest.mark.parametrize(
    ("text", "voiced", "avg_logprob", "expected"),
    [
        ("of the land " * 40, 28, -0.2, ["repetition"]),
        ("of the land " * 40, 7, -0.2, ["repetition", "fast", "hallucination_suspected"]),
        (GOOD, 7, -0.9, ["low_confidence"]),
        ("Thank you.", 1.2, -0.3, ["few_words", "stock_phrase", "hallucination_suspected"]),
        ("Thank you very much for watching.", 3, -0.3, ["stock_phrase", "hallucination_suspected"]),
        ("Bye. Thank you. You.", 4, -0.3, ["few_words", "stock_phrase", "hallucination_suspected"]),
        (GOOD + " Please subscribe to my channel.", 9, -0.1, ["hallucination_suspected"]),
        (GOOD + " Thank you.", 8, -0.1, []),
        ("A red dog runs.", 2, -0.1, ["few_words"]),
        ("A red dog.", 20, -0.1, ["slow", "few_words", "sparse_segment"]),
    ],
)
def test_flags(text: str, voiced: float, avg_logprob: float, expected: list[str]) -> None:
    assert flags(text, voiced, avg_logprob) == expected


@pytest.mark.parametrize(
    ("text", "voiced"), [(GOOD, 0.9), ("", 5), (". . .", 5), ("♪ ♪", 30)], ids=["cough", "empty", "dots", "notes"]
)
def test_no_speech(text: str, voiced: float) -> None:
    assert assess([segment(text)], [Region(0, voiced)], "en") == (Outcome.no_speech, [])
    assert assess([], [], "en") == (Outcome.no_speech, [])


def test_one_bad_segment_among_good_ones() -> None:
    good = [segment(GOOD, 0, 7), segment(GOOD, 7, 14)]
    regions = [Region(0, 7), Region(7, 14), Region(20, 21)]
    assert assess(good, regions, "en") == (Outcome.ok, [])
    invented = [*good, segment("Thank you.", 19.8, 21.2)]
    assert assess(invented, regions, "en") == (Outcome.suspect, ["hallucination_suspected"])
    doubted = [*good, segment("all kitchen", 19.8, 21.2, -1.28)]
    assert assess(doubted, regions, "en") == (Outcome.suspect, ["low_confidence"])


def test_a_long_pause_inside_a_segment_is_not_sparse() -> None:
    outcome, found = assess([segment(GOOD, 0, 30)], [Region(0, 3.5), Region(26, 29.5)], "en")
    assert (outcome, found) == (Outcome.ok, [])


@pytest.mark.parametrize(
    ("heard", "wrong"),
    [
        (None, False),
        ({"en": 0.9, "de": 0.1}, False),
        ({"en": 0.1, "de": 0.8}, True),
        ({"en": 0.35, "de": 0.45, "nl": 0.2}, False),
    ],
)
def test_wrong_language(heard: dict[str, float] | None, wrong: bool) -> None:
    outcome, found = assess([segment(GOOD)], [Region(0, 7)], "en", heard)
    assert ("wrong_language" in found) == wrong
    assert outcome is (Outcome.suspect if wrong else Outcome.ok)


@pytest.mark.parametrize(
    ("text", "language", "count"),
    [
        ("One, two — three!", "en", 3),
        ("It's a well-known one.", "en", 4),
        ("", "en", 0),
        ("这是一张厨房的照片。", "zh", 5),
    ],
)
def test_count_words(text: str, language: str, count: int) -> None:
    assert count_words(text, language) == count


def test_compression_ratio() -> None:
    assert compression_ratio(GOOD) < 1.5
    assert compression_ratio("of the land " * 20) > 2.4
    assert compression_ratio("") == 0


@pytest.mark.parametrize("text", ["Thank you.", " thanks for watching! ", "Vielen Dank.", "you", "[Music]"])
def test_stock(text: str) -> None:
    assert is_stock(text)
    assert not is_stock(text + " of apples")
