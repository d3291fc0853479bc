"""Words, numbers and sentences of a text, with what is known about its language (`words/*.toml`)."""

import re
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

_WORD = re.compile(r"\d+(?:[.,:]\d+)+|[^\W_]+(?:['’][^\W_]+)*")
_THOUSANDS = re.compile(r"\d{1,3}(?:,\d{3})+")
_NUMERAL = re.compile(r"\d[\d.,:]*(?:st|nd|rd|th|s)?")
_SENTENCE_END = re.compile(r"""[.!?…]+["'”’»)\]]*(?=\s|\Z)|[。！？]+""")
_MOST_SUFFIXES = 4
_QUOTED = re.compile(r'"[^"]+"|“[^“”]+”|„[^„“”]+[“”]|«[^«»]+»')


@dataclass(frozen=True)
class Lexicon:
    """What is known about one language. All words are case-folded.

    `known` is False for a language without a list of its own: then there are only fillers of every language.
    """

    known: bool
    fillers: frozenset[str]
    parentheticals: tuple[tuple[str, ...], ...]
    articles: frozenset[str]
    doubled: frozenset[str]
    capital: frozenset[str]
    abbreviations: frozenset[str]
    function: frozenset[str]
    framing: frozenset[str]
    one: frozenset[str]
    same: Mapping[str, str]
    numbers: Mapping[str, int]
    multipliers: Mapping[str, int]
    suffixes: Mapping[str, str]

    def stem(self, word: str) -> str:
        """What the inflected forms of a word have in common; for comparing, not for reading."""
        if not self.known:
            return word[:5]
        stem = word
        for _ in range(_MOST_SUFFIXES):
            stem = self._shorten(self.same.get(stem, stem))
        if len(stem) > 3:
            stem = stem.removesuffix("e")
        return stem[:-1] if len(stem) > 3 and stem[-1] == stem[-2] else stem

    def _shorten(self, word: str) -> str:
        for suffix, replacement in self.suffixes.items():
            base = word.removesuffix(suffix)
            if base != word and len(base) >= 3 and any(letter in "aeiouyäöü" for letter in base):
                return base + replacement
        return word

    def content(self, text: str) -> set[str]:
        """The stems of the words that state something."""
        forms = {word.form for word in words(text)}
        return {self.stem(form) for form in forms - self.function - self.framing - self.fillers}


@dataclass(frozen=True)
class Word:
    """A word as written, its case-folded form without possessive, and where it stands."""

    text: str
    form: str
    start: int
    end: int


@cache
def lexicon(language: str) -> Lexicon:
    """The lexicon of a language code such as `en` or `de-AT`."""
    common = _load("any")
    own = _load(re.split(r"[-_]", language.lower())[0])

    def folded(key: str) -> frozenset[str]:
        return frozenset(word.casefold() for word in own.get(key, []))

    same: dict[str, str] = {}
    for line in own.get("same", []):
        first, *others = line.casefold().split()
        same.update((other, first) for other in others)
    numbers = {word.casefold(): value for word, value in own.get("numbers", {}).items()}
    return Lexicon(
        known=bool(own),
        fillers=folded("fillers") | frozenset(common["fillers"]),
        parentheticals=tuple(sorted(tuple(phrase.split()) for phrase in folded("parentheticals"))),
        articles=folded("articles"),
        doubled=folded("doubled"),
        capital=folded("capital"),
        abbreviations=folded("abbreviations"),
        function=folded("function"),
        framing=folded("framing"),
        one=folded("one"),
        same=same,
        numbers=numbers | _compounds(own.get("compounds", {}), numbers),
        multipliers=own.get("multipliers", {}),
        suffixes=own.get("suffixes", {}),
    )


def _load(language: str) -> dict[str, Any]:
    file = resources.files("pixmo.captions") / "words" / f"{language}.toml"
    return tomllib.loads(file.read_text("utf-8")) if language.isalpha() and file.is_file() else {}


def _compounds(units: Mapping[str, int], numbers: Mapping[str, int]) -> dict[str, int]:
    """German numbers written as one word, up to 999 in steps that people say: einundzwanzig, dreihundert."""
    tens = {word: value for word, value in numbers.items() if 20 <= value < 100 and value % 10 == 0}
    joined = {f"{unit}und{ten}": a + b for unit, a in units.items() for ten, b in tens.items()}
    return joined | {f"{unit}hundert": 100 * value for unit, value in units.items()}


def fold(text: str) -> str:
    """The form in which words are compared: case-folded, plain apostrophe, no possessive."""
    form = unicodedata.normalize("NFC", text).casefold().replace("’", "'")
    return form.removesuffix("'s") or form


def words(text: str) -> list[Word]:
    """The words and numerals of a text; a hyphenated word is several."""
    return [Word(match[0], fold(match[0]), match.start(), match.end()) for match in _WORD.finditer(text)]


def numerals(form: str) -> list[int]:
    """The integers written in digits in one word: 1,200 is one, 10:30 two, 1990s one, mp3 none."""
    if _NUMERAL.fullmatch(form) is None:
        return []
    if _THOUSANDS.fullmatch(form):
        return [int(form.replace(",", ""))]
    return [int(group) for group in re.findall(r"\d+", form)]


def sentence_starts(text: str, known: Lexicon) -> list[int]:
    """Where the sentences of a text begin, as character offsets."""
    starts = [0]
    for end in _SENTENCE_END.finditer(text):
        if not _abbreviated(text[: end.start()], end[0], known) and text[end.end() :].strip():
            starts.append(end.end())
    return starts


def _abbreviated(before: str, end: str, known: Lexicon) -> bool:
    if end != ".":
        return end.startswith(("...", "…"))
    return is_abbreviation(re.split(r"[\s(]", before)[-1], known)


def is_abbreviation(word: str, known: Lexicon) -> bool:
    """Whether a full stop after `word` does not end a sentence: e.g., J."""
    return word.casefold() in known.abbreviations or (len(word) == 1 and word.isupper() and word != "I")


def quoted_spans(text: str) -> Iterator[tuple[int, int]]:
    """Where a text quotes, as (start, end) offsets with the marks."""
    for match in _QUOTED.finditer(text):
        yield match.start(), match.end()


def is_unspaced(text: str) -> bool:
    """Whether a text is written in a script without spaces between words (Chinese, Japanese)."""
    return any(unicodedata.east_asian_width(letter) == "W" for letter in text)
