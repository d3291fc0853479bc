import numpy as np
import pytest

from pixmo.recordings.audio import SAMPLE_RATE
from pixmo.transcripts.vad import CHUNK_SECONDS, PAD_SECONDS, Region, pad, seconds, seconds_within, speech_regions
from tests.recordings.sounds import noise, sound, speech, tone


def test_finds_speech_and_nothing_before_it() -> None:
    silence = np.zeros(5 * SAMPLE_RATE, np.int16)
    spoken = speech("short/01_kitchen.joe.webm")
    regions = speech_regions(sound(np.concatenate([silence, spoken, silence])).as_float())
    assert regions[0].start == pytest.approx(5.2, abs=0.2)
    assert regions[-1].end == pytest.approx(12.5, abs=0.3)
    assert 6 < seconds(regions) < 7.5


@pytest.mark.parametrize(
    "samples",
    [np.zeros(0, np.int16), np.ones(1, np.int16), np.zeros(SAMPLE_RATE, np.int16), noise(5), tone(5)],
    ids=["nothing", "one sample", "silence", "noise", "tone"],
)
def test_finds_no_speech(samples: np.ndarray) -> None:
    assert speech_regions(sound(samples).as_float()) == []


def test_what_a_codec_leaves_of_silence_is_none() -> None:
    assert speech_regions(sound(speech("short/01_kitchen.joe.webm")).as_float() / 1000) == []


def test_speech_without_pauses_is_cut_for_whisper() -> None:
    words = np.concatenate([speech(f"short/0{n}.joe.webm")[4000:-10000] for n in ("1_kitchen", "2_street")])
    regions = speech_regions(sound(np.tile(words, 5)).as_float())
    assert all(end - start <= CHUNK_SECONDS - 2 * PAD_SECONDS for start, end in regions)


def test_pad() -> None:
    regions = [Region(0.1, 1), Region(1.2, 2), Region(4, 4.9)]
    assert pad(regions, 5.0) == [
        pytest.approx((0, 1.1)),
        pytest.approx((1.1, 2.4)),
        pytest.approx((3.6, 5)),
    ]
    assert pad([], 5.0) == []


def test_seconds_within() -> None:
    regions = [Region(0, 2), Region(3, 5)]
    assert seconds(regions) == 4
    assert seconds_within(regions, 1, 4) == 2
    assert seconds_within(regions, 2, 3) == 0
