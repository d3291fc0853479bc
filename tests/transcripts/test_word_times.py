from pathlib import Path

import numpy as np
import pytest
from faster_whisper.tokenizer import Tokenizer

from pixmo.transcripts import word_times
from pixmo.transcripts.asr import WhisperX
from pixmo.transcripts.quality import Segment
from pixmo.transcripts.weights import AsrUnavailable
from pixmo.transcripts.word_times import Aligner, Word, is_plausible

SEGMENT = Segment(start=10, end=20, text="a red dog runs", avg_logprob=-0.1)


def piece(word: str, start: float, end: float, probability: float = 1.0) -> dict[str, object]:
    return {"word": word, "start": start, "end": end, "probability": probability, "tokens": [1]}


def words(*times: tuple[float, float]) -> list[Word]:
    return [Word(text="x", start=start, end=end, confidence=1) for start, end in times]


class TestMerge:
    def test_words_are_split_at_spaces_only(self) -> None:
        pieces = [
            piece(' "', 0, 0.1),
            piece("Black", 0.1, 0.5, 0.5),
            piece("-", 0.5, 0.6),
            piece("and", 0.6, 0.7, 0.7),
            piece("-white", 0.7, 1.0, 0.9),
            piece('."', 1.0, 3.0, 0.1),
            piece(" It", 3.0, 3.2),
        ]
        merged = word_times._merge(pieces, "en")
        assert [word["word"].strip() for word in merged] == ['"Black-and-white."', "It"]

    def test_punctuation_does_not_stretch_a_word(self) -> None:
        merged = word_times._merge([piece(' "', 0, 0.4), piece("Black", 0.4, 0.9), piece(".", 0.9, 3)], "en")
        assert [(word["start"], word["end"]) for word in merged] == [(0.4, 0.9)]

    def test_scripts_without_spaces(self) -> None:
        merged = word_times._merge([piece("厨", 0, 0.2), piece("房", 0.2, 0.5), piece("。", 0.5, 2)], "zh")
        assert [(word["word"], word["end"]) for word in merged] == [("厨", 0.2), ("房。", 0.5)]

    def test_nothing(self) -> None:
        assert word_times._merge([], "en") == []


def test_place_shifts_by_the_bias_and_stays_in_the_chunk() -> None:
    pieces = word_times._merge([piece(" a", 0.05, 0.3), piece(" b", 0.3, 0.2), piece(" c", 9.9, 12)], "en")
    placed = word_times._place(pieces, (10, 20), 0.11)
    assert [(word["start"], word["end"]) for word in placed] == [(10, 10.19), (10.19, 10.19), (19.79, 20)]


def test_any_text_can_be_aligned(recogniser: WhisperX) -> None:
    """Text without a word, and more of it than the decoder takes: every word is there, with or without a time."""
    model = recogniser._by_language["en"].model
    tokenizer = Tokenizer(model.hf_tokenizer, multilingual=False)
    encoded = model.encode(np.zeros((4, 80, 3000), np.float32))
    texts = ["", " ...", " dog" * 1000, " A dog."]
    found = word_times.by_attention(model, tokenizer, encoded, texts, [(0, 5), (5, 10), (10, 40), (40, 45)], 0.1)
    assert [[word["text"] for word in words] for words in found] == [text.split() for text in texts]
    assert found[2][0]["start"] is not None
    assert found[2][-1] == {"text": "dog", "start": None, "end": None, "confidence": None}
    assert all(40 <= word["start"] <= word["end"] <= 45 for word in found[3])


def test_words_without_times() -> None:
    assert word_times._untimed("a dog", "en")[1] == {"text": "dog", "start": None, "end": None, "confidence": None}
    assert [word["text"] for word in word_times._untimed("厨房", "zh")] == ["厨", "房"]


@pytest.mark.parametrize(
    ("timed", "plausible"),
    [
        (words((10, 10.2), (10.2, 10.5), (10.6, 11), (11, 12)), True),
        ([], False),
        (words((10, 10.2), (10.2, 10.5)), False),  # half of the words are missing
        (words((10, 10.2), (10.6, 11), (10.2, 10.5), (11, 12)), False),  # backwards
        (words((9, 9.2), (10.2, 10.5), (10.6, 11), (11, 12)), False),  # before the segment
        (words((10, 10.2), (10.2, 10.5), (10.6, 11), (11, 21)), False),  # after it
        (words((10, 10.2), (10.2, 10.5), (10.6, 11), (11, 17)), False),  # endless
        ([Word(text="x", start=None, end=None, confidence=None)] * 4, False),
    ],
)
def test_is_plausible(timed: list[Word], plausible: bool) -> None:
    assert is_plausible(timed, SEGMENT) == plausible


class TestAligner:
    def test_a_model_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(AsrUnavailable, match="PIXMO_ASR_ALIGN_MODEL cannot be loaded"):
            Aligner(str(tmp_path / "none"), "en", "cpu", download=False)

    def test_a_model_that_would_be_downloaded(self) -> None:
        with pytest.raises(AsrUnavailable, match="PIXMO_ASR_DOWNLOAD=true"):
            Aligner("WAV2VEC2_ASR_BASE_960H", "en", "cpu", download=False)
