"""A message of many records is read record by record, in time and memory that fit its size, whatever it holds."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ports import Decoded
from ingest.identity import Identity
from ingest.refused import OWN_LETTERS, gathered
from ingest.registry import format_of
from ingest.split import FEW_RECORDS, RECORD_BYTES, TooDense, most_records, records_of

SIZE = 2 << 20
LINE = b'{"date":1755856800,"log":"x"}'
DENSE = {
    "objects": b"{}" * (SIZE // 2),
    "lines": b"1\n" * (SIZE // 2),
    "words": b"1 " * (SIZE // 2),
    "texts": b'""' * (SIZE // 2),
    "array": b"[" + b"1," * (SIZE // 2) + b"1]",
    "spaced array": b"[" + b"1    ," * (SIZE // 6) + b"1]",
    "array of objects": b"[" + b"{}," * (SIZE // 3) + b"{}]",
    "array of arrays": b"[" + b"[],\n" * (SIZE // 4) + b"[]]",
    "lines of no JSON": b"x\n" * (SIZE // 2),
    "lines of several": b"1 2 3 x\n" * (SIZE // 8),
    "after a large one": b'{"log":"' + b"x" * (SIZE // 2) + b'"}' + b"1 " * (SIZE // 4),
    "maps of MessagePack": b"\x80" * SIZE,
    "entries of MessagePack": b"\x92\xa1t\xdd" + SIZE.to_bytes(4, "big") + b"\x80" * SIZE,
    "arrays in a record of MessagePack": b"\x81\xa1a\xdd" + SIZE.to_bytes(4, "big") + b"\x90" * SIZE,
}


def decode(*bodies: bytes, name: str = "fluentbit", offset: int = 7) -> Decoded:
    return format_of(name, Identity("demo")).decode(bodies, range(offset, offset + len(bodies)), "in")


@pytest.mark.parametrize("shape", DENSE)
def test_a_message_of_next_to_nothing_is_one_letter_and_cheap(shape: str) -> None:
    begun = time.process_time()
    decoded = decode(LINE, DENSE[shape], LINE)
    assert time.process_time() - begun < 2, "it takes a tenth of a second, and 24 where each was looked at"
    assert decoded.rows["offset"].to_list() == [7, 9]
    (letter,) = decoded.letters
    assert (letter.offset, letter.part, letter.rows) == (8, 0, 1)
    assert "no telemetry looks like that" in letter.reason
    assert 0 < len(letter.body) <= 2_048


@pytest.mark.parametrize(
    ("name", "key"), [("cloudtrail", "Records"), ("kubernetes-events", "items"), ("otlp-logs", "resourceLogs")]
)
def test_a_list_within_an_object_is_no_way_around(name: str, key: str) -> None:
    body = b'{"' + key.encode() + b'":[' + b"{},  " * (SIZE // 5) + b"{}]}"
    (letter,) = decode(body, name=name).letters
    assert "no telemetry looks like that" in letter.reason and letter.rows == 1


@pytest.mark.parametrize("name", ["fluentbit", "gitlab", "terraform"])
def test_a_letter_of_a_dense_message_shows_no_more_than_its_format_does(name: str) -> None:
    head = b'{"password":"Tr0ub4dor","builds":[{"runner":{"token":"Tr0ub4dor"}}]}\n'
    (letter,) = decode(head + b"{}\n" * 5_000, name=name).letters
    (plain,) = decode(head[:-3], name=name).letters
    assert letter.body.startswith(plain.body[:40])
    assert "Tr0ub4dor" not in letter.body + plain.body
    assert "no telemetry" in letter.reason


def test_small_messages_may_be_dense() -> None:
    assert len(records_of(b"{}" * FEW_RECORDS)) == FEW_RECORDS
    with pytest.raises(TooDense, match="more than 1,000 records in 2,002 bytes"):
        records_of(b"{}" * (FEW_RECORDS + 1))


@pytest.mark.parametrize("between", [b"", b"\n", b" ", b",", b"\r\n\r\n"])
def test_the_smallest_records_that_are_of_use_are_read(between: bytes) -> None:
    """However they are written; lines as short as these without any name beside them are no stream that anybody has."""
    whole = between.join([LINE] * 20_000)
    decoded = decode(b"[" + whole + b"]" if between == b"," else whole)
    assert decoded.rows.height == 20_000 and not decoded.letters


def test_a_line_per_number_is_no_record_per_line() -> None:
    record = json.dumps({"date": 1755856800, "log": "x", "list": list(range(5_000))}, indent=1).encode()
    assert records_of(record) == [record]
    assert records_of(record + b"\n" + record) == [record, record]
    assert decode(record).rows.height == 1
    with pytest.raises(TooDense):
        records_of(record[:-20])


@given(st.lists(st.sampled_from([b"{}", b"1", b'"x"', b"[", b"x", b"\n", b" ", b"[1]", b"\xff", b","]), max_size=60))
def test_records_hold_all_that_came(pieces: list[bytes]) -> None:
    body = b"".join(pieces)
    found = records_of(body)
    assert len(found) <= most_records(len(body))
    kept = b"".join(b"".join(found).split())
    whole = b"".join(body.split())
    assert kept == whole or whole[:1] == b"["


# --- Letters of a message ---

BAD = b'{"date":"soon","log":"some text"}'


def test_refused_records_are_letters_that_count_them_all_however_messages_are_cut() -> None:
    body = b"\n".join([BAD, b'{"date": 1, "log": "long enough for two"} x', LINE] * 800)
    decoded = decode(body)
    assert decoded.rows.height == 800
    assert len(decoded.letters) == OWN_LETTERS + 2
    assert sum(letter.rows for letter in decoded.letters) == 800 * 3
    assert len({letter.key for letter in decoded.letters}) == len(decoded.letters)
    together = decode(LINE, body, body, offset=6)
    assert [one for one in together.letters if one.offset == 7] == list(decoded.letters)
    assert [one.offset for one in together.letters] == [7] * len(decoded.letters) + [8] * len(decoded.letters)


def test_lots_do_not_show_in_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    body = b"\n".join([BAD, LINE, b'{"no":"time or text"}'] * 300)
    whole = decode(body, body)
    monkeypatch.setattr("ingest.split._AT_ONCE", 70)
    cut = decode(body, body)
    assert cut.rows.equals(whole.rows)
    assert list(cut.letters) == list(whole.letters)


def test_beyond_a_number_refusals_of_one_reason_are_one() -> None:
    sent = [(3, "abc"[number % 3], 2, number) for number in range(OWN_LETTERS + 30)] + [(4, "a", 1, -1)]
    found = gathered(sent)
    assert [one.part for one in found] == [*range(OWN_LETTERS + 3), 0]
    assert [(one.reason, one.rows, one.what) for one in found[OWN_LETTERS:-1]] == [
        ("b", 20, 100),
        ("c", 20, 101),
        ("a", 20, 102),
    ]
    assert sum(one.rows for one in found) == 2 * (OWN_LETTERS + 30) + 1


def test_the_cost_of_refused_records_is_not_that_of_their_letters() -> None:
    body = b"[" + b",".join([b'"' + b"x" * RECORD_BYTES + b'"'] * 100_000) + b"]"
    begun = time.process_time()
    assert len(decode(body).letters) == OWN_LETTERS + 1
    assert time.process_time() - begun < 2, "a third of a second; 6 where each body was scrubbed"
