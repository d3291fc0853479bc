"""PixMo-AskModelAnything: what people asked of images, and the answers that they corrected until they were right."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.export.calls import Calls, joined, once
from pixmo.export.pages import Columns, Reading, count, kept, read_revised, text, words
from pixmo.export.provenance import annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.language.models import LlmCall
from pixmo.questions.models import Answer


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every question."""
    columns: dict[str, InstrumentedAttribute[Any]] = {
        "image_id": Answer.image_id,
        "question": Answer.question,
        "answer": Answer.answer,
    }
    if reading.enriched:
        columns |= {
            "campaign_id": Answer.campaign_id, "created_at": Answer.created_at, "llm_call_ids": Answer.llm_call_ids,
        }  # fmt: skip
    for page in read_revised(reading, Answer, columns):
        yield _table(reading, page)


def _table(reading: Reading, page: Columns) -> pa.Table:
    frame = reading.frame(page["image_id"])
    table = {
        **frame.published(),
        "question": text(page["question"], "question", page["row_id"]),
        "answer": text(page["answer"], "answer", page["row_id"]),
        "row_id": pa.array(page["row_id"], pa.int64()),
        "annotators": annotators(reading, page),
        "original_sha256": frame.column("sha256"),
    }
    if reading.enriched:
        calls, everywhere = Calls(reading, page), np.ones(len(page["row_id"]), bool)
        table |= {"image_file": frame.picture(), **frame.provenance(), **people(reading, page)}
        table |= {
            "agreement": pa.nulls(len(everywhere), pa.float64()),
            "steps": joined(
                once(step("question", "human", saw_image=True), everywhere),
                calls.steps("answer"),
                once(step("answer", "human", saw_image=True), everywhere),
            ),
            "answer_models": calls.models(),
        }
    return kept(table, frame.keep)


SET = DataSet(
    name="ask-model-anything",
    title="Ask Model Anything",
    about="questions that people asked of images, with answers that they corrected until they were right",
    configs=PUBLISHED["ask-model-anything"],
    enriched=enriched(
        PUBLISHED["ask-model-anything"]["default"], IMAGE_COLUMNS, PEOPLE_COLUMNS, {"answer_models": ["string"]}
    ),
    by_models=True,
    rows=rows,
    count=lambda reading: count(reading, Answer),
    tables=[Answer, LlmCall],
    meaning=MEANING["ask-model-anything"]
    | {"answer_models": "text-only language model behind each draft of the answer, in order"},
    measures=[
        Measure("Length of a question", "words", lambda page: words(page.column("question"))),
        Measure("Length of an answer", "words", lambda page: words(page.column("answer"))),
    ],
    tags=["question-answering", "free-form"],
    statement=[
        "A person saw an image and asked whatever they wanted to know about it.",
        "A text-only language model that saw no image drafted an answer from a caption of the image and the text found "
        "in it; the person accepted it, or had it corrected until it was right.",
    ],
)
