"""Every row of a table is typed, or refused with its place and reason, in each encoding."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import trace_sieve
from ingest.trace_csv import CsvLines
from ingest.trace_files import TraceFile
from ingest.trace_json import JsonLines
from ingest.trace_schema import Column, Table
from ingest.trace_sieve import Sieve
from ingest.trace_tables import batches

COLUMNS = (
    Column("time", "integer", needed=True),
    Column("id", needed=True),
    Column("cpus", "number", path=("usage", "cpus")),
    Column("spread", "numbers"),
)
TABLE = Table(("t",), COLUMNS)
PLAIN = Table(("t",), COLUMNS[:3], order=("time", "skipped", "id", "cpus"), optional=1)
GOOD = '{"time":"5","id":"7","usage":{"cpus":0.5,"memory":1},"spread":[1,2],"more":{}}\n'


def read(path: Path, content: str | bytes, table: Table = TABLE) -> tuple[pl.DataFrame, Sieve]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    sieve = Sieve()
    found = list(batches([TraceFile(path, path.name)], table, sieve))
    return pl.concat(found) if found else pl.DataFrame(schema=["time"]), sieve


def reasons(sieve: Sieve) -> list[str]:
    return [one.reason for one in sieve.letters("in", 0)]


def values(frame: pl.DataFrame) -> list[tuple]:
    return frame.select("row", "time", "id", "cpus").rows()


def test_json_lines_as_bigquery_writes_them_and_as_others_do(tmp_path):
    flat = '{"time":5,"id":7,"usage.cpus":0.5}\n{"time":5.0,"id":"7","usage_cpus":0.5,"spread":null}\n'
    frame, sieve = read(tmp_path / "t.json", GOOD + flat)
    assert values(frame) == [(1, 5, "7", 0.5), (2, 5, "7", 0.5), (3, 5, "7", 0.5)]
    assert frame["spread"].to_list() == [[1.0, 2.0], None, None]
    assert not reasons(sieve)


@pytest.mark.parametrize(
    ("content", "table"),
    [
        (GOOD * 3, TABLE),
        ("usage_cpus,more,id,time\n0.5,x,7,5\n,,7,5\n", TABLE),
        ("5,x,7,0.5\n5,,8,\n", PLAIN),
        ('5,"x,y",7,0.5\n5,,8,1\n', PLAIN),
    ],
)
def test_good_lines_are_read_at_once(tmp_path, monkeypatch, content, table):
    for reader in (CsvLines, JsonLines):
        monkeypatch.delattr(reader, "one_by_one")
    frame, sieve = read(tmp_path / "t", content, table)
    assert frame["time"].unique().to_list() == [5] and frame.height >= 2
    assert not reasons(sieve)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"time":"5","id":"7"', "Input data was truncated"),
        ('{"time":"x","id":"7"}', "time is not a number"),
        ('{"time":"5.5","id":"7"}', "time is not a number"),
        ('{"time":true,"id":"7"}', "time is not a number"),
        ('{"id":"7"}', "time is missing"),
        ('{"time":"5","id":""}', "id is missing"),
        ('{"time":"5","id":"7","usage":{"cpus":"much"}}', "a number is something else"),
        ('{"time":"5","id":"7","spread":3}', "a list of numbers is something else"),
        ('{"time":"5","id":"7","usage":{"cpus":[1]}}', "a number or text is something else"),
        ("[1]", "Expected `object`, got `array`"),
        ("", "empty message"),
        ("\udcff", "Expected `object`"),
    ],
)
def test_a_bad_line_of_json_is_refused_alone(tmp_path, line, reason):
    content = (GOOD + line + "\n" + GOOD).encode("utf-8", errors="surrogateescape")
    frame, sieve = read(tmp_path / "t.json", content)
    assert frame["row"].to_list() == [1, 3]
    (letter,) = sieve.letters("in", 10)
    assert letter.reason.startswith("t.json, row 2: ") and (reason in letter.reason or line == "\udcff")
    assert (letter.input, letter.offset, letter.rows) == ("in", 10, 1)


def test_numbers_as_text_are_numbers_and_what_is_not_finite_is_missing(tmp_path):
    line = '{"time":"5","id":"7","usage":{"cpus":"%s"}}\n'
    frame, sieve = read(tmp_path / "t.json", "".join(line % one for one in ("0.25", "NaN", "Infinity", "-inf")))
    assert str(frame["cpus"].to_list()) == "[0.25, nan, nan, nan]"
    assert not reasons(sieve)


def test_csv_with_a_header_in_any_order(tmp_path):
    content = "usage_cpus,more,id,time,spread\n0.5,x,7,5,[1 2.5]\n,,7,5,\r\n"
    frame, sieve = read(tmp_path / "t.csv", content)
    assert values(frame) == [(2, 5, "7", 0.5), (3, 5, "7", None)]
    assert frame["spread"].to_list() == [[1.0, 2.5], None]
    assert not reasons(sieve)


def test_csv_without_a_header_and_with_a_column_less(tmp_path):
    assert values(read(tmp_path / "t.csv", "5,x,7,0.5\n6,,8,\n", PLAIN)[0]) == [(1, 5, "7", 0.5), (2, 6, "8", None)]
    assert values(read(tmp_path / "u.csv", "5,x,7\n", PLAIN)[0]) == [(1, 5, "7", None)]
    assert reasons(read(tmp_path / "v.csv", "5,x\n", PLAIN)[1]) == ["v.csv, row 1: 2 fields instead of 4"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"5,x,7", "3 fields instead of 4"),
        (b"5,x,7,1,2", "5 fields instead of 4"),
        (b"", "0 fields instead of 4"),
        (b"5,\xff,7,1", "not UTF-8"),
        (b"abc,x,7,1", "time is not a number"),
        (b",x,7,1", "time is missing"),
        (b"5,x,7,abc", "cpus is not a number"),
        (b'5,"x,7,1', "no CSV row: unexpected end of data"),
        (b"99999999999999999999999,x,7,1", "time is not a number"),
    ],
)
def test_a_bad_line_of_csv_is_refused_alone(tmp_path, line, reason):
    frame, sieve = read(tmp_path / "t.csv", b"1,x,7,0.5\n" + line + b"\n3,x,7,0.5\n", PLAIN)
    assert frame["time"].to_list() == [1, 3]
    assert frame["row"].to_list() == [1, 3]
    assert reasons(sieve) == [f"t.csv, row 2: {reason}"]


def test_a_header_that_lacks_a_needed_column_refuses_the_file(tmp_path):
    frame, sieve = read(tmp_path / "t.csv", "time,other\n1,2\n")
    assert frame.is_empty()
    assert reasons(sieve) == ["t.csv, row 1: the header lacks id, so the file is not read"]


def test_parquet_nested_flat_and_with_lists_as_bigquery_writes_them(tmp_path):
    rows = {"time": [5, 6], "id": [7, 8], "usage": [{"cpus": 0.5}, {"cpus": None}]}
    lists = {"spread": [{"list": [{"element": 1.0}, {"element": 2.0}]}, None]}
    pl.DataFrame(rows | lists).write_parquet(tmp_path / "t.parquet")
    frame, sieve = read(tmp_path / "t.parquet", (tmp_path / "t.parquet").read_bytes())
    assert values(frame) == [(1, 5, "7", 0.5), (2, 6, "8", None)]
    assert frame["spread"].to_list() == [[1.0, 2.0], None]
    assert not reasons(sieve)


def test_damaged_parquet_is_a_letter(tmp_path):
    pl.DataFrame({"time": [5] * 1000, "id": ["7"] * 1000}).write_parquet(tmp_path / "t.parquet")
    raw = (tmp_path / "t.parquet").read_bytes()
    frame, sieve = read(tmp_path / "t.parquet", raw[: len(raw) // 2])
    assert frame.is_empty()
    assert reasons(sieve)[0].startswith("t.parquet, row 0: is no readable Parquet file")


def test_damaged_gzip_is_a_letter_and_the_rows_before_it_are_used(tmp_path):
    packed = gzip.compress(b"".join(b"%d,x,7,0.%d\n" % (number, number) for number in range(5000)))
    frame, sieve = read(tmp_path / "t.csv.gz", packed[: len(packed) // 2], PLAIN)
    assert frame["time"].to_list() == list(range(frame.height)) and frame.height > 100
    assert reasons(sieve) == [
        f"t.csv.gz, row {frame.height + 1}: the gzip stream ends early; the rows before the cut are used"
    ]


def test_many_bad_rows_are_told_in_part_and_counted_in_full(tmp_path, monkeypatch):
    monkeypatch.setattr(trace_sieve, "MOST_TOLD", 10)
    bad = "".join("x,x,7,1\n" if number % 2 else "5,x\n" for number in range(100))
    frame, sieve = read(tmp_path / "t.csv", "5,x,7,0.5\n" + bad, PLAIN)
    letters = sieve.letters("in", 0)
    assert frame.height == 1
    assert len(letters) == 12 and sum(one.rows for one in letters) == 100
    assert letters[-1].reason.startswith("t.csv, from row ") and letters[-1].body == ""


def test_bodies_of_letters_hold_no_secret(tmp_path):
    _, sieve = read(tmp_path / "t.csv", "x,password=Tr0ub4dor&3-horse,7,1\n", PLAIN)
    _, other = read(tmp_path / "t.csv", "5,password=Tr0ub4dor&3-horse\n5,x,y,1\n", PLAIN)
    assert "Tr0ub4dor" not in str(sieve.letters("in", 0)) + str(other.letters("in", 0))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("hostile")


@given(st.binary(max_size=200), st.sampled_from(["t.json", "t.csv", "t.csv.gz", "t.parquet"]), st.booleans())
def test_no_bytes_raise(folder, content, name, headerless):
    raw = (b"PAR1" if name == "t.parquet" else b"") + content
    read(folder / name, gzip.compress(raw) if name.endswith(".gz") else raw, PLAIN if headerless else TABLE)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=3), st.booleans())
def test_no_change_of_a_good_file_raises_or_loses_a_line(folder, at, change, json):
    good = GOOD.encode() * 4 if json else b"time,id,usage_cpus\n" + b"5,7,0.5\n" * 30
    content = good[:at] + change + good[at + len(change) :]
    frame, sieve = read(folder / "t", content)
    lines = content.count(b"\n") + (not content.endswith(b"\n"))
    told = sum(one.rows for one in sieve.letters("in", 0))
    begun = content.startswith(b"{" if json else b"time,id,usage_cpus\n")
    assert frame.height + told == lines - (not json) or not begun
