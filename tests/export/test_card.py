from collections import Counter

import yaml  # type: ignore[import-untyped]

from pixmo.export.card import render
from pixmo.export.counts import Counts

CONFIGS = {
    "default": {"folder": "data", "rows": 3, "num_bytes": 10, "download_bytes": 5},
    "enriched": {"folder": "enriched", "rows": 3, "num_bytes": 100, "download_bytes": 50},
}


def counts(**changes: object) -> Counts:
    values = {
        "rows": 3, "images": 2, "caption_words": 300, "transcripts": 6, "transcript_words": 900,
        "voiced_seconds": 7200.0, "first_day": "2026-03-01", "last_day": "2026-03-04",
        "languages": Counter(en=2, no=1), "licences": Counter({"CC BY 4.0 | x": 1, "none stated": 1}),
        "caption_methods": Counter(tidy=3), "transcript_origins": Counter(asr=5, human=1),
        "models": Counter({"whisper": 3}), "takes_by_annotator": Counter(a=6), "consents": Counter({"2026-01": 6}),
    }  # fmt: skip
    return Counts(**{**values, **changes})  # type: ignore[arg-type]


def card(of: Counts, licence: str | None = None) -> tuple[dict[str, object], str]:
    text = render(of, CONFIGS, licence=licence, snapshot=17, receipt_keys=["0123456789abcdef"])
    _, header, body = text.split("---\n", 2)
    return yaml.safe_load(header), body


def test_the_header_is_yaml_that_says_what_is_there() -> None:
    header, _ = card(counts(), "odc-by")
    assert header["license"] == "odc-by"
    assert header["language"] == ["en", "no"]
    assert header["size_categories"] == ["n<1K"]
    assert header["annotations_creators"] == ["crowdsourced"]
    assert header["configs"] == [
        {"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}], "default": True},
        {"config_name": "enriched", "data_files": [{"split": "train", "path": "enriched/train-*"}]},
    ]
    infos = header["dataset_info"]
    assert isinstance(infos, list)
    assert [info["splits"] for info in infos] == [
        [{"name": "train", "num_bytes": 10, "num_examples": 3}],
        [{"name": "train", "num_bytes": 100, "num_examples": 3}],
    ]
    assert infos[0]["features"][2] == {"name": "transcripts", "sequence": "string"}


def test_numbers_of_the_text_come_from_the_rows() -> None:
    _, body = card(counts())
    for line in (
        "2 images with 3 dense captions and 6 transcripts",
        "| words in a caption, mean | 100 |",
        "| words in a transcript, mean | 150 |",
        "| speech | 2.0 h |",
        "| annotated | 2026-03-01 to 2026-03-04 |",
        "6 transcripts; 1 of them were corrected by hand",
        r"| CC BY 4.0 \| x | 1 |",
        "`whisper` (3 rows)",
        "event 17",
        "`0123456789abcdef`",
    ):
        assert line in body


def test_the_card_says_who_wrote_the_captions_and_that_no_model_saw_an_image() -> None:
    _, by_rule = card(counts())
    assert "No model saw an image." in by_rule
    assert "text-only language model polished" not in by_rule
    assert "| caption | script | no |" in by_rule
    header, mixed = card(counts(caption_methods=Counter(tidy=1, llm=2)))
    assert "For 1 caption, rules took" in mixed
    assert "For 2 captions, a text-only language model" in mixed
    assert "| caption | script or llm_text | no |" in mixed
    assert header["annotations_creators"] == ["crowdsourced", "machine-generated"]


def test_without_a_licence_none_is_claimed() -> None:
    header, body = card(counts())
    assert "license" not in header
    assert "for the publisher to state" in body
