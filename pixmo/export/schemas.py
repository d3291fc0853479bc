"""The columns of an export: names, types and units, for parquet, for `datasets` and for the card.

The metadata in the files uses the spelling that every release of `datasets` from 2.21 reads: a list is a JSON list.
Files written by `datasets` 4 itself cannot be read by older releases.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

import pyarrow as pa

Feature: TypeAlias = "str | list[Feature] | dict[str, Feature]"
"""`"image"`, the name of an Arrow type, a list of one feature, or a struct."""


def arrow_schema(features: Mapping[str, Feature]) -> pa.Schema:
    """The Arrow schema with the metadata from which `datasets` restores its features."""
    info = {"info": {"features": {name: _legacy(feature) for name, feature in features.items()}}}
    fields = [pa.field(name, _arrow(feature)) for name, feature in features.items()]
    return pa.schema(fields, metadata={"huggingface": json.dumps(info)})


def card_features(features: Mapping[str, Feature]) -> list[dict[str, Any]]:
    """The features as a card spells them in its `dataset_info`."""
    return [{"name": name, **_card(feature)} for name, feature in features.items()]


def fingerprint(features: Mapping[str, Feature]) -> str:
    """SHA-256 over names and types."""
    return hashlib.sha256(json.dumps(list(features.items())).encode()).hexdigest()


def _arrow(feature: Feature) -> pa.DataType:
    if isinstance(feature, list):
        return pa.list_(_arrow(feature[0]))
    if isinstance(feature, dict):
        return pa.struct([pa.field(name, _arrow(inner)) for name, inner in feature.items()])
    if feature == "image":
        return pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    return pa.type_for_alias(feature)


def _legacy(feature: Feature) -> Any:
    if isinstance(feature, list):
        return [_legacy(feature[0])]
    if isinstance(feature, dict):
        return {name: _legacy(inner) for name, inner in feature.items()}
    return {"_type": "Image"} if feature == "image" else {"dtype": feature, "_type": "Value"}


def _card(feature: Feature) -> dict[str, Any]:
    if isinstance(feature, dict):
        return {"struct": card_features(feature)}
    if isinstance(feature, str):
        return {"dtype": feature}
    inner = feature[0]
    if isinstance(inner, str):
        return {"sequence": inner}
    return {"list": card_features(inner) if isinstance(inner, dict) else _card(inner)}
