"""The voice gate: is there enough voice, and is it loud and clean enough? NumPy only, as the browser has it live.

Energy alone tells voice from silence and from steady noise, not from music; the worker's neural detector decides those.
Where the two must differ, this one hears more voice rather than less: nobody should be refused who has spoken.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pixmo.recordings.audio import SAMPLE_RATE, Audio, rms_dbfs

FRAME = 320
"""Samples of one frame of 20 ms."""

_FRAMES_PER_SECOND = SAMPLE_RATE // FRAME
_HZ_PER_BIN = SAMPLE_RATE // FRAME
_BANDS_HZ = ((200, 1000), (1000, 4000))
_HIGH_BAND_HZ = (4200, 7600)
_WINDOW = np.hanning(FRAME).astype(np.float32)
_BLOCK = 4096  # frames transformed together, to bound memory

QUIET_DBFS = -55.0
NOISY_SNR_DB = 12.0
CLIPPED_RATIO = 0.01
NARROWBAND_DB = -45.0
LONG_TAIL_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Levels:
    """What the gate measured. Levels in dB against full scale, times in seconds.

    `speech_dbfs` is the level of the voiced frames, `snr_db` how far the frames between them lie below it (None
    without both), `clip_ratio` the share of samples in runs of three or more at the peak, `high_band_db` the energy of
    voice from 4.2 to 7.6 kHz against all of it, `tail_s` the time after the last voice. `flags` are warnings: quiet,
    clipped, noisy, narrowband, long_tail.
    """

    duration_s: float
    voiced_s: float
    tail_s: float
    rms_dbfs: float
    peak_dbfs: float
    speech_dbfs: float | None
    snr_db: float | None
    clip_ratio: float
    high_band_db: float | None
    flags: tuple[str, ...]


def measure(audio: Audio) -> Levels:
    """Measure a recording. About 1 ms per second of sound."""
    samples = audio.samples
    voiced = voiced_frames(samples)
    frames = samples[: len(voiced) * FRAME].reshape(-1, FRAME)
    power: NDArray[np.float64] = np.einsum("ij,ij->i", frames, frames, dtype=np.float64) / FRAME
    speech_dbfs, snr_db, high_band_db = _describe_voice(frames, power, voiced)
    last = int(np.flatnonzero(voiced)[-1]) + 1 if voiced.any() else 0
    peak = max(int(np.max(samples, initial=0)), -int(np.min(samples, initial=0)))
    level = rms_dbfs(samples)
    tail_s = audio.duration_s - last / _FRAMES_PER_SECOND
    clip_ratio = _clip_ratio(samples, peak)
    checks = {
        "quiet": (level if speech_dbfs is None else speech_dbfs) < QUIET_DBFS,
        "clipped": clip_ratio > CLIPPED_RATIO,
        "noisy": snr_db is not None and snr_db < NOISY_SNR_DB,
        "narrowband": high_band_db is not None and high_band_db < NARROWBAND_DB,
        "long_tail": last > 0 and tail_s > LONG_TAIL_SECONDS,
    }
    return Levels(
        duration_s=round(audio.duration_s, 3),
        voiced_s=round(int(voiced.sum()) / _FRAMES_PER_SECOND, 2),
        tail_s=round(tail_s, 2),
        rms_dbfs=round(level, 1),
        peak_dbfs=round(20 * float(np.log10(max(peak, 1e-1) / 32768)), 1),
        speech_dbfs=speech_dbfs,
        snr_db=snr_db,
        clip_ratio=round(clip_ratio, 5),
        high_band_db=high_band_db,
        flags=tuple(name for name, holds in checks.items() if holds),
    )


def voiced_frames(samples: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Which frames of 20 ms hold voice, by energy over a floor that follows the room.

    Two bands are looked at, because a hiss hides the consonants and not the vowels, a rumble the other way round. The
    floor of a frame is the 10th percentile of the ten seconds around it: speech pauses that often, noise does not. A
    frame is voice if one band stands 8 dB over its floor and at most 35 dB under its loud parts. Pauses of up to
    0.3 s between words count as voice, bursts under 0.1 s (clicks) do not.
    """
    count = len(samples) // FRAME
    voiced = np.zeros(count, np.bool_)
    if count:
        levels = 10 * np.log10(_band_power(samples[: count * FRAME].reshape(count, FRAME)) + np.float32(1e-2))
        loud = np.percentile(levels, 95, axis=1)
        for band, level in enumerate(levels):
            # A band that lies 50 dB under the other one holds only what the codec left there.
            least = max(float(loud[band]) - 35, float(loud.max()) - 50)
            voiced |= level > np.maximum(_floor(level) + 8, least)
    return _drop_runs(~_drop_runs(~voiced, 0.3), 0.1)


def _band_power(frames: NDArray[np.int16]) -> NDArray[np.float32]:
    """Mean power of every frame in each band, shape (2, frames)."""
    power = np.empty((len(_BANDS_HZ), len(frames)), np.float32)
    for start in range(0, len(frames), _BLOCK):
        spectrum = np.fft.rfft(frames[start : start + _BLOCK] * _WINDOW, axis=1)
        for band, (low, high) in enumerate(_BANDS_HZ):
            part = spectrum[:, low // _HZ_PER_BIN : high // _HZ_PER_BIN]
            power[band, start : start + _BLOCK] = np.mean(part.real**2 + part.imag**2, axis=1) / FRAME
    return power


def _floor(level: NDArray[np.float32]) -> NDArray[np.float32]:
    window = min(10 * _FRAMES_PER_SECOND, len(level))
    starts = range(0, len(level) - window + 1, _FRAMES_PER_SECOND // 2)
    floors = [float(np.percentile(level[start : start + window], 10)) for start in starts]
    centres = [start + window / 2 for start in starts]
    floor: NDArray[np.float32] = np.interp(np.arange(len(level)), centres, floors).astype(np.float32)
    return floor


def _drop_runs(marks: NDArray[np.bool_], seconds: float) -> NDArray[np.bool_]:
    """`marks` without its runs shorter than `seconds`."""
    edges = np.flatnonzero(np.diff(marks, prepend=False, append=False))
    kept = marks.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < seconds * _FRAMES_PER_SECOND:
            kept[start:end] = False
    return kept


def _describe_voice(
    frames: NDArray[np.int16], power: NDArray[np.float64], voiced: NDArray[np.bool_]
) -> tuple[float | None, float | None, float | None]:
    """Level of the voice, its distance from the noise, and its share above 4.2 kHz, all in dB."""
    if not voiced.any():
        return None, None, None
    speech = max(float(np.mean(power[voiced])), 1e-3)
    snr_db = None
    if not voiced.all():
        noise = max(float(np.mean(power[~voiced])), 1e-3)
        snr_db = round(10 * float(np.log10(max(speech - noise, 1e-2 * noise) / noise)), 1)
    spectrum = np.zeros(FRAME // 2 + 1)
    spoken = np.flatnonzero(voiced)
    for start in range(0, len(spoken), _BLOCK):
        block = frames[spoken[start : start + _BLOCK]] * _WINDOW
        spectrum += np.sum(np.abs(np.fft.rfft(block, axis=1)) ** 2, axis=0)
    high = spectrum[_HIGH_BAND_HZ[0] // _HZ_PER_BIN : _HIGH_BAND_HZ[1] // _HZ_PER_BIN].sum()
    high_band_db = round(10 * float(np.log10(max(high, 1e-9) / max(spectrum.sum(), 1e-9))), 1)
    return round(10 * float(np.log10(speech / 32768**2)), 1), snr_db, high_band_db


def _clip_ratio(samples: NDArray[np.int16], peak: int) -> float:
    # A sound whose peak is far from full scale was not cut off by a converter.
    if peak < 0.5 * 32768:
        return 0.0
    at_peak = (samples >= 0.98 * peak) | (samples <= -0.98 * peak)
    edges = np.flatnonzero(np.diff(at_peak, prepend=False, append=False))
    runs = edges[1::2] - edges[::2]
    return float(runs[runs >= 3].sum()) / len(samples)
