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

DEFAULT: dict[str, Feature] = {
    "image_url": "string",
    "caption": "string",
    "transcripts": ["string"],
}
"""Exactly the columns of the published allenai/pixmo-cap."""

ENRICHED: dict[str, Feature] = {
    **DEFAULT,
    "image": "image",
    "image_sha256": "string",
    "served_sha256": "string",
    "pixel_sha256": "string",
    "width": "int32",
    "height": "int32",
    "topic": "string",
    "licence": "string",
    "attribution": "string",
    "campaign": "string",
    "language": "string",
    "caption_revision": "int32",
    "caption_method": "string",
    "caption_prompt": "string",
    "caption_model": "string",
    "flags": [{"kind": "string", "token": "string", "sentence": "int32"}],
    "transcript_origins": ["string"],
    "transcript_models": ["string"],
    "transcript_used": ["bool"],
    "word_times": [[{"text": "string", "start": "float64", "end": "float64", "confidence": "float64"}]],
    "audio_sha256": ["string"],
    "durations": ["float64"],
    "voiced_seconds": ["float64"],
    "annotators": ["string"],
    "consent_versions": ["string"],
    "annotated_on": ["date32"],
    "steps": [
        {"field": "string", "origin": "string", "model": "string", "model_revision": "string", "saw_image": "bool"}
    ],
    "split_cluster": "string",
    "receipt": "string",
}
"""Everything that is known about a row. Lists about takes run parallel to `transcripts`."""

MEANING = {
    "image_url": "where the image came from; `urn:sha256:` and the `image_sha256` if it has no address",
    "caption": "the caption",
    "transcripts": "what each person said, as text, one entry per take",
    "image": "the image as the annotators saw it: upright, without EXIF",
    "image_sha256": "SHA-256 of the original file",
    "served_sha256": "SHA-256 of the bytes in `image`",
    "pixel_sha256": "SHA-256 of the decoded upright pixels, to recognise re-encoded copies",
    "width": "pixels, upright",
    "height": "pixels, upright",
    "topic": "topic under which the image was collected",
    "licence": "licence of the image",
    "attribution": "credit that the image's licence asks for",
    "campaign": "name of the campaign",
    "language": "language of caption and transcripts",
    "caption_revision": "1 for the first",
    "caption_method": "`tidy` (rules) or `llm` (text-only language model)",
    "caption_prompt": "versioned prompt, if a language model wrote the caption",
    "caption_model": "language model that wrote the caption",
    "flags": "words and numbers of the caption that no transcript holds; `sentence` counts from 0",
    "transcript_origins": "`asr`, or `human` if a person corrected it",
    "transcript_models": "speech recogniser behind the transcript",
    "transcript_used": "whether its words went into the caption",
    "word_times": "words as recognised, with start and end in seconds of the take",
    "audio_sha256": "SHA-256 of the recording, which is not published",
    "durations": "seconds",
    "voiced_seconds": "seconds with voice",
    "annotators": "keyed pseudonym of the speaker",
    "consent_versions": "version of the consent that the speaker gave",
    "annotated_on": "date, UTC",
    "steps": "what made each field: human, asr, llm_text or script, and whether it saw the image",
    "split_cluster": "near-duplicate cluster; equal clusters belong into the same split",
    "receipt": "signed chain from image and audio to caption, JSON",
}


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
