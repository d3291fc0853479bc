"""What a caption says that nobody said: content words and numbers that no transcript holds.

Works on words alone, so it needs neither a model nor the image. It errs on the side of flagging: a flag asks a person
to look. Omissions are not flagged.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pixmo.captions.tidy import tidy
from pixmo.captions.words import Lexicon, Word, is_unspaced, lexicon, numerals, quoted_spans, sentence_starts, words

_SHORT_WORD = 4
_LONGEST_CONCATENATION = 12


@dataclass(frozen=True)
class Flag:
    """A word or number of the caption that no transcript holds. `sentence` counts from 0."""

    kind: Literal["added_word", "added_number"]
    token: str
    sentence: int


def check(caption: str, transcripts: Sequence[str], language: str) -> list[Flag]:
    """Compare a caption with everything that was said about the image; flags in the order of the caption.

    Words are compared by stem where the language has a word list, without function words and words about the image
    as such ("the photo shows"). Inside quotation marks every word must have been said as it stands. Numbers are
    compared by value: "three", "3" and "third" are equal, so are "nineteen ninety" and "1990"; a single thing may be
    called one. Languages without a word list are compared by the beginnings of longer words; scripts without spaces
    only by their numerals.
    """
    known = lexicon(language)
    # Hesitation may stand between the parts of a number or a word: "two um hundred".
    spoken = _Spoken([*transcripts, *(tidy(text, language) for text in transcripts)], known)
    starts = sentence_starts(caption, known)
    quoted = list(quoted_spans(caption))
    said = words(caption)
    flags: list[Flag] = []

    def flag(kind: Literal["added_word", "added_number"], first: Word, last: Word) -> None:
        sentence = sum(start <= first.start for start in starts) - 1
        flags.append(Flag(kind, caption[first.start : last.end], sentence))

    for begin, end, values in _numbers(said, known):
        together = int("".join(map(str, values)))
        if not all(value in spoken.numbers for value in values) and together not in spoken.numbers:
            flag("added_number", said[begin], said[end - 1])
        said[begin:end] = [Word("", "", -1, -1)] * (end - begin)
    for i, word in enumerate(said):
        if not word.form or is_unspaced(word.form):
            continue
        exact = any(start < word.start and word.end < end for start, end in quoted)
        neighbours = (said[i - 1].form + word.form if i else "", word.form + said[i + 1].form if said[i + 1 :] else "")
        if not spoken.holds(word.form, exact=exact) and not spoken.forms.intersection(neighbours):
            flag("added_word", word, word)
    return sorted(flags, key=lambda item: item.sentence)


class _Spoken:
    """All words and numbers of some transcripts."""

    def __init__(self, transcripts: Sequence[str], known: Lexicon) -> None:
        self.known = known
        self.forms: set[str] = set()
        self.numbers: set[int] = set()
        for text in transcripts:
            said = words(text)
            forms = [word.form for word in said]
            self.forms.update(forms)
            self.forms.update(a + b for a, b in pairwise(forms))
            self.forms.update(_spelled(forms))
            for _, _, values in _numbers(said, known):
                self.numbers.update(values)
                for i in range(len(values)):
                    for j in range(i + 1, min(len(values), i + _LONGEST_CONCATENATION) + 1):
                        self.numbers.add(int("".join(map(str, values[i:j]))))
        if self.forms & known.one:
            self.numbers.add(1)
        self.stems = {known.stem(form) for form in self.forms} | {known.stem(word) for word in known.framing}

    def holds(self, form: str, *, exact: bool) -> bool:
        if form in self.forms or exact:
            return form in self.forms
        short = len(form) < _SHORT_WORD and not self.known.known
        return short or form in self.known.function or self.known.stem(form) in self.stems


def _spelled(forms: list[str]) -> Iterator[str]:
    """Words that were spelled letter by letter: S T O P."""
    for i in range(len(forms)):
        for j in range(i + 2, min(len(forms), i + 20) + 1):
            if len(forms[j - 1]) != 1 or len(forms[i]) != 1:
                break
            yield "".join(forms[i:j])


def _numbers(said: Sequence[Word], known: Lexicon) -> Iterator[tuple[int, int, list[int]]]:
    """Runs of numbers in a text as (first word, end, values): "two hundred and five" has one, "ten thirty" two."""
    i = 0
    while i < len(said):
        values, end = _run(said, i, known)
        if values:
            yield i, end, values
        i = max(end, i + 1)


def _run(said: Sequence[Word], begin: int, known: Lexicon) -> tuple[list[int], int]:
    values: list[int] = []
    total = current = 0
    open_ = False  # whether `total + current` is a number still growing
    i = begin
    while i < len(said):
        form = said[i].form
        if digits := numerals(form):
            if open_:
                values.append(total + current)
                open_, total, current = False, 0, 0
            values += digits
            i += 1
            # "3 million": the last numeral goes on as words.
            if i < len(said) and said[i].form in known.multipliers:
                current, open_ = values.pop(), True
            continue
        if form in known.multipliers:
            factor = known.multipliers[form]
            if factor < 1000:
                current = max(current, 1) * factor
            else:
                total, current = total + max(current, 1) * factor, 0
        elif form in known.numbers:
            value = known.numbers[form]
            fits = not open_ or (total and not current) or _continues(current, value)
            if not fits:
                values.append(total + current)
                total = current = 0
            current += value
        elif form in ("and", "und") and open_ and (total + current) % 100 == 0 and _is_number(said, i + 1, known):
            i += 1
            continue
        else:
            break
        open_ = True
        i += 1
    if open_:
        values.append(total + current)
    return values, i


def _continues(current: int, value: int) -> bool:
    """Whether a number word adds to what was said before: "twenty" one, "two hundred" five."""
    if current >= 100 and current % 100 == 0:
        return value < 100
    return current % 10 == 0 and current % 100 >= 20 and 0 < value < 10


def _is_number(said: Sequence[Word], i: int, known: Lexicon) -> bool:
    return i < len(said) and said[i].form in known.numbers
