"""Turn uploaded bytes into samples, and refuse what is no usable recording.

An upload is hostile until decoded: FFmpeg follows playlists to other files and decodes halves of broken files without
a word. So the container is known by its magic bytes, FFmpeg gets exactly that demuxer, an already open file and no
protocol with which it could open another, and what comes out is counted.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from pixmo.errors import Unprocessable

SAMPLE_RATE = 16_000
"""Hz. What Whisper and the voice detectors take."""

MIN_SECONDS = 1.0
SILENCE_DBFS = -75.0
# A busy computer drops pieces of a good take; lost chunks are noticed by their numbers, not here.
MAX_GAP_SECONDS = 2.0
# A recorder starts some tenths of a second after the page's clock, which weighs most in short takes.
CLOCK_RATIO, CLOCK_SLACK_SECONDS = 0.95, 0.5
# Real rates; FFmpeg spends minutes and gigabytes on the filter for an absurd one.
MIN_SOURCE_HZ, MAX_SOURCE_HZ = 4_000, 384_000
# Side 20 dB above mid: the two channels cancel out in a mono mix.
OPPOSITE_PHASE_RATIO = 100.0
_BLOCK = 1 << 20  # samples mixed together, to bound memory


class Container(StrEnum):
    WEBM = "webm"
    MP4 = "mp4"
    OGG = "ogg"
    WAV = "wav"
    FLAC = "flac"
    MP3 = "mp3"


class RejectReason(StrEnum):
    EMPTY = "empty"
    NOT_AUDIO = "not_audio"
    NO_AUDIO_STREAM = "no_audio_stream"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    SILENT = "silent"


_DETAILS = {
    RejectReason.EMPTY: "The recording has no bytes. Record again.",
    RejectReason.NOT_AUDIO: "The file is not a recording in a known format. Record again.",
    RejectReason.NO_AUDIO_STREAM: "The file has no sound track. Record again with a microphone.",
    RejectReason.TOO_SHORT: "The recording is shorter than a second. Record again.",
    RejectReason.TOO_LONG: "The recording is longer than the campaign allows. Record again in less time.",
    RejectReason.TRUNCATED: "The end of the recording is missing. Send it again, or record again.",
    RejectReason.CORRUPT: "Part of the recording cannot be decoded. Send it again, or record again.",
    RejectReason.SILENT: "The recording is silent. Check that the microphone is not muted, then record again.",
}


class AudioRejected(Unprocessable):
    """The bytes are no usable recording; `reason` says why."""

    code = "take_rejected"
    title = "The recording cannot be used"

    def __init__(self, reason: RejectReason) -> None:
        super().__init__(_DETAILS[reason], reason=reason.value)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Audio:
    """Decoded sound.

    `samples` is mono int16 at 16 kHz, shape (n,). `gap_s` is how much longer the packets' timestamps run than the
    decoded sound: pieces that were lost on the way. `declared_s` is the duration in the file's header, if it has one.
    `left_only` tells that two channels in opposite phase were not mixed.
    """

    samples: NDArray[np.int16]
    container: Container
    codec: str
    source_rate: int
    source_channels: int
    gap_s: float
    declared_s: float | None
    left_only: bool

    @property
    def duration_s(self) -> float:
        return len(self.samples) / SAMPLE_RATE

    def as_float(self) -> NDArray[np.float32]:
        """Samples in [-1, 1)."""
        return self.samples.astype(np.float32) / np.float32(32768)


def sniff(head: bytes) -> Container | None:
    """The container by the first 16 bytes of a file; None if it is none that a browser or recorder writes."""
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Container.WEBM
    if head[4:8] == b"ftyp":
        return Container.MP4
    if head.startswith(b"OggS"):
        return Container.OGG
    if head.startswith(b"RIFF") and head[8:12] == b"WAVE":
        return Container.WAV
    if head.startswith(b"fLaC"):
        return Container.FLAC
    # MPEG audio frame header (ISO 11172-3, 2.4.1.3): sync word, layer III, valid bit rate and sample rate.
    is_frame = (
        len(head) >= 3
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[2] >> 4 not in (0, 15)
        and (head[2] >> 2) & 3 != 3
    )
    return Container.MP3 if is_frame or head.startswith(b"ID3") else None


@contextmanager
def _open(data: bytes | Path) -> Iterator[tuple[InputContainer, Container]]:
    """Open with the one demuxer that the magic bytes name, and no way to open anything else."""
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
        head = file.read(16)
        file.seek(0)
        if not head:
            raise AudioRejected(RejectReason.EMPTY)
        container = sniff(head)
        if container is None:
            raise AudioRejected(RejectReason.NOT_AUDIO)
        try:
            source = _open_as(file, container)
        except av.FFmpegError as error:
            raise AudioRejected(RejectReason.CORRUPT) from error
        with source:
            yield source, container


def _open_as(file: BinaryIO, container: Container) -> InputContainer:
    # FFmpeg matches whitelists by name; "none" is the name of no protocol.
    options = {"format_whitelist": container.value, "protocol_whitelist": "none"}
    source = av.open(file, format=container.value, container_options=options, metadata_errors="ignore")
    return cast(InputContainer, source)


def _audio_stream(source: InputContainer) -> AudioStream:
    if not source.streams.audio:
        raise AudioRejected(RejectReason.NO_AUDIO_STREAM)
    stream = source.streams.audio[0]
    if stream.codec_context is None:  # a codec that FFmpeg does not know
        raise AudioRejected(RejectReason.CORRUPT)
    return stream


def decode(data: bytes | Path, *, max_seconds: float) -> Audio:
    """Decode in one pass to 16 kHz mono, stopping at `max_seconds`.

    Mixing is done on 16-bit integers, because FFmpeg's float mix of stereo comes out 3 dB louder and clips. Channels
    in opposite phase would cancel out; then the left one alone is kept.

    Raises:
        AudioRejected: empty, not_audio, no_audio_stream, too_long, or corrupt (nothing in it can be decoded).
    """
    with _open(data) as (source, container):
        stream = _audio_stream(source)
        try:
            samples, span_s = _decode_stream(source, stream, max_seconds)
        except (av.FFmpegError, ValueError) as error:
            raise AudioRejected(RejectReason.CORRUPT) from error
        if samples.size == 0:
            raise AudioRejected(RejectReason.CORRUPT)
        mono, left_only = _to_mono(samples)
        has_header = container in (Container.WEBM, Container.MP4) and source.duration is not None
        return Audio(
            samples=mono,
            container=container,
            codec=stream.codec_context.name,
            source_rate=stream.codec_context.sample_rate,
            source_channels=stream.codec_context.layout.nb_channels,
            gap_s=max(0.0, span_s - len(mono) / SAMPLE_RATE),
            declared_s=source.duration / av.time_base if has_header and source.duration else None,
            left_only=left_only,
        )


def _decode_stream(source: InputContainer, stream: AudioStream, max_seconds: float) -> tuple[NDArray[np.int16], float]:
    """Samples of shape (n, channels), one or two channels, and the seconds that the packets' timestamps span."""
    collector = _Collector("mono" if stream.codec_context.layout.nb_channels == 1 else "stereo", max_seconds)
    first, last = None, 0  # in ticks of the stream's clock
    packets = source.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            break  # what a broken end has cost, the clock of `check` tells
        if packet.pts is not None:
            first = packet.pts if first is None else min(first, packet.pts)
            last = max(last, packet.pts + (packet.duration or 0))
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # the lost packet shows as a gap
        for frame in frames:
            collector.add(frame)
    span = (last - first) * stream.time_base if first is not None and stream.time_base is not None else 0
    return collector.finish(), float(span)


class _Collector:
    """Resamples decoded frames about a second at a time: frame by frame costs as much as the decoding itself."""

    def __init__(self, layout: str, max_seconds: float) -> None:
        self._layout = layout
        self._max_seconds = max_seconds
        self._channels = 1 if layout == "mono" else 2
        self._data = bytearray()
        self._setup: tuple[int, str, str] | None = None
        self._begin()

    def _begin(self) -> None:
        self._fifo = av.AudioFifo()
        self._resampler = AudioResampler("s16", self._layout, SAMPLE_RATE)

    def add(self, frame: AudioFrame) -> None:
        if not MIN_SOURCE_HZ <= frame.sample_rate <= MAX_SOURCE_HZ:
            raise AudioRejected(RejectReason.CORRUPT)
        # One packet can hold hours, so look before the resampler makes them.
        if frame.samples + self._fifo.samples > (self._max_seconds + 1) * frame.sample_rate:
            raise AudioRejected(RejectReason.TOO_LONG)
        setup = (frame.sample_rate, frame.layout.name, frame.format.name)
        if self._setup not in (None, setup):
            self._flush()
            self._begin()
        self._setup = setup
        frame.pts = None
        self._fifo.write(frame)
        if self._fifo.samples >= frame.sample_rate:
            self._keep(self._resampler.resample(self._fifo.read()))

    def finish(self) -> NDArray[np.int16]:
        self._flush()
        return np.frombuffer(self._data, np.int16).reshape(-1, self._channels)

    def _flush(self) -> None:
        if self._setup is not None:
            rest = self._fifo.read(partial=True)
            self._keep(self._resampler.resample(rest) if rest else [])
            self._keep(self._resampler.resample(None))

    def _keep(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            self._data += frame.to_ndarray().tobytes()
            if len(self._data) > 2 * self._channels * self._max_seconds * SAMPLE_RATE:
                raise AudioRejected(RejectReason.TOO_LONG)


def _to_mono(samples: NDArray[np.int16]) -> tuple[NDArray[np.int16], bool]:
    if samples.shape[1] == 1:
        return samples[:, 0], False
    mono = np.empty(len(samples), np.int16)
    mid_energy = side_energy = 0.0
    for start in range(0, len(samples), _BLOCK):
        left, right = samples[start : start + _BLOCK].astype(np.int32).T
        mono[start : start + _BLOCK] = mid = (left + right) >> 1
        mid_energy += _energy(mid)
        side_energy += _energy((left - right) >> 1)
    if side_energy > len(samples) and side_energy > OPPOSITE_PHASE_RATIO * mid_energy:
        return np.ascontiguousarray(samples[:, 0]), True
    return mono, False


def _energy(samples: NDArray[np.signedinteger]) -> float:
    return float(np.einsum("i,i->", samples, samples, dtype=np.float64))  # makes no copy in floats


def rms_dbfs(samples: NDArray[np.int16]) -> float:
    """Level against full scale; -120 for digital silence."""
    power = _energy(samples) / max(len(samples), 1)
    return max(-120.0, 10 * float(np.log10(max(power, 1e-12) / 32768**2)))


def check(audio: Audio, *, client_ms: float | None) -> None:
    """Refuse sound with missing parts, and sound with nothing in it.

    `client_ms` is the recorded time by the page's own clock, pauses excluded; None if there is no such clock.

    Raises:
        AudioRejected: corrupt, truncated, too_short or silent.
    """
    if audio.gap_s > MAX_GAP_SECONDS:
        raise AudioRejected(RejectReason.CORRUPT)
    for expected in (audio.declared_s, client_ms / 1000 if client_ms is not None else None):
        if expected is not None and audio.duration_s < CLOCK_RATIO * expected - CLOCK_SLACK_SECONDS:
            raise AudioRejected(RejectReason.TRUNCATED)
    if audio.duration_s < MIN_SECONDS:
        raise AudioRejected(RejectReason.TOO_SHORT)
    if rms_dbfs(audio.samples) < SILENCE_DBFS:
        raise AudioRejected(RejectReason.SILENT)


def remux(data: bytes | Path) -> bytes:
    """A copy that a player can seek in: duration and index added, sound not re-encoded, other tracks left out.

    Browsers record without a duration or an index, because they cannot write back into what was sent. The same input
    gives the same bytes.

    Raises:
        AudioRejected: empty, not_audio, no_audio_stream or corrupt.
    """
    with _open(data) as (source, container):
        stream = _audio_stream(source)
        name = container.value
        if container is Container.WEBM and stream.codec_context.name not in ("opus", "vorbis"):
            name = "matroska"
        sink = io.BytesIO()
        try:
            with av.open(sink, "w", format=name, container_options={"fflags": "+bitexact"}) as target:
                copy = target.add_stream_from_template(stream)
                for packet in source.demux(stream):
                    if packet.dts is not None:
                        packet.stream = copy
                        target.mux(packet)
        except (av.FFmpegError, ValueError) as error:
            raise AudioRejected(RejectReason.CORRUPT) from error
        return sink.getvalue()


def peaks(audio: Audio, n: int = 300) -> list[float]:
    """Largest absolute value in each of `n` equal parts, 0 to 1, for drawing a waveform."""
    edges = np.linspace(0, len(audio.samples), n + 1).astype(int)[:-1]
    highest = np.maximum.reduceat(audio.samples, edges).astype(np.int32)
    lowest = np.minimum.reduceat(audio.samples, edges).astype(np.int32)
    return [round(float(value) / 32768, 3) for value in np.maximum(highest, -lowest)]
