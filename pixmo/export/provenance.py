"""The columns of `enriched` that say who made a row, and how."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pixmo.export.pages import Columns, Reading
from pixmo.export.schemas import arrow_schema
from pixmo.export.sets import STEPS
from pixmo.language.models import LlmCall
from pixmo.language.schemas import Message, PictureRefused

STEPS_TYPE = arrow_schema({"steps": STEPS}).field("steps").type


def step(
    field: str, origin: str, model: str | None = None, model_revision: str | None = None, *, saw_image: bool
) -> dict[str, Any]:
    """One entry of `steps`: what made `field`, and whether it saw the image."""
    return {
        "field": field, "origin": origin, "model": model, "model_revision": model_revision, "saw_image": saw_image
    }  # fmt: skip


def people(reading: Reading, page: Columns, steps: Sequence[dict[str, Any]] | None = None) -> dict[str, pa.Array]:
    """Campaign, language, consents and day of the rows of a page, with the same `steps` for each if they are given.

    Needs the columns `campaign_id` and `created_at` of the page; `annotators` is not part of it.
    """
    campaigns = [reading.campaigns[id_] for id_ in page["campaign_id"]]
    columns = {
        "campaign": pa.array([name for name, _ in campaigns], pa.string()),
        "language": pa.array([language for _, language in campaigns], pa.string()),
        "consent_versions": lists([reading.consents[consent] for consent in page["consent_id"]]),
        "annotated_on": pa.array(page["created_at"], pa.string()).cast(pa.date32()),
    }
    if steps is not None:
        columns["steps"] = pa.repeat(pa.scalar(list(steps), STEPS_TYPE), len(campaigns))
    return columns


def annotators(reading: Reading, page: Columns) -> pa.Array:
    """`list<string>`: the pseudonym of who made each row; none for what code made."""
    return lists([reading.pseudonyms[user] for user in page["user_id"]])


def lists(values: Sequence[str | None]) -> pa.Array:
    """Every value as a list of one; a missing one as an empty list."""
    flat = pa.array(values, pa.string())
    present = flat.is_valid().to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(present, dtype=np.int32)), dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), flat.drop_null())


def is_text(call: LlmCall) -> bool:
    """Whether the record of a call shows that nothing but text was sent."""
    try:
        for message in call.messages:
            Message.model_validate(message)
    except (ValidationError, PictureRefused):
        return False
    return True
