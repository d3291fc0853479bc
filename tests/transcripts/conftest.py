"""One recogniser for all tests here: real weights, loaded once, every look at the network noted down."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from pixmo.recordings.audio import decode
from pixmo.transcripts.asr import AsrOptions, Transcription, WhisperX
from tests.recordings.sounds import SPEECH


@dataclass
class Network:
    """Names that were looked up and addresses that were connected to while `on`."""

    on: bool = True
    events: list[str] = field(default_factory=list)

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        if self.on and event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            self.events.append(f"{event} {args[-1]}")


@pytest.fixture(scope="session")
def network() -> Iterator[Network]:
    watch = Network()
    sys.addaudithook(watch)
    yield watch
    watch.on = False


@pytest.fixture(scope="session")
def recogniser(network: Network) -> WhisperX:
    recogniser = WhisperX(AsrOptions(model="auto", device="cpu"))
    recogniser.load("en")
    return recogniser


@pytest.fixture(scope="session")
def transcribed(recogniser: WhisperX) -> Callable[[str], Transcription]:
    """The transcription of a file, made once."""
    known: dict[str, Transcription] = {}

    def transcribe(name: str) -> Transcription:
        if name not in known:
            samples = decode(SPEECH / name, max_seconds=600).as_float()
            known[name] = recogniser.transcribe(samples, "en")
        return known[name]

    return transcribe
