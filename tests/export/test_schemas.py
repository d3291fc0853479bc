import json

import pyarrow as pa
from datasets import Features, Image, List, Value

from pixmo.export.schemas import DEFAULT, ENRICHED, MEANING, arrow_schema, card_features, fingerprint


def test_the_default_configuration_is_the_published_schema() -> None:
    schema = arrow_schema(DEFAULT)
    assert schema.remove_metadata() == pa.schema(
        [("image_url", pa.string()), ("caption", pa.string()), ("transcripts", pa.list_(pa.string()))]
    )
    assert card_features(DEFAULT) == [
        {"name": "image_url", "dtype": "string"},
        {"name": "caption", "dtype": "string"},
        {"name": "transcripts", "sequence": "string"},
    ]


def test_metadata_has_the_spelling_that_old_readers_know() -> None:
    info = json.loads(arrow_schema(ENRICHED).metadata[b"huggingface"])
    features = info["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["transcripts"] == [{"dtype": "string", "_type": "Value"}]
    assert features["word_times"][0][0]["start"] == {"dtype": "float64", "_type": "Value"}
    assert '"List"' not in json.dumps(info)
    assert '"Sequence"' not in json.dumps(info)


def test_datasets_understands_metadata_and_card_alike() -> None:
    from_metadata = Features.from_arrow_schema(arrow_schema(ENRICHED))
    from_card = Features._from_yaml_list(card_features(ENRICHED))
    assert from_metadata == from_card
    assert from_metadata["image"] == Image()
    assert from_metadata["word_times"] == List(
        List(
            {
                "text": Value("string"),
                "start": Value("float64"),
                "end": Value("float64"),
                "confidence": Value("float64"),
            }
        )
    )
    assert from_metadata["annotated_on"] == List(Value("date32"))
    assert from_metadata.arrow_schema.remove_metadata() == arrow_schema(ENRICHED).remove_metadata()


def test_the_enriched_configuration_contains_the_published_columns_first() -> None:
    assert list(ENRICHED)[: len(DEFAULT)] == list(DEFAULT)
    assert list(MEANING) == list(ENRICHED)


def test_a_fingerprint_follows_names_and_types() -> None:
    assert fingerprint(DEFAULT) == fingerprint(dict(DEFAULT))
    assert len({fingerprint(DEFAULT), fingerprint({**DEFAULT, "caption": "int32"}), fingerprint({"a": "string"})}) == 3
