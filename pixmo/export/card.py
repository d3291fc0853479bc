"""The card: the README.md from which the Hub and `datasets` learn configurations, and people the rest.

Every statement and number is computed from the store and from the rows of the version.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pixmo.export.build import Options
from pixmo.export.croissant import Statement
from pixmo.export.schemas import Feature, card_features
from pixmo.export.sets import MEANING, DataSet

_SIZES = (("n<1K", 1e3), ("1K<n<10K", 1e4), ("10K<n<100K", 1e5), ("100K<n<1M", 1e6), ("1M<n<10M", 1e7))
_ORIGINS = {
    "human": "people",
    "asr": "speech recognition, from the recording alone",
    "llm_text": "a text-only language model",
    "script": "code",
    "detector": "an object detector, no vision-language model; checked by people",
}
_IMAGES = {
    "embed": "Images are part of the parquet files of the configuration {config}, as their annotators saw them.",
    "repo": "Images lie in `files/`, named by their SHA-256. `image_url` points to them at the tag of the version that "
    "first had them, so it stays valid.",
    "url": "Images are not part of this data set. `pixmo check-links` tells which addresses still give the image that "
    "was annotated, `pixmo materialize` downloads them.",
}

Manifest = Mapping[str, Any]
Features = Mapping[str, Mapping[str, Feature]]


def render(data_set: DataSet, options: Options, manifest: Manifest, features: Features) -> str:
    """The card. `features`: configuration -> columns as they were written."""
    header = _header(data_set, options, manifest, features)
    return f"---\n{_yaml(header)}---\n\n{_body(data_set, options, manifest, features)}"


def statement(data_set: DataSet, options: Options, manifest: Manifest) -> Statement:
    """What Croissant says of the data set."""
    numbers = manifest["statistics"]
    overlap = _rows(numbers) and sum(numbers["annotations_of_annotators"]) / _rows(numbers)
    return Statement(
        title=f"{data_set.title} ({data_set.name})",
        description=f"{_summary(data_set, numbers)}",
        licence=options.licence,
        languages=tuple(_languages(numbers)),
        first_day=numbers["first_day"],
        last_day=numbers["last_day"],
        collection=data_set.statement[0] if data_set.statement else data_set.about,
        protocol=tuple(data_set.statement),
        annotations_per_item=f"{overlap:.1f} annotations a row on average",
        models=tuple(numbers["models"]),
        meaning=_meaning(data_set),
    )


def _header(data_set: DataSet, options: Options, manifest: Manifest, features: Features) -> dict[str, Any]:
    numbers = manifest["statistics"]
    machine = any(numbers["origins"].get(origin) for origin in ("llm_text", "script", "detector"))
    people = bool(numbers["origins"].get("human")) or numbers["annotators"] > 0
    rows = _rows(numbers)
    languages = _languages(numbers)
    return {
        **({"license": options.licence} if options.licence else {}),
        **({"language": languages} if languages else {}),
        "pretty_name": data_set.title,
        "task_categories": list(data_set.task_categories),
        "size_categories": [next((name for name, limit in _SIZES if rows < limit), "n>10M")],
        "annotations_creators": ["crowdsourced"] * people + ["machine-generated"] * machine,
        "source_datasets": ["original"],
        "tags": ["pixmo", *data_set.tags],
        "configs": [_config(data_set, name, manifest["configs"][name]) for name in features],
        "dataset_info": [_dataset_info(name, manifest, columns) for name, columns in features.items()],
    }


def _config(data_set: DataSet, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    files = [{"split": split, "path": f"{config['folder']}/{split}-*"} for split in config["splits"]]
    is_default = name == next(iter(data_set.configs))
    return {"config_name": name, "data_files": files, **({"default": True} if is_default else {})}


def _dataset_info(name: str, manifest: Manifest, columns: Mapping[str, Feature]) -> dict[str, Any]:
    splits = [
        {"name": split, "num_bytes": numbers["num_bytes"], "num_examples": numbers["rows"]}
        for split, numbers in manifest["configs"][name]["splits"].items()
    ]
    return {
        "config_name": name,
        "features": card_features(columns),
        "splits": splits,
        "download_size": sum(file["bytes"] for file in manifest["files"] if file.get("config") == name),
        "dataset_size": sum(split["num_bytes"] for split in splits),
    }


def _body(data_set: DataSet, options: Options, manifest: Manifest, features: Features) -> str:
    numbers = manifest["statistics"]
    reference = f"{data_set.name}@{manifest['version']}"
    parts = [
        f"# {data_set.title}",
        f"{_summary(data_set, numbers)} Collected with pixmo, with the columns of `allenai/pixmo-{data_set.name}`.",
        _facts(numbers, manifest),
        "## Loading",
        f'```python\nimport pixmo.export\n\nrows = pixmo.export.load("{reference}")["{next(iter(numbers["rows"]))}"]\n```',
        f"`datasets.load_dataset` reads this folder and the repository alike, from release 2.21 on. {_images(options, features)}",
        "## Splits",
        _splits(manifest),
        "## Data format",
        *(_format(data_set, name, columns, features) for name, columns in features.items()),
        *(["Coordinates are in " + data_set.coordinates + "."] if data_set.coordinates else []),
        "## How it was made",
        *(f"- {sentence}" for sentence in data_set.statement),
        "No vision-language model had a part in it. The export checks it row by row.",
        _origins(numbers),
        *_plots(numbers),
        "## People",
        _people(numbers),
        "## Licences",
        _licences(options, numbers),
        "## Version",
        f"This is version {manifest['version']}; CHANGELOG.md says what changed. `manifest.json` lists every file with its "
        f"hashes and is signed (Ed25519, key `{_key(manifest)}`); `pixmo verify` checks files, rows and signatures "
        f"offline. The state of the store was event {manifest['snapshot']['event']}.",
        *([f"Left out: {_list(manifest['left_out'])}."] if manifest["left_out"] else []),
    ]
    text = "\n\n".join(part for part in parts if part)
    return re.sub(r"(?m)^(- .*)\n\n(?=- )", r"\1\n", text) + "\n"


def _key(manifest: Manifest) -> str:
    return str(manifest["signer"])


def _summary(data_set: DataSet, numbers: Mapping[str, Any]) -> str:
    images = f" on {_many(numbers['images'], 'image')}" if numbers["images"] else ""
    return f"{_many(_rows(numbers), 'row')}{images}: {data_set.about}."


def _facts(numbers: Mapping[str, Any], manifest: Manifest) -> str:
    lines = [("rows", f"{_rows(numbers):,}"), ("images", f"{numbers['images']:,}")]
    lines += [(title.lower() + ", mean (median)", f"{one['mean']:g} ({one['median']})")
              for title, one in numbers["measures"].items() if one["n"]]  # fmt: skip
    if numbers["voiced_seconds"]:
        lines.append(("speech", f"{numbers['voiced_seconds'] / 3600:,.1f} h"))
    if numbers["annotators"]:
        lines.append(("annotators", f"{numbers['annotators']:,}"))
    if numbers["first_day"]:
        lines.append(("annotated", f"{numbers['first_day']} to {numbers['last_day']}"))
    if languages := _languages(numbers):
        lines.append(("languages", ", ".join(languages)))
    if manifest["settings"]["campaign"]:
        lines.append(("campaign", _cell(manifest["settings"]["campaign"])))
    return _table(("", ""), lines)


def _splits(manifest: Manifest) -> str:
    shares = manifest["split"]["shares"]
    rows = [(split, f"{number:,}") for split, number in manifest["statistics"]["rows"].items()]
    return (
        _table(("split", "rows"), rows)
        + "\n\nA row is in the split of its image, and an image in that of its near-duplicates (`split_cluster`), chosen "
        f"by hash ({', '.join(f'{name} {share:.0%}' for name, share in shares.items())}). It is the same in all data "
        "sets of this collection and in all versions."
    )


def _format(data_set: DataSet, name: str, columns: Mapping[str, Feature], features: Features) -> str:
    meaning = _meaning(data_set)
    first = next(iter(features))
    shown = {column: kind for column, kind in columns.items() if name == first or column not in features[first]}
    if name != first and data_set.part and name in data_set.configs:
        return f"`{name}` has the same columns."
    lead = (
        f"`{name}` has the columns of `allenai/pixmo-{data_set.name}`:" if name == first else f"`{name}` has besides:"
    )
    lines = [(f"`{column}`", _type(kind), meaning.get(column, "")) for column, kind in shown.items()]
    return f"{lead}\n\n{_table(('column', 'type', 'meaning'), lines)}"


def _origins(numbers: Mapping[str, Any]) -> str:
    lines = [(f"`{origin}`", _ORIGINS[origin], f"{number:,}") for origin, number in numbers["origins"].items()]
    if not lines:
        return ""
    models = ", ".join(f"`{_cell(name)}`" for name in numbers["models"])
    named = f"\n\nModels that wrote or heard text: {models}." if models else ""
    return _table(("origin", "what made it", "steps"), lines) + named


def _plots(numbers: Mapping[str, Any]) -> list[str]:
    return [f"![{title}](plots/{i}.png)" for i, title in enumerate(numbers["histograms"])]


def _images(options: Options, features: Features) -> str:
    config = "images" if "images" in features else "enriched" if "enriched" in features else next(iter(features))
    if options.plain and options.images == "embed" and "image" not in features[config]:
        return _IMAGES["url"]
    return _IMAGES[options.images].format(config=f"`{config}`")


def _people(numbers: Mapping[str, Any]) -> str:
    if not numbers["annotators"]:
        return "No person is named or described by a row's provenance."
    consents = numbers.get("consent_versions")
    agreed = (
        f"Annotators consented to this use of their work (version of the consent: {_list(consents)}). "
        if consents
        else ""
    )
    return (
        f"{agreed}They appear under keyed pseudonyms, with dates and without times. Recordings of voices are not part "
        "of this data set. No demographics were collected."
    )


def _licences(options: Options, numbers: Mapping[str, Any]) -> str:
    own = f"`{options.licence}`" if options.licence else "for the publisher to state"
    text = f"The licence of the annotations is {own}. "
    if not numbers["licences"]:
        return text
    rows = [(_cell(name), f"{number:,}") for name, number in numbers["licences"].items()]
    return f"{text}Images have licences of their own, given with `attribution` for each:\n\n" + _table(
        ("licence", "images"), rows
    )


def _meaning(data_set: DataSet) -> dict[str, str]:
    return {**MEANING, **data_set.meaning}


def _rows(numbers: Mapping[str, Any]) -> int:
    return sum(numbers["rows"].values())


def _languages(numbers: Mapping[str, Any]) -> list[str]:
    return [language for language in numbers.get("language", {}) if language != "none"]


def _many(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in counts.items())


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


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
