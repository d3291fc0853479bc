import numpy as np
import pytest

from pixmo.recordings.audio import SAMPLE_RATE, decode
from pixmo.recordings.gate import measure, voiced_frames
from pixmo.transcripts import vad
from tests.recordings.sounds import SPEECH, noise, sound, speech, tone

SPOKEN = [
    "01_kitchen.joe.webm",
    "01_kitchen.slt.m4a",
    "02_street.joe.webm",
    "03_beach_dog.joe.webm",
    "german.espeak.webm",
    "short/02_street.joe.webm",
    "short/04_poster.joe.webm",
    "bad/stereo.webm",
]


@pytest.mark.parametrize("name", SPOKEN)
def test_hears_as_much_voice_as_the_neural_detector(name: str) -> None:
    recording = decode(SPEECH / name, max_seconds=600)
    neural = vad.seconds(vad.speech_regions(recording.as_float()))
    levels = measure(recording)
    assert levels.voiced_s == pytest.approx(neural, rel=0.08)
    assert levels.flags == ()


@pytest.mark.parametrize("snr_db", [20, 10, 5])
def test_hears_voice_through_noise(snr_db: int) -> None:
    spoken = speech()
    clean = measure(sound(spoken)).voiced_s
    power = np.mean(spoken.astype(float) ** 2) / 10 ** (snr_db / 10)
    hiss = np.random.default_rng(1).normal(0, np.sqrt(power), len(spoken))
    levels = measure(sound((spoken + hiss).astype(np.int16)))
    assert levels.voiced_s == pytest.approx(clean, rel=0.15)
    assert ("noisy" in levels.flags) == (snr_db < 12)


@pytest.mark.parametrize("gain_db", [-25, -40])
def test_hears_quiet_voice(gain_db: int) -> None:
    spoken = speech()
    clean = measure(sound(spoken)).voiced_s
    levels = measure(sound((spoken * 10 ** (gain_db / 20)).astype(np.int16)))
    assert levels.voiced_s == pytest.approx(clean, rel=0.1)
    assert ("quiet" in levels.flags) == (gain_db == -40)


@pytest.mark.parametrize(
    "samples",
    [np.zeros(10 * SAMPLE_RATE, np.int16), noise(10), noise(10, amplitude=0.0005), tone(10), tone(10, hertz=120)],
    ids=["silence", "noise", "faint noise", "tone", "hum"],
)
def test_steady_sound_is_not_voice(samples: np.ndarray) -> None:
    assert measure(sound(samples)).voiced_s == 0


@pytest.mark.parametrize("name", ["noise60.webm", "silence60.webm"])
def test_recorded_noise_and_silence_are_not_voice(name: str) -> None:
    assert measure(decode(SPEECH / "bad" / name, max_seconds=600)).voiced_s < 1


def test_clicks_are_not_voice() -> None:
    samples = noise(10, amplitude=0.001)
    samples[:: SAMPLE_RATE // 2] = 20_000
    assert measure(sound(samples)).voiced_s == 0


def test_pauses_between_words_count_and_longer_ones_do_not() -> None:
    beep = tone(1, amplitude=0.3)
    room = noise(1, amplitude=0.001)
    parts = [room, beep, room[: SAMPLE_RATE // 5], beep, room, beep, room]
    assert measure(sound(np.concatenate(parts))).voiced_s == pytest.approx(3.2, abs=0.1)


def test_clipped() -> None:
    spoken = speech("short/01_kitchen.joe.webm").astype(float)
    loud = np.clip(spoken * 10, -32_768, 32_767).astype(np.int16)
    levels = measure(sound(loud))
    assert levels.clip_ratio > 0.01
    assert levels.flags == ("clipped",)
    assert measure(sound((loud / 4).astype(np.int16))).clip_ratio == 0


def test_narrowband() -> None:
    spoken = speech("short/01_kitchen.joe.webm")
    spectrum = np.fft.rfft(spoken)
    spectrum[np.fft.rfftfreq(len(spoken), 1 / SAMPLE_RATE) > 3400] = 0
    levels = measure(sound((np.fft.irfft(spectrum, len(spoken)) / 2).astype(np.int16)))
    assert "narrowband" in levels.flags
    assert levels.high_band_db is not None
    assert levels.high_band_db < -45


def test_long_tail() -> None:
    silence = np.zeros(30 * SAMPLE_RATE, np.int16)
    levels = measure(sound(np.concatenate([speech("short/01_kitchen.joe.webm"), silence])))
    assert levels.flags == ("long_tail",)
    assert levels.tail_s == pytest.approx(30.6, abs=0.2)


def test_levels_of_silence() -> None:
    levels = measure(sound(np.zeros(5 * SAMPLE_RATE, np.int16)))
    assert (levels.rms_dbfs, levels.speech_dbfs, levels.snr_db, levels.high_band_db) == (-120, None, None, None)
    assert levels.flags == ("quiet",)


@pytest.mark.parametrize("count", [0, 1, 319, 320, 321, 1000])
def test_any_length(count: int) -> None:
    assert len(voiced_frames(np.full(count, 100, np.int16))) == count // 320
    assert measure(sound(np.full(count, 100, np.int16))).duration_s == pytest.approx(count / SAMPLE_RATE, abs=1e-3)
