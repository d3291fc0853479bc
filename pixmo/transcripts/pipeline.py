"""WhisperX's pipeline with two parts exchanged: the voice detector, and a model that lets one listen in.

Importing this module imports torch and takes seconds; only `asr` does, when it loads a model.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from whisperx.asr import FasterWhisperPipeline, WhisperModel, load_model
from whisperx.diarize import Segment as SpeechSegment
from whisperx.vads import Vad

from pixmo.recordings.audio import SAMPLE_RATE
from pixmo.transcripts import vad, word_times
from pixmo.transcripts.quality import LANGUAGES_WITHOUT_SPACES, MIN_VOICED_SECONDS
from pixmo.transcripts.weights import AsrOptions, ModelChoice
from pixmo.transcripts.word_times import Word

Partial = Callable[[str], None]


class SileroVad(Vad):  # type: ignore[misc]  # whisperx has no types
    """The detector of `vad` behind WhisperX's interface; remembers what it found in the last recording."""

    def __init__(self) -> None:
        super().__init__(vad.THRESHOLD)
        self.regions: list[vad.Region] = []
        self.chunks: list[dict[str, Any]] = []

    @staticmethod
    def preprocess_audio(audio: NDArray[np.float32]) -> NDArray[np.float32]:
        return audio

    def __call__(self, audio: dict[str, Any], **kwargs: Any) -> list[SpeechSegment]:
        samples = audio["waveform"]
        self.regions = vad.speech_regions(samples)
        if vad.seconds(self.regions) < MIN_VOICED_SECONDS:
            return []
        padded = vad.pad(self.regions, len(samples) / SAMPLE_RATE)
        return [SpeechSegment(region.start, region.end, "UNKNOWN") for region in padded]

    def merge_chunks(
        self, segments: list[SpeechSegment], chunk_size: float, onset: float, offset: float | None = None
    ) -> list[dict[str, Any]]:
        self.chunks = Vad.merge_chunks(segments, chunk_size, onset, offset) if segments else []
        return self.chunks


class ListeningModel(WhisperModel):  # type: ignore[misc]  # whisperx has no types
    """WhisperX's model that, after each batch of chunks, takes word times and languages from the encoder's output.

    WhisperX throws that output away; asking for it again would double the encoder's work.
    """

    def start(self, detector: SileroVad, bias_s: float, on_partial: Partial | None) -> None:
        """Begin a recording whose chunks `detector` will find."""
        self._detector = detector
        self._bias_s = bias_s
        self._on_partial = on_partial
        self.texts: list[str] = []
        self.words: list[list[Word]] = []
        self._languages: list[dict[str, float]] = []

    @property
    def heard(self) -> dict[str, float] | None:
        """Mean probability of each language over the chunks; None from a model that knows only English."""
        if not self._languages:
            return None
        codes = self._languages[0]
        return {code: float(np.mean([chunk[code] for chunk in self._languages])) for code in codes}

    def encode(self, features: Any) -> Any:
        self._encoded = super().encode(features)
        return self._encoded

    def generate_segment_batched(
        self, features: Any, tokenizer: Any, options: Any, encoder_output: Any = None
    ) -> dict[str, Any]:
        output: dict[str, Any] = super().generate_segment_batched(features, tokenizer, options, encoder_output)
        texts = output["text"]
        chunks = self._detector.chunks[len(self.texts) : len(self.texts) + len(texts)]
        spans = [(float(chunk["start"]), float(chunk["end"])) for chunk in chunks]
        self.words += word_times.by_attention(self, tokenizer, self._encoded, texts, spans, self._bias_s)
        self.texts += texts
        if self.model.is_multilingual:
            for probabilities in self.model.detect_language(self._encoded):
                self._languages.append({token[2:-2]: probability for token, probability in probabilities})
        if self._on_partial is not None:
            self._on_partial(join(self.texts, tokenizer.language_code))
        return output


def join(texts: list[str], language: str) -> str:
    """Texts of consecutive chunks as one text."""
    separator = "" if language in LANGUAGES_WITHOUT_SPACES else " "
    return separator.join(text.strip() for text in texts if text.strip())


def load(choice: ModelChoice, options: AsrOptions) -> tuple[FasterWhisperPipeline, ListeningModel, SileroVad]:
    """WhisperX's pipeline around weights that are on this machine; nothing is downloaded."""
    folder = str(choice.weights)
    model = ListeningModel(
        folder,
        device=choice.device,
        compute_type=choice.compute_type,
        cpu_threads=options.threads,
        local_files_only=True,
    )
    detector = SileroVad()
    pipeline = load_model(
        folder,
        choice.device,
        compute_type=choice.compute_type,
        model=model,
        vad_model=detector,
        asr_options={"beam_size": options.beam_size},
        threads=options.threads,
    )
    return pipeline, model, detector
