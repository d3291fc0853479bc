from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from pixmo.export.digest import combined, content_sha256
from tests.export.arrays import POINTS, QUICK, chunked, columns, dirty, pairs


def digest(*arrays: pa.Array | pa.ChunkedArray) -> str:
    return content_sha256(pa.table({f"c{i}": array for i, array in enumerate(arrays)}))


FIXED = pa.table(
    {
        "row_id": pa.array([1, 2, 3], pa.int64()),
        "caption": pa.array(["a red kettle", None, "zwölf Äpfel 🍎"], pa.string()),
        "points": pa.array([[{"x": 1.5, "y": None}], [], None], POINTS),
        "days": pa.array([[date(2026, 3, 1)], None, []], pa.list_(pa.date32())),
        "used": pa.array([True, None, False], pa.bool_()),
        "bytes": pa.array([b"\x00\xff", b"", None], pa.binary()),
        "width": pa.array([None, -1, 2**31 - 1], pa.int32()),
        "pixels": pa.array([{"x": [0.5], "y": []}, None, {"x": None, "y": [1, None]}],
                           pa.struct([("x", pa.list_(pa.float32())), ("y", pa.list_(pa.float32()))])),
    }
)  # fmt: skip


def test_the_hash_of_a_table_is_what_it_always_was() -> None:
    assert content_sha256(FIXED) == "4386bfe4f525206aa71bd597a5fa1cc87ed97e8590547be4ff62300bfe746e9a"
    assert content_sha256(FIXED.slice(0, 0)) == "421164ae844cd250031805d99e4ff1398f5dd96defb401f5f6d13424c3fd015e"


@QUICK
@given(st.data(), columns())
def test_batches_slices_and_chunks_do_not_matter(data: st.DataObject, column: tuple[pa.DataType, list[Any]]) -> None:
    kind, values = column
    assert digest(data.draw(chunked(kind, values))) == digest(pa.array(values, kind))


@pytest.mark.parametrize("name", FIXED.column_names)
def test_a_slice_is_hashed_without_what_lies_around_it(name: str) -> None:
    values = FIXED[name].to_pylist()
    for start, end in ((0, 2), (1, 2), (1, 3), (2, 3)):
        array = pa.array([*values, *values], FIXED[name].type).slice(3 + start, end - start)
        assert digest(array) == digest(pa.array(values[start:end], FIXED[name].type))


@QUICK
@given(pairs())
@example((pa.string(), [None], [""]))
@example((pa.list_(pa.int64()), [None], [[]]))
@example((pa.list_(pa.int64()), [[None]], [[]]))
@example((pa.list_(pa.int64()), [[None]], [[0]]))
@example((pa.struct([("a", pa.int64())]), [None], [{"a": None}]))
@example((pa.bool_(), [None], [False]))
@example((pa.int64(), [None, 0], [0, None]))
def test_the_hash_is_equal_where_the_values_are(pair: tuple[pa.DataType, list[Any], list[Any]]) -> None:
    kind, before, after = pair
    a, b = pa.array(before, kind), pa.array(after, kind)
    assert (digest(a) == digest(b)) == (a.to_pylist() == b.to_pylist())


@QUICK
@given(columns(), columns())
def test_columns_do_not_run_into_one_another(
    one: tuple[pa.DataType, list[Any]], other: tuple[pa.DataType, list[Any]]
) -> None:
    length = min(len(one[1]), len(other[1]))
    a, b = (pa.array(values[:length], kind) for kind, values in (one, other))
    assume(a.type != b.type or a.to_pylist() != b.to_pylist())
    assert digest(a, b) != digest(b, a)
    assert len({digest(a), digest(b), digest(a, b), digest(b, a)}) == 4


@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (pa.string(), ["ab", "c"], ["a", "bc"]),
        (pa.binary(), [b"ab", b"", b"c"], [b"a", b"b", b"c"]),
        (pa.list_(pa.int64()), [[1, 2], [3]], [[1], [2, 3]]),
        (pa.list_(pa.int64()), [[], [1]], [[1], []]),
        (pa.list_(pa.list_(pa.bool_())), [[[True], []]], [[[], [True]]]),
        (pa.list_(pa.string()), [["ab"], ["c"]], [["a"], ["bc"]]),
        (pa.bool_(), [True] + [False] * 8, [True] + [False] * 7 + [True]),
    ],
)
def test_moved_borders_are_seen(kind: pa.DataType, one: list[Any], other: list[Any]) -> None:
    assert digest(pa.array(one, kind)) != digest(pa.array(other, kind))


def test_names_types_and_lengths_count() -> None:
    numbers = pa.array([1, 2], pa.int64())
    hashes = {
        content_sha256(pa.table({"a": numbers})),
        content_sha256(pa.table({"b": numbers})),
        content_sha256(pa.table({"a": numbers.cast(pa.int32())})),
        content_sha256(pa.table({"a": numbers.slice(0, 1)})),
        content_sha256(pa.table({"a": numbers.slice(0, 0)})),
        content_sha256(pa.table({"a": pa.array(["", ""])})),
        content_sha256(pa.table({"a": pa.array([b"", b""])})),
        content_sha256(pa.table({"a": numbers, "b": numbers})),
        content_sha256(pa.table({})),
    }
    assert len(hashes) == 9


def test_what_files_and_arrow_call_the_items_of_lists_does_not_matter() -> None:
    point = pa.struct([("x", pa.float64())])
    values = [[[{"x": 0.5}], []], None]
    one, other = (pa.list_(pa.field(name, pa.list_(pa.field(name, point)))) for name in ("item", "element"))
    assert digest(pa.array(values, one)) == digest(pa.array(values, other))
    renamed = pa.list_(pa.list_(pa.struct([("y", pa.float64())])))
    assert digest(pa.array([[[{"y": 0.5}], []], None], renamed)) != digest(pa.array(values, one))


@pytest.mark.parametrize("kind", [pa.large_string(), pa.large_list(pa.int8()), pa.null(), pa.timestamp("s")])
def test_a_type_without_normal_form_is_refused(kind: pa.DataType) -> None:
    with pytest.raises(TypeError, match="no normal form"):
        digest(pa.nulls(2, kind))


def test_what_lies_under_nulls_does_not_matter() -> None:
    for kind in (pa.int64(), pa.int32(), pa.float64()):
        assert digest(dirty([1, None, 3], kind)) == digest(pa.array([1, None, 3], kind))
    offsets, some = pa.array([0, 1, 3, 4], pa.int32()), pa.array([False, True, False])
    lists = pa.ListArray.from_arrays(offsets, pa.array([1, 2, 3, 4]), mask=some)
    assert digest(lists) == digest(pa.array([[1], None, [4]]))
    assert digest(lists.slice(1)) == digest(pa.array([None, [4]], pa.list_(pa.int64())))
    structs = pa.StructArray.from_arrays([pa.array(["a", "b", "c"])], ["t"], mask=some)
    assert digest(structs) == digest(pa.array([{"t": "a"}, None, {"t": "c"}]))
    valid = pa.py_buffer(np.packbits([1, 0, 1], bitorder="little").tobytes())
    texts = pa.StringArray.from_buffers(3, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"abc"), valid)
    assert digest(texts) == digest(pa.array(["a", None, "c"]))
    bits = pa.Array.from_buffers(pa.bool_(), 3, [valid, pa.py_buffer(b"\x07")])
    assert digest(bits) == digest(pa.array([True, None, True]))


def test_a_bitmap_without_nulls_does_not_matter() -> None:
    array = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\xff"), pa.array([5, 6]).buffers()[1]])
    assert array.null_count == 0
    assert digest(array) == digest(pa.array([5, 6]))


def test_hashes_are_combined_in_order() -> None:
    assert combined(["a", "b"]) != combined(["b", "a"])
    assert combined(["a", "b"]) != combined(["ab"])
    assert combined(iter(["a"])) == combined(["a"]) != combined([])
