"""The walker finds the fields that the official library wrote, and raises nothing but its own error."""

import pytest
from google.protobuf.descriptor_pb2 import FieldDescriptorProto
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from ingest.protobuf import (
    Malformed,
    double,
    fields,
    fixed32_key,
    fixed64,
    fixed64_key,
    int64,
    length_key,
    packed,
    text,
    varint,
    varint_key,
    written,
    zigzag,
)

NUMBERS = st.integers(0, 2**64 - 1)


@given(st.integers(-(2**31), 2**31 - 1), st.text(st.characters(exclude_categories=["Cs"])))
def test_fields_are_those_that_were_written(number: int, name: str) -> None:
    body = FieldDescriptorProto(name=name, oneof_index=number).SerializeToString()
    found = {key: (a, b) for key, a, b in fields(body)}
    assert text(body, *found[length_key(1)]) == name
    assert int64(found[varint_key(9)][0]) == number


@given(st.lists(NUMBERS))
def test_packed_numbers_are_read_all_at_once(numbers: list[int]) -> None:
    body = b"".join(map(written, numbers))
    assert packed(body).tolist() == numbers
    assert [varint(written(one), 0, 10) for one in numbers] == [(one, len(written(one))) for one in numbers]


@given(st.binary(max_size=40))
def test_what_the_official_library_refuses_is_refused(body: bytes) -> None:
    try:
        found = list(fields(body))
    except Malformed:
        return
    assert all(key >> 3 and b <= len(body) for key, _, b in found)
    Empty.FromString(body)


@given(st.binary(max_size=12))
def test_what_the_official_library_reads_is_read(body: bytes) -> None:
    try:
        Empty.FromString(body)
        list(fields(body))
    except DecodeError:
        return
    except Malformed as error:  # the one thing that Go's library refuses and the other does not
        assert "number 0" in str(error)


def test_groups_are_skipped_and_their_ends_must_fit() -> None:
    group = b"\x0b\x10\x01\x13\x1a\x01x\x25abcd\x21abcdefgh\x14\x0c"
    assert list(fields(group + b"\x10\x05")) == [(varint_key(2), 5, len(group) + 2)]
    for bad in (b"\x0b", b"\x0b\x14", b"\x0c", b"\x0b" * 101 + b"\x0c" * 101, b"\x0b\x21abc", b"\x0f"):
        with pytest.raises(Malformed):
            list(fields(bad))


@pytest.mark.parametrize(
    "bad",
    [b"\x08", b"\x0a\x02a", b"\x09abc", b"\x0dab", b"\x00\x01", b"\x08" + b"\xff" * 10, b"\xff" * 5 + b"\x01\x00"],
)
def test_what_is_cut_off_or_too_long_is_malformed(bad: bytes) -> None:
    with pytest.raises(Malformed):
        list(fields(bad))
    with pytest.raises(Malformed):
        packed(b"\x80")
    with pytest.raises(Malformed):
        text(b"\xff", 0, 1)


def test_numbers_of_each_type() -> None:
    assert [zigzag(one) for one in (0, 1, 2, 3)] == [0, -1, 1, -2]
    assert [(key, a) for key, a, _ in fields(b"\x09\x00\x00\x00\x00\x00\x00\xf0\x3f\x15abcd")] == [
        (fixed64_key(1), 1),
        (fixed32_key(2), 10),
    ]
    assert double(b"\x00\x00\x00\x00\x00\x00\xf0\x3f", 0) == 1.0
    assert fixed64(b"\x01" + bytes(7), 0) == 1
