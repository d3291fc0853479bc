import pytest

from pixmo.captions.words import fold, lexicon, numerals, quoted_spans, sentence_starts, words

EN = lexicon("en")


@pytest.mark.parametrize(
    "forms",
    [
        ("sit", "sits", "sitting", "sat"),
        ("make", "makes", "making", "made"),
        ("tree", "trees"),
        ("dress", "dresses", "dressed"),
        ("glass", "glasses"),
        ("box", "boxes"),
        ("family", "families"),
        ("building", "buildings", "built"),
        ("stripe", "stripes", "striped"),
        ("bright", "brightly"),
        ("colour", "color", "colors", "colours"),
        ("child", "children"),
        ("shoe", "shoes"),
        ("bus", "buses"),
        ("wear", "worn", "wearing"),
    ],
)
def test_inflected_forms_have_one_stem(forms: tuple[str, ...]) -> None:
    assert len({EN.stem(form) for form in forms}) == 1


@pytest.mark.parametrize("pair", [("red", "read"), ("cat", "car"), ("king", "kin"), ("string", "str"), ("bus", "but")])
def test_different_words_have_different_stems(pair: tuple[str, str]) -> None:
    assert EN.stem(pair[0]) != EN.stem(pair[1])


def test_german_stems_and_compound_numbers() -> None:
    german = lexicon("de-AT")
    assert len({german.stem(form) for form in ("rot", "rote", "roter", "rotes", "roten")}) == 1
    assert german.numbers[fold("einundzwanzig")] == 21
    assert german.numbers[fold("Achthundert")] == 800


def test_a_language_without_a_list_knows_only_hesitation() -> None:
    unknown = lexicon("xx")
    assert not unknown.known
    assert unknown.fillers == lexicon("../secrets").fillers
    assert "hmm" in unknown.fillers
    assert "um" not in unknown.fillers


def test_um_and_er_are_words_in_german() -> None:
    assert not lexicon("de").fillers & {"um", "er"}


def test_words_stand_where_they_stand() -> None:
    text = "The man’s T-shirt, 3.5 kg."
    assert [word.text for word in words(text)] == ["The", "man’s", "T", "shirt", "3.5", "kg"]
    assert [word.form for word in words(text)] == ["the", "man", "t", "shirt", "3.5", "kg"]
    assert all(text[word.start : word.end] == word.text for word in words(text))


@pytest.mark.parametrize(
    ("form", "values"),
    [("3", [3]), ("1,200", [1200]), ("10:30", [10, 30]), ("1990s", [1990]), ("2nd", [2]), ("mp3", []), ("3d", [])],
)
def test_numerals(form: str, values: list[int]) -> None:
    assert numerals(form) == values


def test_sentences_begin_after_their_ends_only() -> None:
    text = 'A cat, e.g. a tabby. It says "Hi." J. Smith... waits! Is it 3.5 m?  Yes'
    starts = sentence_starts(text, EN)
    pieces = [text[a:b].strip() for a, b in zip(starts, [*starts[1:], None], strict=True)]
    assert pieces == ["A cat, e.g. a tabby.", 'It says "Hi."', "J. Smith... waits!", "Is it 3.5 m?", "Yes"]


def test_quotations() -> None:
    text = 'A "red" sign, “stop”, „halt“ and «arrêt» but 5" wide'
    assert [text[a:b] for a, b in quoted_spans(text)] == ['"red"', "“stop”", "„halt“", "«arrêt»"]
