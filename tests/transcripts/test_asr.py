import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from pixmo.recordings.audio import SAMPLE_RATE, decode
from pixmo.recordings.gate import voiced_frames
from pixmo.transcripts.asr import AsrOptions, AsrUnavailable, Transcription, WhisperX
from pixmo.transcripts.models import Outcome
from pixmo.transcripts.weights import PACKAGE_SHA256
from tests.recordings.sounds import SPEECH, noise, sound, speech, tone
from tests.transcripts.conftest import Network
from tests.transcripts.random_models import multilingual_whisper, wav2vec2
from tests.transcripts.wer import word_error_rate

SHORT = ["01_kitchen", "02_street", "03_beach_dog", "04_poster", "05_workbench"]
LONG = "01_kitchen.slt.m4a"

Transcribe = Callable[[str], Transcription]


@pytest.mark.parametrize("name", SHORT)
def test_short_takes(name: str, transcribed: Transcribe) -> None:
    result = transcribed(f"short/{name}.joe.webm")
    truth = (SPEECH / "short" / f"{name}.txt").read_text()
    assert word_error_rate(truth, result.text) < 0.10
    assert (result.outcome, result.flags) == (Outcome.ok, [])
    assert len(result.segments) == 1


def test_a_minute_of_another_voice_in_another_container(transcribed: Transcribe) -> None:
    result = transcribed(LONG)
    truth = (SPEECH / "01_kitchen.txt").read_text()
    assert word_error_rate(truth, result.text) < 0.10
    assert (result.outcome, result.flags) == (Outcome.ok, [])
    assert len(result.segments) == 3
    assert all(segment["end"] - segment["start"] <= 30 for segment in result.segments)


def test_says_how_it_was_made(transcribed: Transcribe) -> None:
    result = transcribed("short/01_kitchen.joe.webm")
    assert (result.model, result.model_sha256, result.model_revision) == ("tiny.en", PACKAGE_SHA256, "0.1.0")
    assert result.versions["whisperx"].startswith("3.8")
    assert set(result.versions) == {"whisperx", "faster-whisper", "ctranslate2"}
    assert result.settings["compute_type"] == "int8"
    assert result.settings["word_times"] == "attention"
    assert json.loads(json.dumps(asdict(result)))["outcome"] == "ok"


class TestWordTimes:
    @pytest.mark.parametrize("name", ["short/01_kitchen.joe.webm", "short/05_workbench.joe.webm", LONG])
    def test_words_are_those_of_the_text_in_order(self, name: str, transcribed: Transcribe) -> None:
        result = transcribed(name)
        assert [word["text"] for word in result.words] == result.text.split()
        times = [(word["start"], word["end"]) for word in result.words]
        duration_s = decode(SPEECH / name, max_seconds=90).duration_s
        assert all(0 <= start <= end <= duration_s for start, end in times)
        assert all(first[0] <= second[0] for first, second in pairwise(times))
        assert all(0 <= word["confidence"] <= 1 for word in result.words)
        assert np.mean([word["confidence"] for word in result.words]) > 0.8

    def test_words_after_a_pause_start_where_the_sound_does(self, transcribed: Transcribe) -> None:
        """The energy of the sound is a second source: where it rises after a pause, a word must start."""
        errors: list[float] = []
        for name in [*(f"short/{name}.joe.webm" for name in SHORT), LONG]:
            voiced = voiced_frames(decode(SPEECH / name, max_seconds=90).samples)
            onsets = np.flatnonzero(np.diff(voiced.astype(int), prepend=0) == 1) * 0.02
            starts = np.array([word["start"] for word in transcribed(name).words])
            errors += [starts[np.argmin(np.abs(starts - onset))] - onset for onset in onsets]
        assert len(errors) > 20
        assert abs(np.median(errors)) < 0.08, "no bias"
        assert np.median(np.abs(errors)) < 0.15
        assert np.max(np.abs(errors)) < 0.5

    def test_follow_the_sound(self, recogniser: WhisperX, transcribed: Transcribe) -> None:
        name = "short/02_street.joe.webm"
        later = recogniser.transcribe(
            sound(np.concatenate([np.zeros(5 * SAMPLE_RATE, np.int16), speech(name)])).as_float(), "en"
        )
        assert len(later.words) == len(transcribed(name).words)
        shifts = [b["start"] - a["start"] for a, b in zip(transcribed(name).words, later.words, strict=True)]
        assert np.median(shifts) == pytest.approx(5, abs=0.05)


class TestNoSpeech:
    @pytest.mark.parametrize(
        "samples",
        [
            np.zeros(0, np.int16),
            np.zeros(10 * SAMPLE_RATE, np.int16),
            noise(10),
            tone(10),
            speech("short/01_kitchen.joe.webm")[: SAMPLE_RATE // 2],
        ],
        ids=["nothing", "silence", "noise", "tone", "half a second of speech"],
    )
    def test_sounds(self, samples: np.ndarray, recogniser: WhisperX) -> None:
        result = recogniser.transcribe(sound(samples).as_float(), "en")
        assert (result.outcome, result.text, result.words, result.segments) == (Outcome.no_speech, "", [], [])

    @pytest.mark.parametrize("name", ["silence60.webm", "noise60.webm", "music40.webm", "short03.webm"])
    def test_files(self, name: str, transcribed: Transcribe) -> None:
        result = transcribed(f"bad/{name}")
        assert (result.outcome, result.flags, result.text) == (Outcome.no_speech, [], "")
        assert result.voiced_s < 1


class TestSuspect:
    def test_another_language(self, transcribed: Transcribe) -> None:
        result = transcribed("german.espeak.webm")
        assert result.outcome is Outcome.suspect
        assert "low_confidence" in result.flags

    def test_speech_backwards(self, recogniser: WhisperX) -> None:
        result = recogniser.transcribe(sound(speech("short/03_beach_dog.joe.webm")[::-1].copy()).as_float(), "en")
        assert result.outcome is Outcome.suspect

    def test_words_after_many_minutes_of_silence(self, recogniser: WhisperX) -> None:
        silence = np.zeros(9 * 60 * SAMPLE_RATE, np.int16)
        samples = np.concatenate([silence, speech("short/01_kitchen.joe.webm"), silence])
        result = recogniser.transcribe(sound(samples).as_float(), "en")
        assert result.outcome is Outcome.ok
        assert len(result.segments) == 1
        assert 540 < result.words[0]["start"] < result.words[-1]["end"] < 549


class TestPartials:
    def test_text_grows_chunk_by_chunk(self, recogniser: WhisperX, transcribed: Transcribe) -> None:
        partials: list[str] = []
        samples = decode(SPEECH / LONG, max_seconds=90).as_float()
        result = recogniser.transcribe(samples, "en", partials.append)
        assert len(partials) == len(result.segments) == 3
        assert all(longer.startswith(shorter) for shorter, longer in pairwise(partials))
        assert partials[-1] == result.text
        assert result.settings["batch_size"] == 1
        assert word_error_rate(transcribed(LONG).text, result.text) < 0.02

    def test_none_without_speech(self, recogniser: WhisperX) -> None:
        partials: list[str] = []
        recogniser.transcribe(sound(noise(5)).as_float(), "en", partials.append)
        assert partials == []

    def test_what_the_listener_raises_ends_the_run(self, recogniser: WhisperX, transcribed: Transcribe) -> None:
        def stop(text: str) -> None:
            raise KeyboardInterrupt

        name = "short/01_kitchen.joe.webm"
        samples = decode(SPEECH / name, max_seconds=90).as_float()
        with pytest.raises(KeyboardInterrupt):
            recogniser.transcribe(samples, "en", stop)
        assert recogniser.transcribe(samples, "en").text == transcribed(name).text


def test_threads_take_turns(recogniser: WhisperX, transcribed: Transcribe) -> None:
    names = ["short/01_kitchen.joe.webm", "short/02_street.joe.webm"]
    results: dict[str, str] = {}

    def run(name: str) -> None:
        results[name] = recogniser.transcribe(decode(SPEECH / name, max_seconds=90).as_float(), "en-GB").text

    threads = [threading.Thread(target=run, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {name: transcribed(name).text for name in names}


@pytest.fixture(scope="module")
def multilingual(recogniser: WhisperX, tmp_path_factory: pytest.TempPathFactory) -> WhisperX:
    folder = multilingual_whisper(tmp_path_factory.mktemp("models") / "random")
    return WhisperX(AsrOptions(model=str(folder), device="cpu", beam_size=1))


class TestLanguages:
    def test_english_weights_serve_no_other_campaign(self, recogniser: WhisperX) -> None:
        with pytest.raises(AsrUnavailable, match="No Whisper model for the language 'de'"):
            recogniser.transcribe(np.zeros(SAMPLE_RATE, np.float32), "de")

    def test_nor_does_a_folder_of_them(self, recogniser: WhisperX) -> None:
        folder = str(recogniser.load("en").weights)
        with pytest.raises(AsrUnavailable, match="knows only English"):
            WhisperX(AsrOptions(model=folder, device="cpu")).load("de")

    def test_one_model_serves_all_its_languages(self, multilingual: WhisperX) -> None:
        samples = sound(speech("short/01_kitchen.joe.webm")).as_float()
        for language in ("de", "zh", "de-AT"):
            result = multilingual.transcribe(samples, language)
            assert result.language == language[:2]
            assert result.outcome is Outcome.suspect
            assert result.words
        assert multilingual.load("de") is multilingual.load("zh")

    def test_hears_which_language_is_spoken(self, multilingual: WhisperX) -> None:
        multilingual.transcribe(sound(speech("short/01_kitchen.joe.webm")).as_float(), "de")
        heard = multilingual._by_language["de"].model.heard
        assert len(heard) == 100
        assert sum(heard.values()) == pytest.approx(1, abs=1e-3)

    def test_unknown_language(self, multilingual: WhisperX) -> None:
        with pytest.raises(AsrUnavailable, match="does not know it"):
            multilingual.load("tlh")


class TestAlignmentModel:
    def test_gives_the_times(self, recogniser: WhisperX, transcribed: Transcribe, tmp_path: Path) -> None:
        name = "short/01_kitchen.joe.webm"
        folder = wav2vec2(tmp_path / "aligner")
        aligning = WhisperX(AsrOptions(device="cpu", align_model=str(folder)))
        aligning._by_language = dict(recogniser._by_language)
        result = aligning.transcribe(decode(SPEECH / name, max_seconds=90).as_float(), "en")
        attention = transcribed(name)
        assert result.text == attention.text
        assert [word["text"] for word in result.words] == [word["text"] for word in attention.words]
        assert [word["start"] for word in result.words] != [word["start"] for word in attention.words]
        assert all(first["start"] <= second["start"] for first, second in pairwise(result.words))
        assert result.settings["word_times"] == str(folder)


class TestPrivacy:
    def test_nothing_is_asked_of_the_network(self, network: Network, transcribed: Transcribe) -> None:
        transcribed("short/01_kitchen.joe.webm")
        assert network.events == []

    def test_telemetry_is_off(self, recogniser: WhisperX) -> None:
        from pyannote.audio.telemetry.metrics import is_metrics_enabled

        assert not is_metrics_enabled()


def test_without_the_extra_there_is_one_clear_error(tmp_path: Path) -> None:
    """The base install has neither faster-whisper nor torch: importing works, and asking says what to install."""
    code = (
        "import sys\n"
        "for name in ('faster_whisper', 'ctranslate2', 'whisperx', 'torch', 'onnxruntime'): sys.modules[name] = None\n"
        "from pixmo.transcripts.asr import AsrOptions, AsrUnavailable, describe_choice\n"
        "import pixmo.recordings.gate\n"
        "try: describe_choice(AsrOptions())\n"
        "except AsrUnavailable as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd(), env=dict(os.environ)
    )
    assert done.stdout.strip() == 'Speech recognition is not installed. Install it with: pip install "pixmo[asr]"'
