"""Samples of the adapter are the same rows whether they are recognised by their bytes or read as any JSON."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.numbered import Numbered
from engine.ports import Decoded, Format
from ingest import adapter_shapes, series_table
from ingest.adapter_samples import Samples
from ingest.formats.prometheus_adapter import PrometheusAdapter
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.scrub import Scrubber
from ingest.series_table import SeriesTable
from ingest.split import Split

DEMO = Identity("demo")
AT = "2025-08-22T10:00:00Z"
UP = {"__name__": "up", "job": "x"}


def any_json() -> Format:
    """Return what reads every message in full."""
    scrubber = Scrubber()
    return Split(Samples(MetricLabels(DEMO, scrubber), scrubber, SeriesTable()))


def assert_same(bodies: Sequence[bytes], by: PrometheusAdapter | None = None) -> Decoded:
    """Hold that messages are what a full reading makes of them: when they are new, and when all is known."""
    offsets = range(100, 100 + 2 * len(bodies), 2)
    wanted = any_json().decode(bodies, offsets, "in")
    by = by or PrometheusAdapter(DEMO)
    for _ in range(2):
        came = by.decode(bodies, offsets, "in")
        assert came.rows.equals(wanted.rows)
        assert list(came.letters) == list(wanted.letters)
    return came


def compact(**sample: Any) -> bytes:
    return json.dumps(sample, separators=(",", ":"), ensure_ascii=False).encode()


def sample(value: str = "1", at: str = AT, labels: dict[str, str] | None = None) -> bytes:
    return compact(labels=labels or UP, name="up", timestamp=at, value=value)


def first(value: str = "1", at: str = AT, labels: dict[str, str] | None = None) -> bytes:
    return compact(timestamp=at, value=value, name="up", labels=labels or UP)


def recognised(by: PrometheusAdapter, bodies: Sequence[bytes]) -> int:
    return len(by._known.shapes.recognised(bodies).at)


NUMBERS = [
    *("1", "-0", "0.1", "123.4", "9876543210", "1e5", "1E-7", "+3", ".5", "5.", "1.7976931348623157e+308", "4.9e-324"),
    *("0.30000000000000004", "12345678901234567890", "NaN", "+Inf", "-Inf", "inf", "nan", "Infinity", "1e400"),
    *("", " ", "1 ", " 1", "1_0", "0x10", "1,5", "one", "١", "1\\u0030", "1\\n", "--1", "1e", "0" * 29, "0" * 31),
]
TIMES = [
    *(AT, "2025-08-22T10:00:01Z", "1970-01-01T00:00:00Z", "2100-01-01T00:00:00Z", "2099-12-31T23:59:59Z"),
    *("2025-08-22 10:00:00Z", "2025-08-22t10:00:00z", "2025-08-22T10:00:60Z", "2025-02-30T10:00:00Z"),
    *("2025-08-22T10:00:00.5Z", "2025-08-22T10:00+01:00", "2025-08-22T10:00:00", "", "x" * 20, "٢٢٢٢٢٢٢٢٢٢"),
]


@pytest.mark.parametrize("of", [sample, first])
def test_numbers_and_times_are_what_they_are_elsewhere(of: Any) -> None:
    assert_same([of(value, at) for value in NUMBERS for at in TIMES])


@pytest.mark.parametrize("of", [sample, first])
def test_what_senders_write_is_recognised(of: Any) -> None:
    for spaced in (False, True):
        bodies = [
            of("NaN" if value % 9 == 0 else str(value / 7), f"2025-08-22T10:00:{value % 60:02}Z")
            for value in range(200)
        ]
        if spaced:
            bodies = [json.dumps(json.loads(body)).encode() for body in bodies]
        by = PrometheusAdapter(DEMO)
        assert isinstance(assert_same(bodies, by).batch, Numbered)
        assert recognised(by, bodies) == len(bodies)


def test_senders_of_all_kinds_are_recognised_side_by_side() -> None:
    bodies = [of(str(at)) for at in range(20) for of in (sample, first)]
    bodies += [json.dumps(json.loads(body)).encode() for body in bodies]
    by = PrometheusAdapter(DEMO)
    assert_same(bodies, by)
    assert recognised(by, bodies) == len(bodies)


LURES = [
    b'{"labels":{"__name__":"up"},"name":"up","timestamp":"%s","value":"1","timestamp":"%s","value":"2"}',
    b'{"labels":{"__name__":"up"},"value":"7","name":"up","timestamp":"%s","value":"2"}',
    b'{"timestamp":"%s","value":"1","name":"up","labels":{"__name__":"up"},"value":"2"}',
    b'{"timestamp":"%s","value":"1","name":"up","labels":{"__name__":"up"},"timestamp":"2025-08-22T10:00:09Z"}',
    b'{"timestamp":"%s","value":"1","name":"up","labels":{"__name__":"up"},"\\u0076alue":"2"}',
    b'{"timestamp":"%s","value":"1","name":"up","labels":{"__name__":"up","value":"3","timestamp":"4"}}',
    b'{"labels":{"__name__":"up","timestamp":"%s","value":"1"},"name":"up"}',
    b'{"labels":{"__name__":"up","timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":"up"},"name":"up","x":{"timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":"up"},"name":"up","x\\",\\"timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":"up","a":"b\\"},"name":"up","timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":"up"},"labels":{"__name__":"down"},"timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}{"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}',
    b'{}{"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}',
    b'\xef\xbb\xbf{"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}',
    b' {"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":"u\xff"},"timestamp":"%s","value":"1"}',
    b'{"labels":{"job":"x"},"name":"up","timestamp":"%s","value":"1"}',
    b'{"labels":{"job":"x"},"name":"down","timestamp":"%s","value":"1"}',
    b'{"labels":{"job":"x"},"timestamp":"%s","value":"1"}',
    b'{"labels":{"__name__":7},"timestamp":"%s","value":"1"}',
    b'{"labels":{},"name":"up","timestamp":"%s","value":"1"}',
    b'{"labels":null,"timestamp":"%s","value":"1"}',
    b'{"name":5,"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}',
    b'{"timestamp":"%s","value":"1",}',
    b'{"timestamp":"%s","value":"1","labels":{"__name__":"up"}} ',
    b'{"timestamp":"%s","value":"1","labels":{"__name__":"up"}}{"timestamp":"%s","value":"1","labels":{"__name__":"up"}}',
    b'[{"labels":{"__name__":"up"},"timestamp":"%s","value":"1"}]',
    b',"timestamp":"%s","value":"1"}',
    b'{"timestamp":"%s","value":"1"}',
]


def lured(lure: bytes, at: bytes = AT.encode(), value: bytes = b"1") -> bytes:
    return lure.replace(b"%s", at).replace(b'"value":"1"', b'"value":"' + value + b'"')


def test_what_only_looks_like_a_sample_is_read_as_it_is() -> None:
    by = PrometheusAdapter(DEMO)
    for at in (b"2025-08-22T10:00:00Z", b"2025-08-22T10:00:07Z"):
        for value in (b"1", b"25"):
            assert_same([lured(lure, at, value) for lure in LURES], by)
    for lure in LURES:
        assert_same([lured(lure), lured(lure, value=b"1234.5")])


def spoiled(body: bytes, spoils: Sequence[tuple[int, int, bytes]]) -> bytes:
    """Return a message with bytes put in place of others."""
    for place, size, text in spoils:
        at = place % (len(body) + 1)
        body = body[:at] + text + body[at + size :]
    return body


PARTS = st.sampled_from(
    [b'"', b"\\", b",", b"{", b"}", b":", b" ", b"\n", b"\xff", b"\x00", b'"value":"2",', b"0", b"."]
)
SPOILS = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), PARTS | st.binary(max_size=3)), max_size=3)
BODIES = st.builds(
    spoiled,
    st.sampled_from([sample(), first(), sample("NaN"), *map(lured, LURES)]),
    SPOILS,
)


@settings(max_examples=200, deadline=None)
@given(st.lists(BODIES, max_size=12), st.sampled_from(NUMBERS).map(str.encode), st.sampled_from(TIMES).map(str.encode))
@example([sample()[:-1], sample()], b"1", AT.encode())
def test_any_bytes_are_what_a_full_reading_makes_of_them(bodies: list[bytes], value: bytes, at: bytes) -> None:
    by = PrometheusAdapter(DEMO)
    assert_same(bodies, by)
    assert_same([body.replace(b'"1"', b'"' + value + b'"').replace(AT.encode(), at) for body in bodies], by)


def test_rows_stay_in_the_order_of_their_messages() -> None:
    odd = json.dumps({"value": 3, "timestamp": AT, "labels": UP}).encode()
    bodies = [sample("1"), odd, first("2"), b"no", sample("x"), compact(**json.loads(sample())) + sample("5"), sample()]
    came = assert_same(bodies)
    assert came.rows["offset"].to_list() == [100, 102, 104, 110, 110, 112]
    assert [letter.offset for letter in came.letters] == [106, 108]


def test_forgetting_what_was_learned_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    bodies = [sample(labels={**UP, "code": str(number)}) for number in range(40)]
    wanted = any_json().decode(bodies, range(40), "in").rows
    monkeypatch.setattr(series_table, "MAX_SERIES", 12)
    monkeypatch.setattr(adapter_shapes, "MAX_KNOWN", 5)
    by = PrometheusAdapter(DEMO)
    generations = set()
    for start in (*range(0, 40, 8), *range(0, 40, 8)):
        came = by.decode(bodies[start : start + 8], range(start, start + 8), "in")
        assert came.rows.equals(wanted[start : start + 8])
        assert isinstance(came.batch, Numbered)
        generations.add(came.batch.names.generation)
    assert len(generations) > 2


def test_a_label_set_is_one_series_in_whatever_order_it_comes() -> None:
    turned = sample(labels=dict(reversed(UP.items())))
    came = assert_same([sample(), turned, first()]).batch
    assert isinstance(came, Numbered)
    assert came.frame["series"].to_list() == [0, 0, 0] and came.names.frame.height == 1
