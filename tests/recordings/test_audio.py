import contextlib
import http.server
import io
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from pixmo.recordings import audio
from pixmo.recordings.audio import AudioRejected, Container, RejectReason, check, decode, peaks, remux, rms_dbfs, sniff
from tests.recordings.sounds import SPEECH, encode, noise, sound, tone

SHORT = SPEECH / "short" / "01_kitchen.joe.webm"


def reason(data: bytes | Path, client_ms: float | None = None, max_seconds: float = 600) -> RejectReason:
    with pytest.raises(AudioRejected) as caught:
        check(decode(data, max_seconds=max_seconds), client_ms=client_ms)
    return caught.value.reason


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\x1a\x45\xdf\xa3\x9fB\x86\x81", Container.WEBM),
        (b"\x00\x00\x00\x1cftypiso5", Container.MP4),
        (b"OggS\x00\x02", Container.OGG),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", Container.WAV),
        (b"fLaC\x00\x00\x00\x22", Container.FLAC),
        (b"ID3\x04\x00", Container.MP3),
        (b"\xff\xfb\x90\x64", Container.MP3),
        (b"\xff\xf1\x50\x80", None),  # AAC in ADTS: the same sync word, another layer
        (b"\xff\xff\xff\xff", None),
        (b"RIFF\x00\x00\x00\x00AVI LIST", None),
        (b"ffconcat version 1.0", None),
        (b"#EXTM3U\n", None),
        (b"<html>", None),
        (b"", None),
    ],
)
def test_sniff(head: bytes, container: Container | None) -> None:
    assert sniff(head) is container


@pytest.mark.parametrize(
    ("name", "container", "codec", "seconds"),
    [
        ("short/01_kitchen.joe.webm", Container.WEBM, "opus", 8.05),
        ("01_kitchen.slt.m4a", Container.MP4, "aac", 62.62),
        ("bad/stereo.webm", Container.WEBM, "opus", 66.11),
    ],
)
def test_decode(name: str, container: Container, codec: str, seconds: float) -> None:
    decoded = decode(SPEECH / name, max_seconds=600)
    assert (decoded.container, decoded.codec) == (container, codec)
    assert decoded.duration_s == pytest.approx(seconds, abs=0.01)
    assert decoded.gap_s < 0.05
    assert decoded.samples.dtype == np.int16
    assert decoded.samples.ndim == 1
    assert -30 < rms_dbfs(decoded.samples) < -10
    check(decoded, client_ms=1000 * seconds)


@pytest.mark.parametrize(
    ("container", "codec", "options"),
    [
        ("webm", "libopus", {"live": "1"}),  # Chromium with a time slice: no duration, no index
        ("mp4", "libopus", {"movflags": "frag_keyframe+empty_moov"}),
        ("mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}),  # Safari
        ("ogg", "libopus", {}),  # Firefox
        ("flac", "flac", {}),
        ("mp3", "libmp3lame", {}),
        ("wav", "pcm_s16le", {}),
    ],
)
def test_every_container_is_decoded_and_remuxed(container: str, codec: str, options: dict[str, str]) -> None:
    made = tone(3)
    data = encode(made, container, codec, **options)
    decoded = decode(data, max_seconds=10)
    assert decoded.container == container
    assert decoded.duration_s == pytest.approx(3, abs=0.1)
    assert rms_dbfs(decoded.samples) == pytest.approx(rms_dbfs(made), abs=0.5)
    check(decoded, client_ms=3000)
    copied = decode(remux(data), max_seconds=10)
    assert np.array_equal(copied.samples, decoded.samples)


def test_a_path_and_its_bytes_decode_alike() -> None:
    from_path, from_bytes = decode(SHORT, max_seconds=60), decode(SHORT.read_bytes(), max_seconds=60)
    assert np.array_equal(from_path.samples, from_bytes.samples)


def test_as_float_is_in_range() -> None:
    values = sound(np.array([-32768, 0, 32767], np.int16)).as_float()
    assert values.dtype == np.float32
    assert values.tolist() == [-1, 0, pytest.approx(1, abs=1e-4)]


class TestRejections:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("empty.webm", RejectReason.EMPTY),
            ("html.webm", RejectReason.NOT_AUDIO),
            ("text.webm", RejectReason.NOT_AUDIO),
            ("random.webm", RejectReason.NOT_AUDIO),
            ("no_header.webm", RejectReason.NOT_AUDIO),
            ("video_only.webm", RejectReason.NO_AUDIO_STREAM),
            ("header_only.webm", RejectReason.TOO_SHORT),
            ("short03.webm", RejectReason.TOO_SHORT),
            ("corrupt_middle.webm", RejectReason.CORRUPT),
            ("silence60.webm", RejectReason.SILENT),
        ],
    )
    def test_bad_files(self, name: str, expected: RejectReason) -> None:
        assert reason(SPEECH / "bad" / name) is expected

    def test_half_a_file_decodes_and_only_the_clock_tells(self) -> None:
        half = decode(SPEECH / "bad" / "truncated.webm", max_seconds=600)
        assert half.duration_s == pytest.approx(30.66, abs=0.01)
        check(half, client_ms=None)
        with pytest.raises(AudioRejected) as caught:
            check(half, client_ms=67_600)
        assert caught.value.reason is RejectReason.TRUNCATED
        assert caught.value.problem()["reason"] == "truncated"

    def test_a_declared_duration_tells_too(self) -> None:
        data = encode(tone(20), "webm", "libopus")
        assert reason(data[: len(data) // 2]) is RejectReason.TRUNCATED

    def test_a_slow_microphone_is_not_a_truncation(self) -> None:
        check(sound(tone(2)), client_ms=2500)
        with pytest.raises(AudioRejected):
            check(sound(tone(2)), client_ms=2800)

    def test_noise_and_music_are_sound(self) -> None:
        for name in ("noise60.webm", "music40.webm"):
            check(decode(SPEECH / "bad" / name, max_seconds=600), client_ms=None)

    def test_too_long_stops_at_the_limit(self) -> None:
        assert reason(SHORT, max_seconds=5) is RejectReason.TOO_LONG
        assert decode(SHORT, max_seconds=8.1).duration_s < 8.1

    @pytest.mark.parametrize(("rate", "expected"), [(1, RejectReason.CORRUPT), (1_400_000_000, RejectReason.CORRUPT)])
    def test_an_absurd_sample_rate_costs_nothing(self, rate: int, expected: RejectReason) -> None:
        data = bytearray(encode(tone(2)))
        data[24:28] = rate.to_bytes(4, "little")
        assert reason(bytes(data)) is expected

    def test_one_packet_cannot_hold_more_than_the_limit(self) -> None:
        data = bytearray(encode(tone(20)))
        data[24:28] = (4000).to_bytes(4, "little")
        assert reason(bytes(data), max_seconds=10) is RejectReason.TOO_LONG

    def test_damaged_files_are_decoded_or_refused_and_nothing_else(self) -> None:
        chance = random.Random(7)
        originals = [SHORT.read_bytes(), encode(tone(2), "mp4", "aac"), encode(tone(2), "ogg", "libopus")]
        outcomes = set()
        for _ in range(120):
            data = bytearray(chance.choice(originals))
            for _ in range(chance.choice((1, 5, 50))):
                data[chance.randrange(4, chance.choice((100, 1000, len(data))))] = chance.choice((0, 255, 97))
            try:
                check(decode(bytes(data), max_seconds=20), client_ms=None)
                remux(bytes(data))
                outcomes.add("decoded")
            except AudioRejected as error:
                outcomes.add(error.reason.value)
        assert {"decoded", "corrupt"} <= outcomes


class TestOtherFilesAreNeverOpened:
    """An upload may be a playlist, which FFmpeg would follow to another person's recording."""

    @pytest.fixture
    def trap(self, tmp_path: Path) -> Iterator[tuple[Path, threading.Event]]:
        """A named pipe, and an event that is set as soon as anybody opens it for reading."""
        pipe, opened = tmp_path / "other.webm", threading.Event()
        os.mkfifo(pipe)

        def wait_for_reader() -> None:
            with pipe.open("wb"):
                opened.set()

        thread = threading.Thread(target=wait_for_reader)
        thread.start()
        yield pipe, opened
        os.close(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK))
        thread.join(5)

    def test_concat_script(self, tmp_path: Path, trap: tuple[Path, threading.Event]) -> None:
        _, opened = trap
        upload = tmp_path / "upload.webm"
        upload.write_text("ffconcat version 1.0\nfile other.webm\n")
        assert reason(upload) is RejectReason.NOT_AUDIO
        with pytest.raises(AudioRejected):
            remux(upload)
        for container in Container:  # behind the magic bytes there is a second wall
            with upload.open("rb") as file, contextlib.suppress(av.FFmpegError):
                audio._open_as(file, container)
        assert not opened.is_set()
        with pytest.raises(av.FFmpegError):
            av.open(str(upload))
        assert opened.wait(5), "FFmpeg left to itself does open it, so the trap works"

    def test_playlist_of_a_server(self, tmp_path: Path) -> None:
        asked: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                self.send_error(404)

            def log_message(self, *args: object) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            upload = tmp_path / "upload.webm"
            address = f"http://127.0.0.1:{server.server_port}/segment.ts"
            upload.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{address}\n#EXT-X-ENDLIST\n")
            assert reason(upload) is RejectReason.NOT_AUDIO
            for container in Container:
                with upload.open("rb") as file, contextlib.suppress(av.FFmpegError):
                    audio._open_as(file, container)
            assert asked == []
            upload.rename(tmp_path / "upload.m3u8")
            with contextlib.suppress(av.FFmpegError):
                av.open(str(tmp_path / "upload.m3u8"), container_options={"protocol_whitelist": "file,http,tcp"})
            assert "/segment.ts" in asked, "FFmpeg does ask where it may"
            server.shutdown()

    def test_even_the_playlist_demuxer_has_no_protocol(
        self, tmp_path: Path, trap: tuple[Path, threading.Event]
    ) -> None:
        pipe, opened = trap
        options = {"protocol_whitelist": "none", "safe": "0"}
        with io.BytesIO(f"ffconcat version 1.0\nfile {pipe}\n".encode()) as file, pytest.raises(av.FFmpegError):
            av.open(file, format="concat", container_options=options)
        assert not opened.is_set()


class TestChannels:
    left = tone(2, hertz=300)

    def test_equal_channels_keep_their_level(self) -> None:
        decoded = decode(encode(np.stack([self.left, self.left])), max_seconds=10)
        assert np.array_equal(decoded.samples, self.left)
        assert decoded.source_channels == 2
        assert not decoded.left_only

    def test_one_empty_channel_halves_the_level(self) -> None:
        decoded = decode(encode(np.stack([self.left, np.zeros_like(self.left)])), max_seconds=10)
        assert np.array_equal(decoded.samples, self.left >> 1)

    def test_loud_channels_do_not_clip(self) -> None:
        full = np.full(32_000, 32_767, np.int16)
        assert decode(encode(np.stack([full, full])), max_seconds=10).samples.max() == 32_767

    @pytest.mark.parametrize("codec", ["pcm_s16le", "libopus"])
    def test_opposite_phase_keeps_the_left_channel(self, codec: str) -> None:
        data = encode(np.stack([self.left, -self.left]), "wav" if codec == "pcm_s16le" else "webm", codec)
        decoded = decode(data, max_seconds=10)
        assert decoded.left_only
        assert rms_dbfs(decoded.samples) == pytest.approx(rms_dbfs(self.left), abs=0.5)


class TestRemux:
    def test_a_recording_without_duration_becomes_seekable(self) -> None:
        data = encode(np.concatenate([tone(10), noise(10)]), "webm", "libopus", live="1")
        assert decode(data, max_seconds=60).declared_s is None
        copy = remux(data)
        assert decode(copy, max_seconds=60).declared_s == pytest.approx(20, abs=0.1)
        assert b"\x1c\x53\xbb\x6b" in copy, "the index of a Matroska file (Cues)"
        assert len(copy) < 1.05 * len(data)

    def test_is_the_same_each_time(self) -> None:
        assert remux(SHORT) == remux(SHORT.read_bytes())

    def test_leaves_pictures_out(self) -> None:
        with pytest.raises(AudioRejected) as caught:
            remux(SPEECH / "bad" / "video_only.webm")
        assert caught.value.reason is RejectReason.NO_AUDIO_STREAM

    def test_keeps_uncompressed_sound_in_matroska(self) -> None:
        data = encode(tone(2), "matroska", "pcm_s16le")
        assert np.array_equal(decode(remux(data), max_seconds=10).samples, tone(2))


def test_peaks() -> None:
    samples = np.zeros(30_000, np.int16)
    samples[15_000] = -32_768
    drawn = peaks(sound(samples))
    assert len(drawn) == 300
    assert drawn[150] == 1
    assert sum(drawn) == 1
    assert len(peaks(sound(samples[:17_001]), 100)) == 100


def test_rms() -> None:
    assert rms_dbfs(np.zeros(100, np.int16)) == -120
    assert rms_dbfs(np.full(100, 32_767, np.int16)) == pytest.approx(0, abs=0.01)
    assert rms_dbfs(tone(1, amplitude=0.1)) == pytest.approx(-23.01, abs=0.05)
