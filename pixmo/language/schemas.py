"""What may be said to a language model: text, and nothing that carries a picture."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, field_validator

from pixmo.errors import Unprocessable

_EXTENSIONS = "jpe?g|png|webp|gif|bmp|tiff?|avif|heic|heif|svg|jxl|ico"
_PICTURES = {
    "a data: URI": re.compile(r"\bdata:(?:[\w.+-]+/[\w.+-]+\s*[;,]|;\s*base64)", re.IGNORECASE),
    "the address of an image": re.compile(rf"\b[a-z][a-z0-9+.-]*://\S*?\.(?:{_EXTENSIONS})(?![\w-])", re.IGNORECASE),
    "an image in Markdown or HTML": re.compile(r"!\[[^\]]*\]\([^)\s]|<(?:img|image|svg)\b", re.IGNORECASE),
    # The first bytes of JPEG, PNG, GIF, RIFF (WebP) and BMP or TIFF files, in base64.
    "an image in base64": re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD[dl]h|UklGR|SUkqA|TU0AK)[A-Za-z0-9+/_=-]{16,}"),
    "bytes in base64": re.compile(r"(?<![A-Za-z0-9+/_=-])(?:[A-Za-z0-9+/_=-]{200,}|(?:[A-Za-z0-9+/_=-]{60,}\s+){3,})"),
}

_NEEDED: dict[str, Callable[[str], bool]] = {
    "a data: URI": lambda lowered: "data:" in lowered,
    "the address of an image": lambda lowered: "://" in lowered,
    "bytes in base64": lambda lowered: max(map(len, lowered.split()), default=0) >= 60,
}
"""What a text must have for a pattern to be worth a search: exports ask of every call that was ever made."""


class PictureRefused(Unprocessable):
    """A text carries an image, or the address of one; no retry cures that."""

    code = "picture_refused"
    title = "A language model is given text only"


class Message(BaseModel):
    """One message of a conversation with a text-only model.

    `content` is text: `data:` URIs, addresses of image files, images in Markdown or HTML and base64 raise
    `PictureRefused`, lists of parts `pydantic.ValidationError`, so that no image can reach a model through this door.
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str

    @field_validator("content")
    @classmethod
    def _no_picture(cls, content: str) -> str:
        lowered = content.casefold()
        for what, pattern in _PICTURES.items():
            if (what not in _NEEDED or _NEEDED[what](lowered)) and pattern.search(content):
                raise PictureRefused(
                    f"The text holds {what}, and a language model is given text only. Correct the text."
                )
        return content


@dataclass(frozen=True)
class Completion:
    """What the model answered, and the `LlmCall` that holds the whole exchange."""

    text: str
    call_id: str


class TextModel(Protocol):
    """A text-only language model, as a pipeline sees it. `prompt` names the versioned prompt that was used."""

    def __call__(self, messages: Sequence[Message], *, prompt: str) -> Completion: ...


def canonical_json(value: Any) -> bytes:
    """The one JSON text of `value` as UTF-8: sorted keys, no spaces; what is hashed and signed.

    Agrees with RFC 8785 for objects with ASCII keys whose numbers are integers.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
