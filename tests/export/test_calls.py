import numpy as np
import pyarrow as pa
import pytest
from sqlalchemy import insert

from pixmo.context import Context
from pixmo.export.calls import Calls, joined, offsets, once
from pixmo.export.pages import Reading
from pixmo.export.provenance import STEPS_TYPE
from pixmo.export.segments import RowInvalid
from pixmo.language.models import LlmCall
from tests.export.sources.asking import TEXT, made

DRAWN, WRITTEN = made("image", "script", saw=False), made("answer", "human", saw=True)


def record(context: Context, count: int) -> None:
    """Calls `0`, `1`, ... of the models `m0`, `m1`, ..."""
    call = {"purpose": "answer", "subject_id": "x", "endpoint": "http://127.0.0.1", "parameters": {}, "prompt": "p@1"}
    call |= {"messages": TEXT, "sha256": "0" * 64, "latency": 0.5}
    with context.db.write() as session:
        session.execute(insert(LlmCall), [{"id": str(n), "model": f"m{n}", **call} for n in range(count)])


def read(context: Context, ids: list[str]) -> Calls:
    """The calls of a page whose rows are numbered from 1 and have these `llm_call_ids`, as JSON."""
    with context.db.read() as session:
        reading = Reading(session, b"", lambda image: ("", ""))
        return Calls(reading, {"llm_call_ids": ids, "row_id": list(range(1, len(ids) + 1))})


def test_more_calls_than_are_held_at_a_time_keep_rows_and_order(context: Context) -> None:
    record(context, 2_500)
    calls = read(context, [f'["{n}", "{2_499 - n}"]' if n % 2 else "[]" for n in range(2_500)])
    expected = [[f"m{n}", f"m{2_499 - n}"] if n % 2 else [] for n in range(2_500)]
    assert calls.models().to_pylist() == expected
    assert calls.some.tolist() == [bool(models) for models in expected]
    steps = calls.steps("answer")
    assert steps.type == STEPS_TYPE
    assert steps.to_pylist() == [
        [made("answer", "llm_text", model, "p@1", saw=False) for model in models] for models in expected
    ]


def test_rows_without_calls_have_none(context: Context) -> None:
    calls = read(context, ["[]", "null"])
    assert calls.models().to_pylist() == calls.steps("answer").to_pylist() == [[], []]
    assert calls.some.tolist() == [False, False]


def test_the_first_row_with_a_call_that_is_not_recorded_is_named(context: Context) -> None:
    record(context, 2)
    with pytest.raises(RowInvalid, match="Row 2 names the language model call 7, of which there is no record"):
        read(context, ['["0"]', '["1", "7"]', '["8"]'])
    with pytest.raises(RowInvalid, match="Row 2 holds what is no list<"):
        read(context, ['["0"]', '["1", 7]'])


def test_steps_are_joined_row_by_row() -> None:
    first = once(DRAWN, np.array([True, True, False, False]))
    second = once(WRITTEN, np.array([False, True, False, True]))
    assert joined(first, second).to_pylist() == [[DRAWN], [DRAWN, WRITTEN], [], [WRITTEN]]
    assert joined(second, first).to_pylist() == [[DRAWN], [WRITTEN, DRAWN], [], [WRITTEN]]
    assert joined(first.slice(0, 0), second.slice(0, 0)).to_pylist() == []
    assert joined(first, second).type == STEPS_TYPE


def test_offsets_say_where_each_row_begins() -> None:
    assert offsets(np.array([2, 0, 3])) == pa.array([0, 2, 2, 5], pa.int32())
