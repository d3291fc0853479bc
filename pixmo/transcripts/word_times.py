"""When each word was said: from Whisper's own cross-attention, or from a wav2vec2 model that WhisperX aligns with."""

import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from pixmo.transcripts.quality import LANGUAGES_WITHOUT_SPACES, Segment
from pixmo.transcripts.weights import AsrUnavailable

BIAS_SECONDS = {"tiny.en": 0.11, "base": -0.06}
"""How much later than the sound cross-attention puts a word, by model, against known times of synthetic speech."""

_FRAMES_PER_SECOND = 100
_MAX_TOKENS = 440  # of the decoder's 448, the rest being its start sequence
_MIN_TIMED_SHARE = 0.9
_MAX_WORD_SECONDS = 5.0


class Word(TypedDict):
    """One word with its punctuation. Seconds from the start of the recording; None where it could not be placed.

    `confidence` is the mean probability of its tokens, or the score of the alignment, 0 to 1.
    """

    text: str
    start: float | None
    end: float | None
    confidence: float | None


def by_attention(
    model: Any, tokenizer: Any, encoded: Any, texts: Sequence[str], spans: Sequence[tuple[float, float]], bias_s: float
) -> list[list[Word]]:
    """Words of chunks by dynamic time warping over the cross-attention of the alignment heads.

    `encoded` is the encoder's output for all chunks, shape (chunks, frames, width), as the decoder has just used it,
    so that no second pass is needed; `spans` are the chunks' times in the recording.
    """
    tokens = [tokenizer.encode(text)[:_MAX_TOKENS] for text in texts]
    frames = [int(np.ceil(end - start)) * _FRAMES_PER_SECOND for start, end in spans]
    found = model.find_alignment(tokenizer, tokens, encoded, frames)
    words = []
    for text, span, pieces in zip(texts, spans, found, strict=True):
        placed = _place(_merge(pieces, tokenizer.language_code), span, bias_s)
        words.append(placed + _untimed(text, tokenizer.language_code)[len(placed) :])
    return words


def _merge(pieces: list[dict[str, Any]], language: str) -> list[dict[str, Any]]:
    """Join the tokenizer's pieces to words as written: split at spaces only, times from the letters alone."""
    merged: list[dict[str, Any]] = []
    spaced = language not in LANGUAGES_WITHOUT_SPACES
    for piece in pieces:
        letters = any(letter.isalnum() for letter in piece["word"])
        begins_word = piece["word"].startswith(" ") if spaced else letters
        if not merged or begins_word:
            merged.append({**piece, "probabilities": [piece["probability"]], "letters": letters})
            continue
        word = merged[-1]
        word["word"] += piece["word"]
        if letters:
            word["start"] = word["start"] if word["letters"] else piece["start"]
            word["end"] = piece["end"]
            word["letters"] = True
            word["probabilities"].append(piece["probability"])
    return [word for word in merged if word["word"].strip()]


def _place(pieces: list[dict[str, Any]], span: tuple[float, float], bias_s: float) -> list[Word]:
    earliest, latest = span
    words: list[Word] = []
    for piece in pieces:
        start = min(max(earliest, span[0] + float(piece["start"]) - bias_s), latest)
        end = min(max(start, span[0] + float(piece["end"]) - bias_s), latest)
        earliest = start
        words.append(
            Word(
                text=piece["word"].strip(),
                start=round(start, 3),
                end=round(end, 3),
                confidence=round(float(np.mean(piece["probabilities"])), 3),
            )
        )
    return words


def _untimed(text: str, language: str) -> list[Word]:
    parts = list(text.strip()) if language in LANGUAGES_WITHOUT_SPACES else text.split()
    return [Word(text=part, start=None, end=None, confidence=None) for part in parts]


class Aligner:
    """WhisperX's forced alignment with a wav2vec2 model, loaded once.

    `name` is a folder, a repository of the Hub or a pipeline of torchaudio.

    Raises:
        AsrUnavailable: the model is not on this machine and may not be downloaded, or is none for alignment.
    """

    def __init__(self, name: str, language: str, device: str, download: bool) -> None:
        import torchaudio
        from whisperx.alignment import load_align_model

        if name in torchaudio.pipelines.__all__ and not download:
            raise AsrUnavailable(
                f"PIXMO_ASR_ALIGN_MODEL={name} is downloaded by torchaudio. Set PIXMO_ASR_DOWNLOAD=true, or name a "
                "folder or a repository in the Hub's cache."
            )
        try:
            self._model, self._metadata = load_align_model(
                language, device, model_name=name, model_cache_only=not download
            )
        except (ValueError, OSError) as error:
            raise AsrUnavailable(
                f"The alignment model {name!r} of PIXMO_ASR_ALIGN_MODEL cannot be loaded. Name a folder of a "
                "Wav2Vec2ForCTC model with its processor, or unset it: word times then come from Whisper itself."
            ) from error
        self._device = device
        _provide_sentence_splitter()

    def align(self, segment: Segment, samples: NDArray[np.float32]) -> list[Word] | None:
        """Words of one segment of a recording; None where the alignment is not to be trusted.

        Known failures of it are segments without words, words far off on repeated text, and times running backwards.
        """
        from whisperx.alignment import align

        result = align([dict(segment)], self._model, self._metadata, samples, self._device)
        words = [
            Word(
                text=str(word["word"]),
                start=_optional(word.get("start")),
                end=_optional(word.get("end")),
                confidence=_optional(word.get("score")),
            )
            for word in result["word_segments"]
        ]
        return words if is_plausible(words, segment) else None


def is_plausible(words: Sequence[Word], segment: Segment) -> bool:
    """Whether times of a segment's words can be right: almost all present, in order, inside it, none endless."""
    timed = [(word["start"], word["end"]) for word in words if word["start"] is not None and word["end"] is not None]
    if not timed or len(timed) < _MIN_TIMED_SHARE * len(segment["text"].split()):
        return False
    return (
        all(first[0] <= second[0] for first, second in pairwise(timed))
        and timed[0][0] >= segment["start"] - 0.1
        and timed[-1][1] <= segment["end"] + 0.1
        and all(0 <= end - start <= _MAX_WORD_SECONDS for start, end in timed)
    )


def _optional(value: Any) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 3)


def _provide_sentence_splitter() -> None:
    """Let WhisperX find NLTK's sentence splitter without a download.

    It splits a segment into sentences before it aligns them. Where one ends does not matter for words, so untrained
    parameters do; installed ones are found first.
    """
    import nltk
    from whisperx.alignment import PUNKT_LANGUAGES

    root = Path(tempfile.gettempdir()) / "pixmo-nltk"
    for language in {"english", *PUNKT_LANGUAGES.values()}:
        folder = root / "tokenizers" / "punkt_tab" / language
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("abbrev_types.txt", "collocations.tab", "sent_starters.txt", "ortho_context.tab"):
            (folder / name).touch()
    if str(root) not in nltk.data.path:
        nltk.data.path.append(str(root))
