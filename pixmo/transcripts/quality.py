"""Checks on what the recogniser wrote. WhisperX itself has none: it gives text for noise, music and other languages.

A check never deletes anything. It adds flags, and an outcome that a person sees. First thresholds come from some forty
clips of synthetic speech and broken sound, which they separate without an error; they are where to start, no more.
"""

import re
import zlib
from collections.abc import Sequence
from typing import TypedDict

from pixmo.transcripts.models import Outcome
from pixmo.transcripts.vad import Region, seconds, seconds_within

MIN_VOICED_SECONDS = 1.0
"""Under this, Whisper is not asked: for a cough it would answer "Thank you."."""

MAX_COMPRESSION_RATIO = 2.4
MIN_AVG_LOGPROB = -0.7
MAX_WORDS_PER_MINUTE, MIN_WORDS_PER_MINUTE = 320, 40
MIN_WORDS = 5
SPARSE_SECONDS, SPARSE_WORDS_PER_SECOND = 5.0, 0.5
LANGUAGE_PROBABILITY = 0.5

LANGUAGES_WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue", "km", "bo"})
_LETTERS_PER_WORD = 2

INFORMATIVE = frozenset({"few_words"})
"""Flags that alone do not make a text suspect: campaigns have their own minimum of words."""

# What Whisper learnt from subtitles and writes when it hears nothing. Nobody ends a description with the first kind;
# the second kind people do say, so it counts only where it is all that a segment has.
_SUBTITLES = frozenset(
    {
        "thanks for watching",
        "thank you for watching",
        "thank you very much for watching",
        "thank you so much for watching",
        "please subscribe",
        "please subscribe to my channel",
        "like and subscribe",
        "subtitles by the amara org community",
        "see you in the next video",
        "i'll see you in the next video",
        "untertitel der amara org community",
        "untertitel im auftrag des zdf für funk",
        "vielen dank fürs zuschauen",
        "danke fürs zuschauen",
        "sous titres réalisés par la communauté d'amara org",
        "sous titres réalisés para la communauté d'amara org",
        "merci d'avoir regardé cette vidéo",
        "merci d'avoir regardé la vidéo",
        "subtítulos realizados por la comunidad de amara org",
        "gracias por ver el video",
        "obrigado por assistir",
        "grazie per aver guardato il video",
        "sottotitoli creati dalla comunità amara org",
        "ご視聴ありがとうございました",
        "请不吝点赞 订阅 转发 打赏支持明镜与点点栏目",
        "продолжение следует",
        "субтитры сделал dimatorzok",
    }
)
_PLEASANTRIES = frozenset(
    {
        "you",
        "you you",
        "bye",
        "bye bye",
        "okay",
        "oh",
        "thank you",
        "thank you very much",
        "thank you so much",
        "thanks",
        "music",
        "applause",
        "silence",
        "vielen dank",
        "danke",
        "merci",
        "gracias",
        "grazie",
        "obrigado",
    }
)


class Segment(TypedDict):
    """One chunk of up to 30 s as it was decoded. Times in seconds from the start of the recording."""

    start: float
    end: float
    text: str
    avg_logprob: float


def assess(
    segments: Sequence[Segment],
    regions: list[Region],
    language: str,
    heard: dict[str, float] | None = None,
) -> tuple[Outcome, list[str]]:
    """Outcome and flags of a transcription in the language that was asked for.

    `regions` is where the detector heard speech. `heard` is the probability of each language over the speech, from a
    multilingual model; None from an English one, which cannot tell.

    Flags: repetition (the text repeats itself), low_confidence (a segment the decoder itself doubts), fast and slow
    (words per minute of speech), few_words, stock_phrase (the whole text is what Whisper writes for no speech),
    sparse_segment (much speech, hardly a word), wrong_language, hallucination_suspected (one segment is a stock phrase,
    or has more words than its speech has time for).
    """
    voiced_s = seconds(regions)
    text = " ".join(segment["text"] for segment in segments)
    words = count_words(text, language)
    if voiced_s < MIN_VOICED_SECONDS or words == 0:
        return Outcome.no_speech, []
    per_minute = 60 * words / voiced_s
    checks = {
        "repetition": max(compression_ratio(segment["text"]) for segment in segments) > MAX_COMPRESSION_RATIO,
        "low_confidence": min(segment["avg_logprob"] for segment in segments) < MIN_AVG_LOGPROB,
        "fast": per_minute > MAX_WORDS_PER_MINUTE,
        "slow": per_minute < MIN_WORDS_PER_MINUTE,
        "few_words": words < MIN_WORDS,
        "stock_phrase": all(is_stock(sentence) for sentence in _sentences(text)),
        "sparse_segment": any(_is_sparse(segment, regions, language) for segment in segments),
        "wrong_language": heard is not None and _is_other_language(heard, language),
        "hallucination_suspected": any(_is_invented(segment, regions, language) for segment in segments),
    }
    flags = [name for name, holds in checks.items() if holds]
    return (Outcome.suspect if set(flags) - INFORMATIVE else Outcome.ok), flags


def count_words(text: str, language: str) -> int:
    """Words of a text; for a language written without spaces, an estimate from its letters."""
    if language in LANGUAGES_WITHOUT_SPACES:
        return -(-sum(letter.isalnum() for letter in text) // _LETTERS_PER_WORD)
    return sum(any(letter.isalnum() for letter in word) for word in text.split())


def compression_ratio(text: str) -> float:
    """Bytes per byte of their zlib compression; speech stays under 2.4, a decoder caught in a loop does not.

    The measure and its limit are those of Whisper (Radford et al. 2022, section 4.5).
    """
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_stock(sentence: str) -> bool:
    """Whether a sentence is one that Whisper writes when nobody speaks."""
    plain = _plain(sentence)
    return plain in _SUBTITLES or plain in _PLEASANTRIES


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w']+", " ", text.casefold()).split())


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in re.split(r"[.!?。！？]+(?:\s+|$)", text) if _plain(sentence)]


def _is_sparse(segment: Segment, regions: list[Region], language: str) -> bool:
    voiced_s = seconds_within(regions, segment["start"], segment["end"])
    return voiced_s > SPARSE_SECONDS and count_words(segment["text"], language) < SPARSE_WORDS_PER_SECOND * voiced_s


def _is_invented(segment: Segment, regions: list[Region], language: str) -> bool:
    sentences = _sentences(segment["text"])
    if sentences and (_plain(sentences[-1]) in _SUBTITLES or all(is_stock(sentence) for sentence in sentences)):
        return True
    voiced_s = seconds_within(regions, segment["start"], segment["end"])
    return count_words(segment["text"], language) > 3 + voiced_s * MAX_WORDS_PER_MINUTE / 60


def _is_other_language(heard: dict[str, float], language: str) -> bool:
    top = max(heard, key=lambda code: heard[code], default=language)
    return top != language and heard[top] > LANGUAGE_PROBABILITY
