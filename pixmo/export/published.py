"""The published PixMo data sets: their columns, exactly, in order, with nesting and types; and what each column means.

Source: the cards and files of `allenai/pixmo-*`, and the reference reader of Molmo. The published cards of the point
sets say that coordinates are pixels; their values and the reference reader say percent, and percent is what pixmo
writes. Only PixMo-Count holds pixels.

A struct of lists, which the published cards spell `sequence: [x, y]`, is a dict of lists here: Arrow types, features
and rows are the same, and every release of `datasets` from 2.21 reads it.
"""

from collections.abc import Mapping

from pixmo.export.schemas import Feature

_POINT: dict[str, Feature] = {"x": "float64", "y": "float64"}
_QUESTIONS: dict[str, Feature] = {"question": ["string"], "answer": ["string"]}
_DOCUMENT: dict[str, Feature] = {"image": "image", "image_id": "string", "questions": _QUESTIONS}

PUBLISHED: dict[str, dict[str, dict[str, Feature]]] = {
    "cap": {"default": {"image_url": "string", "caption": "string", "transcripts": ["string"]}},
    "points": {
        "default": {
            "image_url": "string",
            "image_sha256": "string",
            "points": [_POINT],
            "count": "int64",
            "label": "string",
            "collection_method": "string",
        }
    },
    "points-eval": {
        "default": {
            "image_url": "string",
            "image_sha256": "string",
            "label": "string",
            "points": [_POINT],
            "masks": [[["bool"]]],
        }
    },
    "point-explanations": {
        "default": {
            "image_url": "string",
            "image_sha256": "string",
            "question": "string",
            "response": "string",
            "parsed_response": "string",
            "alt_text": ["string"],
            "inline_text": ["string"],
            "points": [[["float64"]]],
        }
    },
    "count": {
        "default": {
            "image_url": "string",
            "image_sha256": "string",
            "count": "int32",
            "points": {"x": ["float32"], "y": ["float32"]},
            "label": "string",
        }
    },
    "ask-model-anything": {
        "default": {"image_url": "string", "image_sha256": "string", "question": "string", "answer": "string"}
    },
    "cap-qa": {
        "default": {"image_url": "string", "question": "string", "answer": "string", "messages": ["string"]},
    },
    "docs": {"charts": _DOCUMENT, "diagrams": _DOCUMENT, "tables": _DOCUMENT, "other": _DOCUMENT},
    "clocks": {
        "default": {
            "example_id": "string",
            "watchface_id": "string",
            "watchface_name": "string",
            "watch_time": "string",
            "time_format": "string",
            "shows_seconds": "bool",
            "hour_visible": "int32",
            "minute_visible": "int32",
            "second_visible": "int32",
            "text": "string",
        }
    },
}
"""{data set: {configuration: {column: feature}}}, without the prefix `pixmo-`."""

SPLITS: dict[str, tuple[str, ...]] = {
    "cap": ("train",),
    "points": ("train",),
    "points-eval": ("test",),
    "point-explanations": ("train",),
    "count": ("train", "validation", "test"),
    "ask-model-anything": ("train",),
    "cap-qa": ("train",),
    "docs": ("train", "validation"),
    "clocks": ("train", "validation"),
}
"""The splits that are published; those of `docs` in each of its configurations."""

_PERCENT = (
    "percent of the upright image, 0 to 100: `x` of its width from the left edge, `y` of its height from the top edge "
    "(origin top left)"
)
_PIXELS = "pixels of the upright image: `x` from its left edge, `y` from its top edge (origin top left)"
_URL = "where the image came from; `urn:sha256:` and its hash if it has no address"
_SHA256 = "SHA-256 of the bytes that `image_url` gives"

MEANING: dict[str, dict[str, str]] = {
    "cap": {
        "image_url": _URL,
        "caption": "the caption",
        "transcripts": "what each person said, as text, one entry per take",
    },
    "points": {
        "image_url": _URL,
        "image_sha256": _SHA256,
        "points": f"the points, in the order of the clicks; {_PERCENT}; empty if nothing in the image fits the label",
        "count": "number of points",
        "label": "the expression that the points refer to",
        "collection_method": "`pointing`: a person named things and pointed at them; `counting`: a person pointed at "
        "all instances, one after another",
    },
    "points-eval": {
        "image_url": _URL,
        "image_sha256": _SHA256,
        "label": "the expression that the points refer to",
        "points": f"one point for each thing; {_PERCENT}",
        "masks": "one mask for each point, in the same order: rows from top to bottom, columns from left to right, at "
        "the size of the upright image in pixels; true where a point counts as a hit",
    },
    "point-explanations": {
        "image_url": _URL,
        "image_sha256": _SHA256,
        "question": "the question",
        "response": "the answer, with its points as `<point x= y= alt=>` and `<points x1= y1= ... alt=>`; "
        "coordinates in percent, 0 to 100, origin top left",
        "parsed_response": "the answer with `<|POINT|>` in the place of each group of points",
        "alt_text": "what each group of points points at, in the order of the answer",
        "inline_text": "the words of the answer that each group of points stands for, in the order of the answer",
        "points": f"for each group of points in the order of the answer, its points as [x, y]; {_PERCENT}",
    },
    "count": {
        "image_url": _URL,
        "image_sha256": _SHA256,
        "count": "how many there are",
        "points": f"one point for each, as a list of `x` and a list of `y`; {_PIXELS}; null if there are no points, as "
        "in validation and test",
        "label": "what is counted",
    },
    "ask-model-anything": {
        "image_url": _URL,
        "image_sha256": _SHA256,
        "question": "what a person asked of the image",
        "answer": "the answer that the person accepted",
    },
    "cap-qa": {
        "image_url": _URL,
        "question": "the dialogue up to the last answer; turns begin with `[USER]` and `[ASSISTANT]`",
        "answer": "the last answer",
        "messages": "the turns of user and assistant by turns, beginning with the user; an even number",
    },
    "docs": {
        "image": "the drawn document",
        "image_id": "name of the document",
        "questions": "what can be asked of the document, as a list of `question` and a list of `answer` that run "
        "parallel",
    },
    "clocks": {
        "example_id": "name of the example",
        "watchface_id": "identifier of the watch face",
        "watchface_name": "name of the watch face",
        "watch_time": "number of the rendering and the time set, like `003_2020-06-28T08:15:30`",
        "time_format": "whether the face tells morning from afternoon, like `With AM/PM`",
        "shows_seconds": "whether the face shows seconds",
        "hour_visible": "hour on the face: 0 to 23, 0 to 11 if it does not tell morning from afternoon; -1 if not "
        "visible",
        "minute_visible": "minute on the face, 0 to 59; -1 if not visible",
        "second_visible": "second on the face, 0 to 59; -1 if not visible",
        "text": "the time in words of the face, like `7:57:39 AM`",
    },
}
"""{data set: {column: meaning}}, with unit and origin of coordinates; the configurations of `docs` share theirs."""


def features(name: str, config: str = "default") -> Mapping[str, Feature]:
    """The published columns of a data set, `points` or `pixmo-points`. Raises `KeyError` if there is none."""
    return PUBLISHED[name.removeprefix("pixmo-")][config]
