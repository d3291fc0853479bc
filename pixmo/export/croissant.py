"""Croissant 1.0 (JSON-LD) for a version: its files, its records, and the responsible-AI block (RAI 1.0).

Sources: the specifications http://mlcommons.org/croissant/1.0 and http://mlcommons.org/croissant/RAI/1.0. What they
leave open is spelled as mlcroissant 1.1 reads it: a set of files that lie beside `croissant.json` is contained in
nothing, lists are `repeated`, a struct is a field with `subField`s that take their part of the column by JSONPath.
"""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from pixmo.export import published
from pixmo.export.schemas import Feature

CONFORMS_TO = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
_PARQUET = "application/x-parquet"
_MEDIA = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp", "gif": "image/gif"}
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
_TYPES = {
    "string": "sc:Text",
    "bool": "sc:Boolean",
    "date32": "sc:Date",
    "int8": "cr:Int8",
    "int16": "cr:Int16",
    "int32": "cr:Int32",
    "int64": "cr:Int64",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
}
_LICENCES = {
    "odc-by": "https://spdx.org/licenses/ODC-By-1.0.html",
    "cc0-1.0": "https://spdx.org/licenses/CC0-1.0.html",
    "cc-by-4.0": "https://spdx.org/licenses/CC-BY-4.0.html",
    "cc-by-sa-4.0": "https://spdx.org/licenses/CC-BY-SA-4.0.html",
    "cc-by-nc-4.0": "https://spdx.org/licenses/CC-BY-NC-4.0.html",
    "apache-2.0": "https://spdx.org/licenses/Apache-2.0.html",
    "mit": "https://spdx.org/licenses/MIT.html",
}
_IMAGES = {
    "embed": "The images are part of this data set.",
    "repo": "The images are files of this data set, named by their SHA-256.",
    "url": "The images are not part of this data set. Those behind their addresses may change or vanish; "
    "`image_sha256` tells whether an image is still the one that was annotated.",
}


@dataclass(frozen=True)
class Statement:
    """What is to be said about a data set. The texts that have a default hold for every set that people annotate.

    `licence`: identifier of the Hub, of the annotations. `first_day` and `last_day` of the annotation: ISO dates.
    `meaning`: {column: text} for columns of which pixmo's own texts are to be replaced or that have none.
    """

    title: str
    description: str
    licence: str | None
    languages: tuple[str, ...]
    first_day: str | None
    last_day: str | None
    collection: str
    protocol: tuple[str, ...]
    annotations_per_item: str
    models: tuple[str, ...] = ()
    url: str | None = None
    meaning: Mapping[str, str] = field(default_factory=dict)
    collection_types: tuple[str, ...] = ("Manual Human Curator",)
    preprocessing: tuple[str, ...] = (
        "Every image was decoded to its end. What annotators see is upright, 8-bit sRGB, and without EXIF, position "
        "and comments.",
        "Near-duplicates of images were looked for with PDQ; images of one cluster (`split_cluster`) belong into the "
        "same split.",
    )
    personal: tuple[str, ...] = (
        "Annotators appear under keyed pseudonyms, and dates without times.",
        "Images can show people, and texts can name them; neither was searched for personal information.",
    )
    limitations: tuple[str, ...] = (
        "Annotations hold what annotators noticed and thought right; they can be wrong, and what they leave out may "
        "still be in the image.",
    )
    biases: tuple[str, ...] = (
        "The images are those that the collecting team chose, not a sample of all images.",
        "What is noticed, and how it is named, depends on the annotators, of whom no demographics were collected.",
    )
    uses: tuple[str, ...] = (
        "Training and evaluation of models that describe images, point in them, count, or answer questions about them.",
        "Not meant for recognising people, whether in the images or among the annotators.",
    )
    maintenance: str = (
        "A version never changes. Corrections and take-downs make a new patch version, further rows a minor one, "
        "changes of columns, units or splits a major one; CHANGELOG.md says what changed."
    )


def croissant(
    manifest: Mapping[str, Any], features: Mapping[str, Mapping[str, Feature]], statement: Statement
) -> dict[str, Any]:
    """The JSON-LD of a version, from its manifest. `features`: {configuration: {column: feature}}.

    Each configuration has a set of files and a record set of its name, whose fields are called `CONFIG/COLUMN`;
    `CONFIG/split` is the split, by which mlcroissant can filter. Columns that Croissant 1.0 cannot express (lists of
    lists of structs) are named in the description of the record set.
    """
    configs = {name: manifest["configs"][name] for name in features}
    texts = {**published.MEANING.get(manifest["dataset"], {}), **statement.meaning}
    licence = statement.licence and _LICENCES.get(statement.licence, statement.licence)
    return {
        "@context": deepcopy(_CONTEXT),  # readers may change what they are given
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": statement.title,
        "alternateName": f"{manifest['dataset']}@{manifest['version']}",
        "description": statement.description,
        "version": manifest["version"],
        **({"license": licence} if licence else {}),
        **({"url": statement.url} if statement.url else {}),
        "inLanguage": list(statement.languages),
        "distribution": [
            *(_file_object(file) for file in manifest["files"] if file["path"].endswith(".parquet")),
            *(_file_set(name, config) for name, config in configs.items()),
            *_image_files(manifest["files"]),
        ],
        "recordSet": [_record_set(name, configs[name], features[name], texts) for name in features],
        **_responsible(manifest, statement),
    }


def _file_object(file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": file["path"],
        "name": file["path"],
        "contentUrl": file["path"],
        "contentSize": f"{file['bytes']} B",
        "encodingFormat": _PARQUET,
        "sha256": file["sha256"],
    }


def _file_set(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": _files_of(name),
        "name": _files_of(name),
        "description": f"The parquet files of the configuration `{name}`.",
        "encodingFormat": _PARQUET,
        "includes": [f"{config['folder']}/{split}-*.parquet" for split in config["splits"]],
    }


def _image_files(files: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The images that are files, one set for all of one format."""
    endings = sorted({file["path"].rpartition(".")[2] for file in files if file["path"].startswith("files/")})
    return [
        {
            "@type": "cr:FileSet",
            "@id": f"images-{ending}",
            "name": f"images-{ending}",
            "description": "Images, named by the SHA-256 of their bytes.",
            "encodingFormat": _MEDIA[ending],
            "includes": f"files/*.{ending}",
        }
        for ending in endings
    ]


def _files_of(config: str) -> str:
    return f"{config}-files"


def _record_set(
    name: str, config: Mapping[str, Any], columns: Mapping[str, Feature], texts: Mapping[str, str]
) -> dict[str, Any]:
    rows = ", ".join(f"{split}: {numbers['rows']:,} rows" for split, numbers in config["splits"].items())
    left_out = [f"`{column}`" for column, feature in columns.items() if not _expressible(feature)]
    without = f" Not described here, because Croissant cannot express it: {', '.join(left_out)}." if left_out else ""
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The rows of the configuration `{name}` ({rows}).{without}",
        "field": [
            _split_field(name, config),
            *(
                _field(f"{name}/{column}", feature, _source(name, column), texts.get(column))
                for column, feature in columns.items()
                if _expressible(feature)
            ),
        ],
    }


def _split_field(name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    splits = "|".join(config["splits"])
    return {
        "@type": "cr:Field",
        "@id": f"{name}/split",
        "name": "split",
        "description": "The split, which the name of the file tells.",
        "dataType": ["sc:Text", "cr:Split"],
        "source": {
            "fileSet": {"@id": _files_of(name)},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"{config['folder']}/({splits})-.+parquet$"},
        },
    }


def _source(config: str, column: str) -> dict[str, Any]:
    return {"fileSet": {"@id": _files_of(config)}, "extract": {"column": column}}


def _expressible(feature: Feature) -> bool:
    """Whether its leaves can be reached: structs nowhere but at the top or in a list at the top."""
    inner = feature[0] if isinstance(feature, list) else feature
    return all(_leaf(part) is not None for part in (inner.values() if isinstance(inner, dict) else [inner]))


def _leaf(feature: Feature) -> str | None:
    """The type of the elements of a list of any depth, or of no list; None if there is a struct inside."""
    while isinstance(feature, list):
        feature = feature[0]
    return feature if isinstance(feature, str) else None


def _field(identifier: str, feature: Feature, source: dict[str, Any], text: str | None) -> dict[str, Any]:
    inner = feature[0] if isinstance(feature, list) else feature
    described: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": identifier,
        "name": identifier.rpartition("/")[2],
        **({"description": text} if text else {}),
        **({"repeated": True} if isinstance(feature, list) else {}),
    }
    if isinstance(inner, dict):
        parts = [
            _field(f"{identifier}/{part}", kind, {**source, "transform": {"jsonPath": part}}, None)
            for part, kind in inner.items()
        ]
        return {**described, "subField": parts}
    if feature == "image":
        return {**described, "dataType": "sc:ImageObject", "source": {**source, "transform": {"jsonPath": "bytes"}}}
    return {**described, "dataType": _TYPES[str(_leaf(feature))], "source": source}


def _responsible(manifest: Mapping[str, Any], statement: Statement) -> dict[str, Any]:
    """The RAI block; properties about which nothing is known are not there."""
    left_out = ", ".join(f"{reason}: {rows:,}" for reason, rows in sorted(manifest["left_out"].items()))
    block = {
        "dataCollection": statement.collection,
        "dataCollectionType": list(statement.collection_types),
        "dataCollectionTimeFrame": [day for day in (statement.first_day, statement.last_day) if day],
        "dataCollectionMissingData": f"Rows left out, by reason: {left_out}." if left_out else "No row was left out.",
        "dataPreprocessingProtocol": list(statement.preprocessing),
        "dataAnnotationProtocol": list(statement.protocol),
        "dataAnnotationPlatform": ["pixmo"],
        "annotationsPerItem": statement.annotations_per_item,
        "annotatorDemographics": ["not collected"],
        "machineAnnotationTools": list(statement.models) or ["none"],
        "personalSensitiveInformation": list(statement.personal),
        "dataLimitations": [*statement.limitations, _IMAGES[manifest["settings"]["images"]]],
        "dataBiases": list(statement.biases),
        "dataUseCases": list(statement.uses),
        "dataReleaseMaintenancePlan": statement.maintenance,
    }
    return {f"rai:{name}": value for name, value in block.items() if value}
