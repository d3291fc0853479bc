"""PixMo-CapQA: questions and answers about images that a text-only language model wrote from captions alone."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute

from pixmo.captions.models import Caption
from pixmo.export.calls import Calls, joined, offsets, once
from pixmo.export.pages import Columns, Reading, count, from_json, kept, read_revised, text
from pixmo.export.provenance import annotators, people, step
from pixmo.export.published import MEANING, PUBLISHED
from pixmo.export.segments import RowInvalid
from pixmo.export.sets import IMAGE_COLUMNS, PEOPLE_COLUMNS, DataSet, Measure, enriched
from pixmo.language.models import LlmCall
from pixmo.questions.models import CaptionDialogue

USER, ASSISTANT = "[USER]", "[ASSISTANT]"
_MARKER = r"\[(?:USER|ASSISTANT)\]"
_TURNS = pa.list_(pa.string())
_BATCH = 5_000


def rows(reading: Reading) -> Iterator[pa.Table]:
    """One row for every dialogue."""
    columns: dict[str, InstrumentedAttribute[Any]] = {
        "image_id": CaptionDialogue.image_id,
        "messages": CaptionDialogue.messages,
    }
    if reading.enriched:
        columns |= {
            "campaign_id": CaptionDialogue.campaign_id, "created_at": CaptionDialogue.created_at,
            "llm_call_ids": CaptionDialogue.llm_call_ids, "caption_id": CaptionDialogue.caption_id,
        }  # fmt: skip
    for page in read_revised(reading, CaptionDialogue, columns):
        yield _table(reading, page)


def _table(reading: Reading, page: Columns) -> pa.Table:
    frame = reading.frame(page["image_id"])
    messages = from_json(page["messages"], _TURNS, page["row_id"])
    check_turns(messages, page["row_id"])
    question, answer = transcript(messages)
    table = {
        **frame.published(),
        "question": question,
        "answer": answer,
        "messages": messages,
        "row_id": pa.array(page["row_id"], pa.int64()),
        "annotators": annotators(reading, page),
        "original_sha256": frame.column("sha256"),
    }
    if reading.enriched:
        by_people = np.array([user is not None for user in page["user_id"]], bool)
        table |= {"image_file": frame.picture(), **frame.provenance(), **people(reading, page)}
        table |= {
            "agreement": pa.nulls(len(by_people), pa.float64()),
            "steps": joined(
                Calls(reading, page).steps("messages"), once(step("messages", "human", saw_image=True), by_people)
            ),
            "caption": _captions(reading, page["caption_id"]),
        }
    return kept(table, frame.keep)


def check_turns(messages: pa.Array, row_ids: Sequence[int]) -> None:
    """Turns of user and assistant, an even number, none blank or with a marker in it. Raises `RowInvalid`."""
    lengths = pc.fill_null(pc.list_value_length(messages), 0).to_numpy()
    wrong = np.flatnonzero((lengths == 0) | (lengths % 2 == 1))
    if wrong.size:
        number = lengths[wrong[0]]
        raise RowInvalid(
            f"Row {row_ids[wrong[0]]} has {f'an odd number of messages ({number})' if number else 'no messages'}, and a "
            "dialogue is pairs of a question and its answer. Correct or withdraw it, then export again."
        )
    of_turn = pa.array(row_ids, pa.int64()).take(pc.list_parent_indices(messages))
    turns = text(messages.flatten(), "text in one of its messages", of_turn)
    place = pc.index(pc.match_substring_regex(turns, _MARKER), True).as_py()
    if place >= 0:
        raise RowInvalid(
            f"Row {of_turn[place]} has {USER} or {ASSISTANT} in a message, where readers of `question` would begin "
            "another turn. Correct or withdraw it, then export again."
        )


def transcript(messages: pa.Array) -> tuple[pa.Array, pa.Array]:
    """Dialogues as the published `question` and `answer`: the turns up to the last reply, and that reply.

    Each turn comes after its marker, and the question ends with that of the reply: `[USER] Why? [ASSISTANT] So.
    [USER] Really? [ASSISTANT]`.
    """
    turns, lengths = messages.flatten(), pc.list_value_length(messages).to_numpy()
    bounds = offsets(lengths)
    ends = bounds.to_numpy()[1:]
    place = np.arange(len(turns)) - np.repeat(ends - lengths, lengths)
    marker = pc.if_else(pa.array(place % 2 == 0), USER, ASSISTANT)
    last = np.zeros(len(turns), bool)
    last[ends - 1] = True
    pieces = pc.if_else(pa.array(last), marker, pc.binary_join_element_wise(marker, turns, " "))
    return pc.binary_join(pa.ListArray.from_arrays(bounds, pieces), " "), turns.take(pa.array(ends - 1))


def _captions(reading: Reading, ids: Sequence[str | None]) -> pa.Array:
    """The text of each caption; null where there is none."""
    wanted = pa.array(ids, pa.string()).dictionary_encode()
    distinct = wanted.dictionary.to_pylist()
    texts: dict[str, str] = {}
    for start in range(0, len(distinct), _BATCH):
        some = select(Caption.id, Caption.text).where(Caption.id.in_(distinct[start : start + _BATCH]))
        texts |= {row.id: row.text for row in reading.session.execute(some)}
    return pa.array([texts[id_] for id_ in distinct], pa.string()).take(wanted.indices)


SET = DataSet(
    name="cap-qa",
    title="Caption QA",
    about="questions and answers about images that a text-only language model wrote from their captions",
    configs=PUBLISHED["cap-qa"],
    enriched=enriched(
        PUBLISHED["cap-qa"]["default"],
        {"image_sha256": "string"},
        IMAGE_COLUMNS,
        PEOPLE_COLUMNS,
        {"caption": "string"},
    ),
    by_models=True,
    rows=rows,
    count=lambda reading: count(reading, CaptionDialogue),
    tables=[CaptionDialogue, Caption, LlmCall],
    meaning=MEANING["cap-qa"]
    | {
        "image_sha256": MEANING["ask-model-anything"]["image_sha256"],
        "caption": "the caption from which the dialogue was written; null if it is not known",
    },
    measures=[Measure("Length of a dialogue", "turns", lambda page: pc.list_value_length(page.column("messages")))],
    tags=["question-answering", "synthetic", "multi-turn"],
    statement=[
        "A text-only language model was given the caption of an image, which was made from what people said of it, and "
        "wrote questions and answers; it did not see the image.",
        "An answer can say no more of the image than its caption does, and its mistakes go unseen by people unless "
        "`steps` names one.",
    ],
)
