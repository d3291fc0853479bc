"""Clean up spoken text by rule: only ever leave words out, change case and punctuation; never add or move a word."""

import re
from dataclasses import dataclass, replace

from pixmo.captions.words import Lexicon, is_abbreviation, is_unspaced, lexicon, quoted_spans, words

_PARTS = re.compile(r"(\W*)(.*?)(\W*)", re.DOTALL)
_END = re.compile(r"[.!?。！？]")
_PAUSE = re.compile(r"[\s,;:…–—-]*(?:\.{2,})?")
_LONGEST_REPETITION = 6


@dataclass(frozen=True)
class _Token:
    """A word with the punctuation before and after it. `kept`: inside quotation marks, where nothing is left out."""

    lead: str
    core: str
    tail: str
    kept: bool

    @property
    def form(self) -> str:
        return self.core.casefold().replace("’", "'")

    @property
    def shouted(self) -> bool:
        """Written in capitals, as signs and initials are: ER, HA."""
        return len(self.core) > 1 and self.core.isupper()


def tidy(text: str, language: str) -> str:
    """Take hesitation, false starts and stutters out of a transcript, and write it in sentences.

    Leaves out: fillers; parentheticals that commas fence off (", you know,"); broken-off words ("wo- woman");
    immediate repetitions ("the the", "a red, a red car"). Keeps anything that may be meant: quotations, words in
    capitals, numbers, names, doubled adverbs, lists of equal things. Where a language has no word list, only the
    sounds of hesitation go. Then: single spaces, capitals at sentence starts, a full stop at the end.

    The words of the result are a subsequence of the words of `text`, but for case. Deterministic and idempotent.
    """
    known = lexicon(language)
    tokens = _tokens(text)
    while (shorter := _shorten(tokens, known)) != tokens:
        tokens = shorter
    if not tokens:
        return ""
    tokens[-1] = _close(tokens[-1])
    return " ".join(token.lead + token.core + token.tail for token in _capitalise(tokens, known))


def richest(texts: list[str], language: str) -> int:
    """The index of the text that states most: most distinct content words; the first of equals."""
    known = lexicon(language)
    return max(range(len(texts)), key=lambda i: (len(known.content(texts[i])), len(words(texts[i])), -i))


def _tokens(text: str) -> list[_Token]:
    quoted = list(quoted_spans(text))
    tokens: list[_Token] = []
    opening = ""
    for match in re.finditer(r"\S+", text):
        lead, core, tail = _split(match[0])
        kept = any(start < match.end() and match.start() < end for start, end in quoted)
        if core:
            tokens.append(_Token(opening + lead, core, tail, kept))
            opening = ""
        elif not tokens:
            opening += lead + " "
        else:
            space = "" if lead[0] in ",.;:!?…)]" else " "
            tokens[-1] = replace(tokens[-1], tail=tokens[-1].tail + space + lead)
    return tokens


def _split(text: str) -> tuple[str, str, str]:
    match = _PARTS.fullmatch(text)
    return (match[1], match[2], match[3]) if match else ("", text, "")


def _shorten(tokens: list[_Token], known: Lexicon) -> list[_Token]:
    """Leave out the first thing that can go at each place."""
    result: list[_Token] = []
    i = 0
    while i < len(tokens):
        starts = not result or _ends_sentence(result[-1], known)
        if count := _hesitation(tokens, i, starts, known):
            gone = tokens[i + count - 1]
            if result and not starts and _ends_sentence(gone, known):
                result[-1] = replace(result[-1], tail=result[-1].tail.rstrip(" ,;:–—-") + gone.tail.strip())
            i += count
        else:
            count = _false_start(tokens, i, known)
            if not count:
                result.append(tokens[i])
            i += count or 1
    return result


def _hesitation(tokens: list[_Token], i: int, starts: bool, known: Lexicon) -> int:
    """How many tokens from `i` are a filler or a fenced parenthetical."""
    token = tokens[i]
    if token.lead or token.kept:
        return 0
    if token.form in known.fillers and not token.shouted and _is_plain(token.tail):
        return 1
    if not starts and not re.search(r"[,;:–—]\s*\Z", tokens[i - 1].tail):
        return 0
    for phrase in known.parentheticals:
        span = tokens[i : i + len(phrase)]
        if (
            tuple(token.form for token in span) == phrase
            and not any(token.tail for token in span[:-1])
            and not any(token.lead or token.kept or token.shouted for token in span)
            and _is_plain(span[-1].tail)
            and (span[-1].tail or i + len(phrase) == len(tokens))
        ):
            return len(phrase)
    return 0


def _is_plain(tail: str) -> bool:
    """Whether nothing but a pause or the end of a sentence would go with a token."""
    return re.fullmatch(r"[\s,;:.!?…–—-]*", tail) is not None


def _false_start(tokens: list[_Token], i: int, known: Lexicon) -> int:
    """How many tokens from `i` are said again right after, or break off within the next word."""
    token = tokens[i]
    if not known.known or token.lead or token.kept:
        return 0
    after = tokens[i + 1] if i + 1 < len(tokens) else None
    if after and token.tail in ("-", "–", "—") and token.core.isalpha() and not after.lead and not after.kept:
        said = after.form
        if said.startswith(token.form) and len(said) > len(token.form) and not token.shouted:
            return 1
    for n in range(min(_LONGEST_REPETITION, (len(tokens) - i) // 2), 0, -1):
        if _repeats(tokens[i : i + n], tokens[i + n : i + 2 * n], tokens[i + 2 * n : i + 2 * n + 1], known):
            return n
    return 0


def _repeats(first: list[_Token], second: list[_Token], after: list[_Token], known: Lexicon) -> bool:
    forms = [token.form for token in first]
    if forms != [token.form for token in second]:
        return False
    if any(token.lead or token.kept or not _PAUSE.fullmatch(token.tail) for token in first + second[:-1]):
        return False
    if second[-1].kept or any(token.lead for token in second):
        return False
    if all(form in known.doubled for form in forms) or any(_is_fixed(token, known) for token in first + second):
        return False
    if all(form in known.function for form in forms):
        return True
    if all(token.core[0].isupper() for token in second):
        return False
    if len(forms) == 1:
        return not first[0].tail
    if forms[0] not in known.function:
        return False
    if forms[0] not in known.articles:
        return True
    # "a red, a red car" starts anew, "a chair, a chair and" counts chairs: only a content word shows which.
    return bool(after) and not second[-1].tail and after[0].form not in known.function and not _counts(after[0], known)


def _is_fixed(token: _Token, known: Lexicon) -> bool:
    letter = len(token.core) == 1 and token.form not in known.function
    return letter or token.shouted or _counts(token, known)


def _counts(token: _Token, known: Lexicon) -> bool:
    return (
        any(letter.isdigit() for letter in token.core)
        or token.form in known.numbers
        or token.form in known.multipliers
    )  # fmt: skip


def _ends_sentence(token: _Token, known: Lexicon) -> bool:
    tail = token.tail.strip()
    if not _END.search(tail) or tail.startswith(".."):
        return False
    return tail != "." or not is_abbreviation(token.core, known)


def _capitalise(tokens: list[_Token], known: Lexicon) -> list[_Token]:
    result = []
    starts = True
    for token in tokens:
        if (starts and not re.search(r"[./@\d]", token.core)) or token.form in known.capital:
            first = token.core[0].upper()
            if token.core.islower() and len(first) == 1 and not token.kept:
                token = replace(token, core=first + token.core[1:])
        result.append(token)
        starts = _ends_sentence(token, known)
    return result


def _close(token: _Token) -> _Token:
    """The last token with the end of a sentence."""
    if re.search(r"[.!?…。！？]", token.tail):
        return token
    tail = token.tail.rstrip(" ,;:–—-")
    return replace(token, tail=tail + ("。" if is_unspaced(token.core) else "."))
