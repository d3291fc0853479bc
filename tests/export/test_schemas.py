import json

import pyarrow as pa
from datasets import Features, Image, List, Value

from pixmo.export.published import PUBLISHED
from pixmo.export.schemas import Feature, arrow_schema, card_features, fingerprint
from pixmo.export.sets import data_set

PUBLISHED_CAP = PUBLISHED["cap"]["default"]
ENRICHED = data_set("cap").enriched


def test_columns_become_arrow_and_card_types() -> None:
    schema = arrow_schema(PUBLISHED_CAP)
    assert schema.remove_metadata() == pa.schema(
        [("image_url", pa.string()), ("caption", pa.string()), ("transcripts", pa.list_(pa.string()))]
    )
    assert card_features(PUBLISHED_CAP) == [
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
    word = {name: Value(kind) for name, kind in (("text", "string"), ("start", "float64"), ("end", "float64"))}
    assert from_metadata["word_times"] == List(List({**word, "confidence": Value("float64")}))
    assert from_metadata["annotated_on"] == List(Value("date32"))
    assert from_metadata.arrow_schema.remove_metadata() == arrow_schema(ENRICHED).remove_metadata()


def test_a_fingerprint_follows_names_types_and_order() -> None:
    columns: dict[str, Feature] = {"a": "string", "b": ["int32"]}
    others: list[dict[str, Feature]] = [
        {"b": ["int32"], "a": "string"}, {"a": "string"}, {"a": "string", "b": "int32"}, {"a": "string", "c": ["int32"]}
    ]  # fmt: skip
    assert fingerprint(columns) == fingerprint(dict(columns))
    assert len({fingerprint(columns), *map(fingerprint, others)}) == 1 + len(others)
