"""Transcription: seconds of sound per second of CPU, against the command line of WhisperX with the same weights.

    python -m benchmarks.transcribe [--quick] [--speech FOLDER]

Both read the same compressed files and write text with the same model in int8, beam 5. pixmo keeps the model loaded,
decodes with PyAV, finds speech with Silero, hands out the text chunk by chunk and times every word. The command line starts a process that loads the model,
decodes with ffmpeg, and finds speech with pyannote; it times no words here (--no_align), since its alignment model is
a download. Start-up of both is measured alone and told apart. One thread unless the row says otherwise, so that CPU
time hardly depends on what else runs. Needs ffmpeg on the path, for the command line.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
from rich.console import Console
from rich.table import Table

from pixmo.recordings.audio import decode
from pixmo.transcripts.asr import AsrOptions, ModelChoice, WhisperX

SPEECH = Path(__file__).parent.parent / "tests" / "data" / "speech"
BATCH_SIZE = 8


@dataclass
class Spoken:
    """A file with the words that were read out."""

    path: Path
    truth: str
    seconds: float


@dataclass
class Method:
    """What one way of transcribing cost, a number per round: CPU and wall seconds for all files and for a start."""

    name: str
    cpu_s: list[float] = field(default_factory=list)
    wall_s: list[float] = field(default_factory=list)
    start_cpu_s: list[float] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def figures(self, spoken: list[Spoken]) -> dict[str, float]:
        seconds = sum(item.seconds for item in spoken)
        cpu, start = statistics.median(self.cpu_s), statistics.median(self.start_cpu_s)
        return {
            "audio_s_per_cpu_s": round(seconds / cpu, 2),
            "audio_s_per_wall_s": round(seconds / statistics.median(self.wall_s), 2),
            "audio_s_per_cpu_s_with_start": round(seconds / (cpu + start), 2),
            "cpu_s": round(cpu, 2),
            "start_cpu_s": round(start, 2),
            "word_error_rate": round(word_error_rate([item.truth for item in spoken], self.texts), 4),
        }


def measured(run: Callable[[], None], who: int) -> tuple[float, float]:
    """CPU seconds of this process or its children, and wall seconds."""
    before, began = resource.getrusage(who), time.perf_counter()
    run()
    after = resource.getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.perf_counter() - began


def word_error_rate(truths: list[str], texts: list[str]) -> float:
    """Over all words, after Whisper's own normalisation of English."""
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    plain = EnglishTextNormalizer({})
    return float(jiwer.wer([plain(truth) for truth in truths], [plain(text) for text in texts]))


def collect(folder: Path, quick: bool) -> list[Spoken]:
    """Recordings with a text of the same name: ten seconds each in `short`, about a minute each beside it."""
    sizes = (2, 1) if quick else (99, 99)
    found = []
    for place, number in zip((folder / "short", folder), sizes, strict=True):
        paths = [path for suffix in ("webm", "m4a") for path in sorted(place.glob(f"*.{suffix}"))]
        pairs = [(path, path.with_name(path.name.split(".")[0] + ".txt")) for path in paths]
        for path, text in [pair for pair in pairs if pair[1].exists()][:number]:
            found.append(Spoken(path, text.read_text(), decode(path, max_seconds=3600).duration_s))
    return found


def run_pixmo(method: Method, recogniser: WhisperX, spoken: list[Spoken]) -> None:
    texts: list[str] = []

    def all_files() -> None:
        for item in spoken:
            samples = decode(item.path, max_seconds=3600).as_float()
            result = recogniser.transcribe(samples, "en", lambda text: None)  # as a worker does, for the page to show
            assert all(word["start"] is not None for word in result.words)
            texts.append(result.text)

    cpu, wall = measured(all_files, resource.RUSAGE_SELF)
    method.cpu_s.append(cpu)
    method.wall_s.append(wall)
    method.texts = texts


def run_command_line(
    method: Method, model: ModelChoice, spoken: list[Spoken], scratch: Path, threads: int | None
) -> None:
    silence = scratch / "silence.wav"
    write_silence(silence)
    # The command names its results after the files, and short and long takes share their names.
    inputs = [scratch / f"{index}-{item.path.name}" for index, item in enumerate(spoken)]
    for link, item in zip(inputs, spoken, strict=True):
        link.unlink(missing_ok=True)
        link.symlink_to(item.path.resolve())

    def run(files: list[Path]) -> None:
        command = [sys.executable, "-m", "whisperx", *map(str, files), "--model", str(model.weights)]
        command += ["--language", "en", "--device", model.device, "--compute_type", model.compute_type]
        command += ["--batch_size", str(BATCH_SIZE), "--no_align", "--output_format", "json"]
        command += ["--output_dir", str(scratch), *(["--threads", str(threads)] if threads else [])]
        offline = {"PYANNOTE_METRICS_ENABLED": "0", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **offline})
        if done.returncode:
            raise SystemExit(f"whisperx failed:\n{done.stderr[-2000:]}")

    start_cpu, start_wall = measured(lambda: run([silence]), resource.RUSAGE_CHILDREN)
    cpu, wall = measured(lambda: run(inputs), resource.RUSAGE_CHILDREN)
    method.start_cpu_s.append(start_cpu)
    method.cpu_s.append(cpu - start_cpu)
    method.wall_s.append(wall - start_wall)
    method.texts = [
        " ".join(
            segment["text"].strip() for segment in json.loads((scratch / f"{path.stem}.json").read_text())["segments"]
        )
        for path in inputs
    ]


def write_silence(path: Path) -> None:
    import wave

    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(np.zeros(16_000, np.int16).tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two short takes and a long one, one round")
    parser.add_argument("--speech", type=Path, default=SPEECH, help="folder of recordings with their texts")
    arguments = parser.parse_args()
    if shutil.which("ffmpeg") is None:
        raise SystemExit("The command line of WhisperX needs ffmpeg. Install it, for example: apt-get install ffmpeg")
    spoken = collect(arguments.speech, arguments.quick)
    if not spoken:
        raise SystemExit(f"No recordings with texts in {arguments.speech}. Name a folder of them with --speech.")
    recogniser = WhisperX(AsrOptions(batch_size=BATCH_SIZE, threads=1))
    start_cpu, _ = measured(lambda: recogniser.load("en"), resource.RUSAGE_SELF)  # type: ignore[arg-type]
    model = recogniser.load("en")
    warm, one, default = Method("pixmo, 1 thread"), Method("whisperx, 1 thread"), Method("whisperx, its default: 4")
    with tempfile.TemporaryDirectory(prefix="pixmo-bench-") as scratch:
        for _ in range(1 if arguments.quick else 3):
            warm.start_cpu_s.append(start_cpu)
            run_pixmo(warm, recogniser, spoken)
            run_command_line(one, model, spoken, Path(scratch), threads=1)
            run_command_line(default, model, spoken, Path(scratch), threads=None)
    report(model, spoken, [warm, one, default])


def report(model: ModelChoice, spoken: list[Spoken], methods: list[Method]) -> None:
    seconds = sum(item.seconds for item in spoken)
    table = Table(
        "Method", "Sound / CPU s", "with start-up", "Sound / wall s", "Start-up CPU s", "Word error rate", "Word times",
        title=f"{len(spoken)} recordings, {seconds:.0f} s, Whisper {model.name} in {model.compute_type} on {model.device}",
    )  # fmt: skip
    answer: dict[str, Any] = {
        "bench": "transcribe",
        "model": model.name,
        "compute_type": model.compute_type,
        "device": model.device,
        "recordings": len(spoken),
        "audio_s": round(seconds, 1),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "results": {},
    }
    for method in methods:
        figures = answer["results"][method.name] = method.figures(spoken)
        table.add_row(
            method.name,
            f"{figures['audio_s_per_cpu_s']:.1f}",
            f"{figures['audio_s_per_cpu_s_with_start']:.1f}",
            f"{figures['audio_s_per_wall_s']:.1f}",
            f"{figures['start_cpu_s']:.1f}",
            f"{figures['word_error_rate']:.3f}",
            "yes" if method is methods[0] else "no",
        )
    ours, theirs = (answer["results"][method.name]["audio_s_per_cpu_s"] for method in methods[:2])
    answer["ratio"] = round(ours / theirs, 2)
    console = Console(width=120)
    console.print(table)
    console.print(f"pixmo transcribes {answer['ratio']} times as much sound per CPU second, start-up aside.")
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
