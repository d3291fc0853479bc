"""Sounds made for tests, and encoded as browsers and recorders encode them."""

import io
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from pixmo.recordings.audio import SAMPLE_RATE, Audio, Container, decode

SPEECH = Path(__file__).parent.parent / "data" / "speech"


def tone(seconds: float, hertz: float = 440, amplitude: float = 0.3) -> NDArray[np.int16]:
    times = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (32767 * amplitude * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def noise(seconds: float, amplitude: float = 0.05) -> NDArray[np.int16]:
    values = np.random.default_rng(0).normal(0, 32767 * amplitude, int(seconds * SAMPLE_RATE))
    return np.clip(values, -32768, 32767).astype(np.int16)


def speech(name: str = "01_kitchen.joe.webm") -> NDArray[np.int16]:
    return decode(SPEECH / name, max_seconds=600).samples


def sound(samples: NDArray[np.int16]) -> Audio:
    """Samples as if they had just been decoded."""
    return Audio(samples, Container.WAV, "pcm_s16le", SAMPLE_RATE, 1, gap_s=0, declared_s=None, left_only=False)


def encode(samples: NDArray[np.int16], container: str = "wav", codec: str = "pcm_s16le", **options: str) -> bytes:
    """Encode samples of shape (n,) or (channels, n) at 16 kHz; `options` are those of the muxer."""
    planes = np.atleast_2d(samples)
    layout = "mono" if len(planes) == 1 else "stereo"
    sink = io.BytesIO()
    with av.open(sink, "w", format=container, container_options=options) as target:
        stream = target.add_stream(codec, rate=48_000 if codec == "libopus" else SAMPLE_RATE, layout=layout)
        resampler = av.AudioResampler(stream.format.name, layout, stream.rate)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(planes.T.reshape(1, -1)), format="s16", layout=layout)
        frame.sample_rate = SAMPLE_RATE
        fifo = av.AudioFifo()
        for part in resampler.resample(frame) + resampler.resample(None):
            fifo.write(part)
        size = stream.codec_context.frame_size or fifo.samples
        while part := fifo.read(size, partial=True):
            target.mux(stream.encode(part))
        target.mux(stream.encode(None))
    return sink.getvalue()
