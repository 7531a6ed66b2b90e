"""Objects become bodies within limits, the same each time, with nothing lost at a seam."""

import gzip
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import DataError
from ingest.split import records_of
from opsbrain.pull.bodies import bodies_of, unpacked

PACKED = gzip.compress(b"x" * 99, mtime=0)


def in_parts(body: bytes, size: int) -> list[bytes]:
    return [body[at : at + size] for at in range(0, len(body), size)]


@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.integers(1, 500))
def test_gzip_is_undone_however_it_comes(members: list[bytes], size: int) -> None:
    packed = b"".join(gzip.compress(one, mtime=0) for one in members)
    assert b"".join(unpacked(in_parts(packed, size), 100_000)) == b"".join(members)


def test_what_expands_a_thousandfold_comes_whole_or_is_refused() -> None:
    plain = b"\0" * 5_000_001
    assert b"".join(unpacked([gzip.compress(plain)], len(plain))) == plain
    with pytest.raises(DataError, match="more than 5,000,000"):
        list(unpacked([gzip.compress(plain)], 5_000_000))


@pytest.mark.parametrize(
    ("packed", "reason"),
    [
        (gzip.compress(b"x" * 99, mtime=0)[:-5], "cut off"),
        (gzip.compress(b"x" * 99, mtime=0)[:-8] + b"\1" * 8, "damaged"),
    ],
)
def test_damaged_gzip_is_refused(packed: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        list(unpacked([packed], 10_000))


def test_plain_bytes_stay_as_they_are() -> None:
    assert b"".join(unpacked([b"a", b"bc"], 10)) == b"abc"
    assert b"".join(unpacked([], 10)) == b""
    assert zlib.crc32(b"".join(unpacked([b"\x1f"], 10))) == zlib.crc32(b"\x1f")


@given(st.lists(st.text(max_size=30), max_size=60), st.integers(1, 200), st.integers(120, 400))
def test_lines_are_cut_between_lines(texts: list[str], size: int, max_bytes: int) -> None:
    lines = [json.dumps({"log": text}).encode()[:100] for text in texts]
    whole = b"\n".join(lines)
    bodies = list(bodies_of(in_parts(whole, size), "fluentbit", max_bytes))
    assert b"".join(bodies) == whole
    assert all(len(body) <= max_bytes for body in bodies)
    assert all(body.startswith(b"{") for body in bodies)


@given(st.lists(st.integers(0, 10**12), max_size=50), st.integers(60, 200))
def test_cloudtrail_is_cut_between_records(ids: list[int], max_bytes: int) -> None:
    file = json.dumps({"Records": [{"eventID": str(one)} for one in ids]}).encode()
    bodies = list(bodies_of([file], "cloudtrail", max_bytes))
    assert [one["eventID"] for body in bodies for one in json.loads(body)["Records"]] == [str(one) for one in ids]
    assert all(len(body) <= max_bytes for body in bodies)
    assert len(records_of(bodies[0])) == 1


@pytest.mark.parametrize(
    ("format", "body", "reason"),
    [
        ("fluentbit", b"[" + b"1," * 100 + b"1]", "not of lines"),
        ("fluentbit", b'{"log":"' + b"x" * 200 + b'"}\n', "line of more than"),
        ("otlp-logs", b"\x0a" * 200, "not of lines"),
        ("cloudtrail", b"x" * 200, "no file of Records"),
        ("cloudtrail", json.dumps({"Records": [{"x": "y" * 200}]}).encode(), "record of more than"),
    ],
)
def test_what_cannot_be_cut_is_refused(format: str, body: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        list(bodies_of([body], format, 100))
