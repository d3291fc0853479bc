import hashlib

import pytest

from pixmo.accounts import consent


def test_changed_texts_get_a_new_version() -> None:
    """Whoever sees this fail has changed what people agreed to: raise `consent.VERSION`, then write down the hash."""
    digest = hashlib.sha256("\0".join(f"{key}\0{text}" for key, text in sorted(consent.TEXTS.items())).encode())
    assert (consent.VERSION, digest.hexdigest()) == (
        "1",
        "b635a19f6348eaafbd1722d2e5f8ac42c8f18482d4e508b293c76859ebc04aa9",
    )


@pytest.mark.parametrize(
    ("locale", "language"),
    [("en", "en"), ("de", "de"), ("de-AT", "de"), ("DE-at", "de"), ("fr", "en"), ("", "en"), ("\x00", "en")],
)
def test_text_in_the_language_of_the_page(locale: str, language: str) -> None:
    text = consent.current(locale)
    assert text.language == language
    assert text.text == consent.TEXTS[language]
    assert text.sha256 == hashlib.sha256(text.text.encode()).hexdigest()


def test_both_languages_say_the_same_things() -> None:
    english, german = (consent.TEXTS[language].split("\n\n") for language in ("en", "de"))
    assert len(english) == len(german)
