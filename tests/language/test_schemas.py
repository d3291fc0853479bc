import base64
import json

import pytest
from pydantic import ValidationError

from pixmo.language.schemas import Message, PictureRefused, canonical_json
from tests.export.filling import jpeg

BASE64 = base64.b64encode(jpeg(1)).decode()


@pytest.mark.parametrize(
    "content",
    [
        "There is a cat; it sits on data: a chart, I think.",
        "The sign says www.example.com and below it photo.jpg.",
        "See https://example.com/about for more.",
        "word " * 500,
        "Eine Küche mit rotem Wasserkessel. 一只猫。",
        "",
    ],
)
def test_text_passes(content: str) -> None:
    assert Message(role="user", content=content).content == content


@pytest.mark.parametrize(
    "content",
    [
        f"Describe this: data:image/jpeg;base64,{BASE64}",
        "data:image/svg+xml,%3Csvg%3E",
        "data:;base64,AAAA",
        "Look at https://photos.example/a/kettle.JPG please",
        "Look at https://photos.example/kettle.webp?width=3#top",
        "s3://bucket/folder/kettle.png",
        "file:///tmp/kettle.jpeg",
        "![kettle](kettle)",
        "<img src=kettle>",
        BASE64,
        "\n".join(BASE64[i : i + 76] for i in range(0, len(BASE64), 76)),
        f"The picture: {BASE64[:60]}",
        "A" * 200,
        jpeg(1).hex(),
    ],
)
def test_pictures_are_refused(content: str) -> None:
    with pytest.raises(PictureRefused, match="text only"):
        Message(role="user", content=content)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": "https://photos.example/kettle"}}],
        [{"type": "text", "text": "hello"}],
        {"type": "text", "text": "hello"},
        b"hello",
        None,
        7,
    ],
)
def test_content_is_a_string_and_nothing_else(content: object) -> None:
    with pytest.raises(ValidationError):
        Message.model_validate({"role": "user", "content": content})


def test_messages_have_no_other_parts() -> None:
    with pytest.raises(ValidationError):
        Message.model_validate({"role": "user", "content": "hello", "images": ["AAAA"]})
    with pytest.raises(ValidationError):
        Message.model_validate({"role": "tool", "content": "hello"})


def test_canonical_json_does_not_depend_on_order() -> None:
    assert canonical_json({"b": [1, "ü"], "a": None}) == '{"a":null,"b":[1,"ü"]}'.encode()
    assert canonical_json({"a": 1, "b": 2}) == canonical_json(json.loads('{"b": 2, "a": 1}'))
    with pytest.raises(ValueError):
        canonical_json(float("nan"))
