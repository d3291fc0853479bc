"""Hypothesis strategies of Arrow columns, and arrays that hold the same values in other ways."""

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import settings
from hypothesis import strategies as st

QUICK = settings(max_examples=40, deadline=None)
"""A busy machine is slow, not wrong."""
POINTS = pa.list_(pa.struct([("x", pa.float64()), ("y", pa.float64())]))
_LEAVES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.int32(): st.integers(-9, 9),
    pa.float64(): st.floats(allow_nan=False).map(lambda value: value + 0.0),
    pa.float32(): st.floats(allow_nan=False, width=32).map(lambda value: value + 0.0),
    pa.string(): st.text(max_size=4),
    pa.binary(): st.binary(max_size=4),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(date(1970, 1, 1), date(2100, 1, 1)),
}
KINDS = st.recursive(
    st.sampled_from(list(_LEAVES)),
    lambda inner: st.one_of(
        inner.map(pa.list_),
        st.lists(inner, min_size=1, max_size=2).map(
            lambda kinds: pa.struct([(f"f{i}", k) for i, k in enumerate(kinds)])
        ),
    ),
    max_leaves=3,
)


def values_of(kind: pa.DataType) -> st.SearchStrategy[Any]:
    """Python values of an Arrow type, null among them, at every depth."""
    if pa.types.is_list(kind):
        return st.none() | st.lists(values_of(kind.value_type), max_size=3)
    if pa.types.is_struct(kind):
        return st.none() | st.fixed_dictionaries({field.name: values_of(field.type) for field in kind})
    return st.none() | _LEAVES[kind]


@st.composite
def columns(draw: st.DrawFn, most: int = 6) -> tuple[pa.DataType, list[Any]]:
    """A type, and values of it."""
    kind = draw(KINDS)
    return kind, draw(st.lists(values_of(kind), max_size=most))


@st.composite
def pairs(draw: st.DrawFn) -> tuple[pa.DataType, list[Any], list[Any]]:
    """A type, and two columns of it of one length, alike in most rows."""
    kind, before = draw(columns())
    after = [value if draw(st.booleans()) else draw(values_of(kind)) for value in before]
    return kind, before, after


@st.composite
def chunked(draw: st.DrawFn, kind: pa.DataType, values: Sequence[Any]) -> pa.ChunkedArray:
    """The same values in chunks, each a slice of an array that holds more before and after it."""
    cuts = sorted(draw(st.lists(st.integers(0, len(values)), max_size=3)))
    pieces = []
    for start, end in zip([0, *cuts], [*cuts, len(values)], strict=True):
        before, after = draw(st.lists(values_of(kind), max_size=9)), draw(st.lists(values_of(kind), max_size=2))
        array = pa.array([*before, *values[start:end], *after], kind)
        pieces.append(array.slice(len(before), end - start))
    return pa.chunked_array(pieces, kind)


def dirty(values: Sequence[int | None], kind: pa.DataType) -> pa.Array:
    """Numbers with something in the place of nulls."""
    mask = np.array([value is None for value in values])
    filled = np.array([77 if value is None else value for value in values], kind.to_pandas_dtype())
    return pa.array(filled, kind, mask=mask)
