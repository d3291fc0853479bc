"""PixMo-Docs: documents that code drew, with questions about them, in four configurations by kind."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.export.calls import Calls, joined, once
from pixmo.export.pages import Columns, Reading, count, from_json, kept, read_revised, text
from pixmo.export.provenance import annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.schemas import Feature
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.language.models import LlmCall
from pixmo.synthetic.models import Document

_QUESTIONS = pa.list_(pa.struct([("question", pa.string()), ("answer", pa.string())]))
_ID_DIGITS = 32
_CODE: dict[str, Feature] = {"kind": "string", "code": "string"}
_ADDRESS: dict[str, Feature] = {"image_url": "string", "image_sha256": "string"}
_MADE = {name: PEOPLE_COLUMNS[name] for name in ("campaign", "language", "annotated_on", "steps")}


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every document."""
    columns: dict[str, InstrumentedAttribute[Any]] = {
        "image_id": Document.image_id,
        "kind": Document.kind,
        "questions": Document.questions,
    }
    if reading.enriched:
        columns |= {
            "campaign_id": Document.campaign_id, "created_at": Document.created_at,
            "llm_call_ids": Document.llm_call_ids, "code": Document.code,
        }  # fmt: skip
    for page in read_revised(reading, Document, columns):
        yield _table(reading, page)


def _table(reading: Reading, page: Columns) -> pa.Table:
    frame = reading.frame(page["image_id"])
    sha256 = frame.column("sha256")
    table = {
        "image": frame.picture(),
        "image_id": pc.utf8_slice_codeunits(sha256, 0, _ID_DIGITS),
        "questions": _parallel(from_json(page["questions"], _QUESTIONS, page["row_id"]), page["row_id"]),
        "kind": pa.array(page["kind"], pa.string()),
        "row_id": pa.array(page["row_id"], pa.int64()),
        "split": frame.column("split"),
        "annotators": annotators(reading, page),
        "original_sha256": sha256,
    }
    if reading.enriched:
        calls, everywhere = Calls(reading, page), np.ones(len(page["row_id"]), bool)
        table |= {"image_file": frame.picture(), **frame.published(), **frame.provenance(), **people(reading, page)}
        table |= {
            "code": text(page["code"], "code", page["row_id"]),
            "steps": joined(
                once(step("image", "script", saw_image=False), everywhere),
                calls.steps("questions"),
                once(step("questions", "script", saw_image=False), ~calls.some),
            ),
        }
    return kept(table, frame.keep)


def _parallel(questions: pa.Array, row_ids: Sequence[int]) -> pa.Array:
    """`list<struct<question, answer>>` as a struct of two lists. Raises `RowInvalid` where there is nothing to ask."""
    none = pc.equal(pc.fill_null(pc.list_value_length(questions), 0), 0)
    if (place := pc.index(none, True).as_py()) >= 0:
        raise RowInvalid(f"Row {row_ids[place]} is a document without questions. Withdraw it, then export again.")
    of_question = pa.array(row_ids, pa.int64()).take(pc.list_parent_indices(questions))
    columns = {}
    for name in ("question", "answer"):
        values = text(pc.struct_field(questions.flatten(), name), f"{name} in one of its questions", of_question)
        columns[name] = pa.ListArray.from_arrays(questions.offsets, values)
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


SET = DataSet(
    name="docs",
    title="Docs",
    about="charts, tables, diagrams and other documents that code drew, with questions and answers about them",
    configs=PUBLISHED["docs"],
    enriched=enriched(
        {"image_id": "string", "questions": PUBLISHED["docs"]["charts"]["questions"]},
        _CODE,
        _ADDRESS,
        IMAGE_COLUMNS,
        _MADE,
    ),
    by_models=True,
    rows=rows,
    count=lambda reading: count(reading, Document),
    tables=[Document, LlmCall],
    meaning=MEANING["docs"]
    | {
        "image_id": "name of the document: the first 32 hex digits of its `original_sha256`",
        "kind": "the configuration to which the row belongs: `charts`, `diagrams`, `tables` or `other`",
        "code": "the code that drew the document",
        **{name: MEANING["ask-model-anything"][name] for name in _ADDRESS},
    },
    measures=[
        Measure(
            "Questions of a document",
            "questions",
            lambda page: pc.list_value_length(pc.struct_field(page.column("questions"), "question")),
        )
    ],
    part="kind",
    tags=["question-answering", "synthetic", "documents", "charts"],
    statement=[
        "Code drew every image. The questions were written from that code and its data, not from the image: by a "
        "text-only language model or by a script, as `steps` says.",
        "Nobody looked at a document to annotate it.",
    ],
)
