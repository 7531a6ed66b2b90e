"""Gzip is undone in time and memory that fit what came, whatever its members are."""

import gzip
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from ingest.gunzip import STEP_BYTES, gunzipped, inflated


@given(st.lists(st.binary(max_size=20_000), min_size=1, max_size=5), st.integers(1, 9_000))
def test_members_come_as_one_however_they_are_cut(members: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(one, mtime=0) for one in members)
    assert gunzipped(packed, 100_000) == b"".join(members)
    assert b"".join(inflated(packed[at : at + size] for at in range(0, len(packed), size))) == b"".join(members)


def test_zeros_behind_a_member_are_padding() -> None:
    packed = gzip.compress(b"one") + b"\0" * 100
    assert gunzipped(packed + gzip.compress(b"two") + b"\0" * 20_000, 100) == b"onetwo"


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (b"", "cut off"),
        (gzip.compress(b"x" * 99, mtime=0)[:-5], "cut off"),
        (gzip.compress(b"x" * 99, mtime=0) + b"\x1f\x8b", "cut off"),
        (gzip.compress(b"x" * 99, mtime=0)[:-8] + b"\1" * 8, "damaged"),
        (gzip.compress(b"x" * 99, mtime=0) + b"and then text", "damaged"),
        (gzip.compress(b"x" * 1_001, mtime=0), "more than 1,000 bytes"),
        (gzip.compress(b"x" * 501, mtime=0) * 2, "more than 1,000 bytes"),
    ],
)
def test_what_is_no_whole_gzip_is_refused(packed: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        gunzipped(packed, 1_000)


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate"]))
def test_any_bytes_are_undone_or_refused(body: bytes, name: str) -> None:
    try:
        made = b"".join(inflated([body], name))
    except DataError:
        return
    assert zlib.decompressobj(47).decompress(body).startswith(made[:1])


def test_a_bomb_is_made_a_step_at_a_time() -> None:
    sizes = [len(part) for part in inflated([gzip.compress(b" " * 10_000_000)])]
    assert max(sizes) <= STEP_BYTES and sum(sizes) == 10_000_000


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_body_of_tiny_members_is_refused_at_once(content: bytes) -> None:
    member = gzip.compress(content, mtime=0)
    begun = time.process_time()
    with pytest.raises(DataError, match="next to nothing in them"):
        gunzipped(member * ((16 << 20) // len(member)), 32 << 20)
    assert time.process_time() - begun < 1, "it took some ms, and a minute where it was quadratic"


def test_many_members_of_a_line_each_take_time_in_proportion() -> None:
    member = gzip.compress(bytes(range(64)), mtime=0)
    count = (8 << 20) // len(member)
    begun = time.process_time()
    assert len(gunzipped(member * count, 32 << 20)) == 64 * count
    assert time.process_time() - begun < 2
