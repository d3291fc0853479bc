"""The calls of language models behind the rows of a page, as columns of `enriched`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pixmo.export.pages import Columns, Reading, from_json
from pixmo.export.provenance import STEPS_TYPE, is_text, step
from pixmo.export.segments import RowInvalid

_IDS = pa.list_(pa.string())
_BATCH = 1_000
"""Calls in memory at a time: each holds all that was said."""


class Calls:
    """The calls named by the column `llm_call_ids` of a page, in their order; each is read once.

    Raises `RowInvalid` if a row names a call of which there is no record.
    """

    def __init__(self, reading: Reading, page: Columns) -> None:
        lists = pc.fill_null(from_json(page["llm_call_ids"], _IDS, page["row_id"]), pa.scalar([], _IDS))
        self._lengths = pc.list_value_length(lists).to_numpy()
        ids = lists.flatten().dictionary_encode()
        distinct = ids.dictionary.to_pylist()
        self._codes = ids.indices
        said = _said(reading, distinct)
        if ids.null_count or len(said) < len(distinct):
            place = pc.index(pc.is_in(lists.flatten(), pa.array(list(said), pa.string())), False).as_py()
            row = pc.list_parent_indices(lists)[place].as_py()
            raise RowInvalid(
                f"Row {page['row_id'][row]} names the language model call {lists.flatten()[place]}, of which there is "
                "no record. Restore it from a backup or withdraw the row, then export again."
            )
        self._said = [said[id_] for id_ in distinct]

    @property
    def some(self) -> NDArray[np.bool_]:
        """bool [rows]: whether a language model had a part in the row."""
        some: NDArray[np.bool_] = self._lengths > 0
        return some

    def models(self) -> pa.Array:
        """`list<string>`: the model of each call."""
        models = pa.array([one["model"] for one in self._said], pa.string())
        return pa.ListArray.from_arrays(offsets(self._lengths), models.take(self._codes))

    def steps(self, field: str) -> pa.Array:
        """`steps` in which each call made `field`."""
        values = pa.array([{**one, "field": field} for one in self._said], STEPS_TYPE.value_type)
        return pa.ListArray.from_arrays(offsets(self._lengths), values.take(self._codes))


def once(one: dict[str, Any], where: NDArray[np.bool_]) -> pa.Array:
    """`steps` of one step in the rows where `where` (bool [rows]) is true, and of none in the others."""
    values = pa.repeat(pa.scalar(one, STEPS_TYPE.value_type), int(where.sum()))
    return pa.ListArray.from_arrays(offsets(where), values)


def joined(*parts: pa.Array) -> pa.Array:
    """Row by row, what the lists hold, one after the other."""
    rows = np.concatenate([pc.list_parent_indices(part).to_numpy() for part in parts])
    lengths = sum(pc.list_value_length(part).to_numpy() for part in parts)
    values = pa.concat_arrays([part.flatten() for part in parts])
    return pa.ListArray.from_arrays(offsets(lengths), values.take(pa.array(np.argsort(rows, kind="stable"))))


def offsets(lengths: NDArray[Any]) -> pa.Array:
    """int32 [rows + 1]: where the values of each row begin, from how many there are."""
    return pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())


def _said(reading: Reading, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Calls by id as steps that name no field yet."""
    found = {}
    for start in range(0, len(ids), _BATCH):
        for id_, call in reading.calls(set(ids[start : start + _BATCH])).items():
            found[id_] = step("", "llm_text", call.model, call.prompt, saw_image=not is_text(call))
    return found
