"""The data set card: the README.md from which the Hub and `datasets` learn configurations, and people the rest.

Every statement and number is computed from the rows of the export.
"""

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from pixmo.export.counts import Counts
from pixmo.export.schemas import DEFAULT, ENRICHED, MEANING, Feature, card_features

_SIZES = (("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6), ("1M<n<10M", 1e7))


def render(
    counts: Counts,
    configs: Mapping[str, Mapping[str, Any]],
    *,
    licence: str | None,
    snapshot: int,
    receipt_keys: list[str],
) -> str:
    """The card. `configs`: {name: {folder, rows, num_bytes, download_bytes}} with `default` and `enriched`."""
    header = {
        **({"license": licence} if licence else {}),
        "language": sorted(counts.languages),
        "task_categories": ["image-to-text", "visual-question-answering"],
        "size_categories": [next((name for name, limit in _SIZES if counts.rows < limit), "n>10M")],
        "annotations_creators": ["crowdsourced", *(["machine-generated"] if counts.caption_methods["llm"] else [])],
        "source_datasets": ["original"],
        "tags": ["pixmo", "image-captioning", "speech"],
        "configs": [
            {
                "config_name": name,
                "data_files": [{"split": "train", "path": f"{config['folder']}/train-*"}],
                **({"default": True} if name == "default" else {}),
            }
            for name, config in configs.items()
        ],
        "dataset_info": [_dataset_info(name, config) for name, config in configs.items()],
    }
    return f"---\n{_yaml(header)}---\n\n{_body(counts, licence, snapshot, receipt_keys)}"


def _dataset_info(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    features = DEFAULT if name == "default" else ENRICHED
    split = {"name": "train", "num_bytes": config["num_bytes"], "num_examples": config["rows"]}
    return {
        "config_name": name,
        "features": card_features(features),
        "splits": [split],
        "download_size": config["download_bytes"],
        "dataset_size": config["num_bytes"],
    }


def _body(counts: Counts, licence: str | None, snapshot: int, receipt_keys: list[str]) -> str:
    n = counts
    by_llm = n.caption_methods["llm"]
    hours = n.voiced_seconds / 3600
    models = ", ".join(f"`{name}` ({rows:,} rows)" for name, rows in sorted(n.models.items())) or "none"
    corrected = n.transcript_origins["human"]
    wrote = {
        "tidy": f"For {_many(n.caption_methods['tidy'], 'caption')}, rules took hesitation and repetitions out of the "
        "transcript that states most; rules leave words out and add none. Other transcripts of the image did not go "
        "into the caption (`transcript_used`).",
        "llm": f"For {_many(by_llm, 'caption')}, a text-only language model polished or merged the transcripts. It was "
        "given text alone, and every call is on record.",
    }
    return f"""# Described images

{_many(n.images, "image")} with {_many(n.rows, "dense caption")} and {_many(n.transcripts, "transcript")}, made
by people who looked at the image and spoke. Collected with pixmo in the manner of PixMo-Cap.

| | |
|---|---|
| images | {n.images:,} |
| captions | {n.rows:,} |
| words in a caption, mean | {n.caption_words / n.rows:.0f} |
| transcripts | {n.transcripts:,} |
| words in a transcript, mean | {n.transcript_words / n.transcripts:.0f} |
| speech | {hours:,.1f} h |
| annotators | {len(n.takes_by_annotator):,} |
| annotated | {n.first_day} to {n.last_day} |
| languages | {_list(n.languages)} |

## Loading

```python
import pixmo.export

captions = pixmo.export.load("this-folder")["train"]
with_images = pixmo.export.load("this-folder", "enriched")["train"]
```

`datasets.load_dataset("this-folder", "enriched")` gives the same. There is one split, `train`; whoever splits it keeps
the rows of one `split_cluster` together.

## Data format

`default` has the columns of `allenai/pixmo-cap`:

{_columns(DEFAULT)}

`enriched` has these and:

{_columns({name: feature for name, feature in ENRICHED.items() if name not in DEFAULT})}

Lists about takes (`transcripts`, `word_times`, `audio_sha256`, `durations`, `annotators`, ...) run in parallel.

## How it was made

1. Annotators saw an image, spoke about it, and could read and correct what was recognised before they submitted.
2. A speech recogniser wrote {_many(n.transcripts, "transcript")}; {corrected:,} of them were corrected by hand.
3. {" ".join(wrote[method] for method in ("tidy", "llm") if n.caption_methods[method])}
4. Each caption was compared with its transcripts: {n.flagged_captions:,} hold words or numbers that no transcript holds
   (`flags`).

No model saw an image. The export checks it row by row: `steps` names what made each field.

| field | origin | saw the image |
|---|---|---|
| recording | human | yes |
| transcripts | asr, from the recording; human where corrected | the recogniser: no |
| caption | {" or ".join(["script"] * bool(n.caption_methods["tidy"]) + ["llm_text"] * bool(by_llm))} | no |

Models: {models}.

## Licences of the images

| licence | images |
|---|---|
{_table(n.licences)}

`licence` and `attribution` are given for each image. The licence of captions and transcripts is
{f"`{licence}`" if licence else "for the publisher to state"}.

## People

Speakers consented to the recording of their voice (version of the consent: {_list(n.consents)}). Recordings are not
part of this data set. Speakers appear under keyed pseudonyms, and dates without times.

## Receipts

`receipt` chains image, audio, transcripts, calls of a language model and caption by SHA-256 and is signed (Ed25519, key
{", ".join(f"`{key}`" for key in receipt_keys)}). `pixmo export verify` checks receipts and files offline. The snapshot is
event {snapshot}; `manifest.json` lists the files with their hashes.
"""


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _list(values: Counter[str]) -> str:
    return ", ".join(sorted(values))


def _table(values: Counter[str]) -> str:
    return "\n".join(f"| {_cell(name)} | {number:,} |" for name, number in sorted(values.items()))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _columns(features: Mapping[str, Feature]) -> str:
    rows = "\n".join(f"| `{name}` | {_type(feature)} | {MEANING[name]} |" for name, feature in features.items())
    return f"| column | type | meaning |\n|---|---|---|\n{rows}"


def _type(feature: Feature) -> str:
    if isinstance(feature, list):
        return f"list of {_type(feature[0])}"
    if isinstance(feature, dict):
        return "{" + ", ".join(f"{name}: {_type(inner)}" for name, inner in feature.items()) + "}"
    return feature


def _yaml(value: Any, indent: str = "") -> str:
    """Plain YAML of nested lists and dicts; scalars as JSON, which YAML includes, where they need quotes."""
    text = ""
    if isinstance(value, dict):
        for key, inner in value.items():
            if isinstance(inner, dict | list):
                text += f"{indent}{key}:\n{_yaml(inner, indent + '  ' * isinstance(inner, dict))}"
            else:
                text += f"{indent}{key}: {_scalar(inner)}\n"
    else:
        for inner in value:
            if isinstance(inner, dict | list):
                block = _yaml(inner, indent + "  ")
                text += f"{indent}- {block[len(indent) + 2 :]}"
            else:
                text += f"{indent}- {_scalar(inner)}\n"
    return text


def _scalar(value: Any) -> str:
    """Plain where it cannot be taken for anything but a string."""
    reserved = ("no", "yes", "on", "off", "true", "false", "null", "y", "n")
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w.-]*", value) and value.lower() not in reserved
    return value if plain else json.dumps(value)
