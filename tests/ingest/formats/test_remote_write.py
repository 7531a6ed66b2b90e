"""Remote-write is read as the official protobuf objects read it, the same in 1.0 and 2.0, however it is cut."""

import json
import math
import struct
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from cramjam import snappy
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.remote_proto import request_v2, write_request
from engine.ports import Decoded
from ingest import remote_write_v1, remote_write_v2, series_table
from ingest.checks import FORMAT_CHECKS
from ingest.formats import prometheus_remote_write
from ingest.formats.prometheus_adapter import PrometheusAdapter
from ingest.formats.prometheus_remote_write import PrometheusRemoteWrite
from ingest.identity import Identity
from ingest.metric_labels import MetricLabels
from ingest.protobuf import written
from ingest.times import EARLIEST_MS, LATEST_MS
from tests.ingest.golden import golden

DEMO = Identity("demo")
AT_MS = 1_755_856_800_000
STALE = struct.unpack("<d", struct.pack("<Q", 0x7FF0000000000002))[0]
REQUESTS = {"__name__": "http_requests_total", "code": "500", "namespace": "shop", "pod": "payments-7d9c5b8f4d-x2x9z"}
GOROUTINES = {"__name__": "go_goroutines", "namespace": "shop", "pod": "payments-7d9c5b8f4d-x2x9z"}
TYPES = {"counter": 1, "gauge": 2, "histogram": 3}

Samples = Sequence[tuple[int, float]]


def version_1(*series: tuple[dict[str, str], Samples]) -> Any:
    request = write_request()()
    for labels, samples in series:
        one = request.timeseries.add()
        for name, value in sorted(labels.items()):
            one.labels.add(name=name, value=value)
        for ts_ms, number in samples:
            one.samples.add(timestamp=ts_ms, value=number)
    return request


def version_2(*series: tuple[dict[str, str], Samples], types: Sequence[str] = ()) -> Any:
    request, places = request_v2()(), {"": 0}
    for number, (labels, samples) in enumerate(series):
        one = request.timeseries.add()
        for pair in sorted(labels.items()):
            one.labels_refs.extend(places.setdefault(text, len(places)) for text in pair)
        for ts_ms, value in samples:
            one.samples.add(timestamp=ts_ms, value=value)
        if types:
            one.metadata.type = TYPES[types[number]]
            one.metadata.help_ref = places.setdefault("What it counts.", len(places))
    request.symbols.extend(places)
    return request


def block(request: Any) -> bytes:
    return bytes(snappy.compress_raw(request.SerializeToString()))


def decoded(*bodies: bytes, by: PrometheusRemoteWrite | None = None) -> Decoded:
    return (by or PrometheusRemoteWrite(DEMO)).decode(bodies, range(len(bodies)), "in")


@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_keeps_what_every_format_promises(check: Any) -> None:
    check(lambda: PrometheusRemoteWrite(DEMO), golden("prometheus-remote-write"))


@pytest.mark.parametrize("of", [version_1, version_2])
def test_a_sample_becomes_a_row(of: Any) -> None:
    rows = decoded(block(of((REQUESTS, [(AT_MS, 17.5)]), (GOROUTINES, [(AT_MS + 1, 0.0)])))).rows
    assert rows["ts_ms"].to_list() == [AT_MS, AT_MS + 1]
    assert rows["entity"].unique().to_list() == ["demo/service/shop/payments"]
    assert rows["indicator"].to_list() == ['http_requests_total{code="500"}', "go_goroutines"]
    assert rows["instance"].unique().to_list() == ["payments-7d9c5b8f4d-x2x9z"]
    assert rows["form"].to_list() == ["counter", "gauge"]
    assert rows["value"].to_list() == [17.5, 0.0]
    assert rows["identity"].n_unique() == 2


def test_both_versions_and_the_adapter_give_the_same_rows() -> None:
    series = [(REQUESTS, [(AT_MS, 17.5)]), (GOROUTINES, [(AT_MS, 0.0)])]
    one = decoded(block(version_1(*series))).rows
    assert one.equals(decoded(block(version_2(*series, types=["counter", "gauge"]))).rows)
    adapter = PrometheusAdapter(DEMO).decode(
        [
            json.dumps(
                {"labels": labels, "name": "x", "timestamp": "2025-08-22T10:00:00Z", "value": str(value)}
            ).encode()
            for labels, [(_, value)] in series
        ],
        [0, 0],
        "in",
    )
    assert one.equals(adapter.rows)


def test_the_type_that_2_0_sends_decides_the_form() -> None:
    odd_names = [({"__name__": "requests"}, [(AT_MS, 1.0)]), ({"__name__": "queue_total"}, [(AT_MS, 1.0)])]
    rows = decoded(block(version_2(*odd_names, types=["counter", "gauge"]))).rows
    assert rows["form"].to_list() == ["counter", "gauge"]
    assert decoded(block(version_1(*odd_names))).rows["form"].to_list() == ["gauge", "counter"]


def test_stale_markers_are_dropped_and_other_numbers_that_are_none_are_kept() -> None:
    samples = [(AT_MS, STALE), (AT_MS + 1, math.nan), (AT_MS + 2, math.inf), (AT_MS + 3, 1.0)]
    for request in (version_1((REQUESTS, samples)), version_1(*((REQUESTS, [one]) for one in samples))):
        found = decoded(block(request))
        assert found.dropped == {"stale marker": 1}
        assert [str(value) for value in found.rows["value"]] == ["nan", "nan", "1.0"]


@pytest.mark.parametrize(("counts", "form"), [({"count_int": 21}, "counter"), ({"count_float": 21.0}, "counter")])
def test_a_native_histogram_is_its_count_and_its_sum(counts: dict[str, float], form: str) -> None:
    for of in (version_1, version_2):
        request = of((GOROUTINES, []))
        request.timeseries[0].histograms.add(sum=3.5, timestamp=AT_MS, schema=3, positive_deltas=[1, 2], **counts)
        rows = decoded(block(request)).rows
        assert rows["indicator"].to_list() == ["go_goroutines_count", "go_goroutines_sum"]
        assert rows["value"].to_list() == [21.0, 3.5]
        assert rows["form"].to_list() == [form, form]
        classic = {**GOROUTINES, "__name__": "go_goroutines_count"}
        assert rows["identity"][0] == decoded(block(version_1((classic, [(AT_MS, 1.0)])))).rows["identity"][0]


def test_a_gauge_histogram_may_fall_and_a_stale_one_is_dropped() -> None:
    request = version_1((GOROUTINES, []))
    request.timeseries[0].histograms.add(sum=3.5, count_int=2, timestamp=AT_MS, reset_hint=3)
    request.timeseries[0].histograms.add(sum=STALE, timestamp=AT_MS)
    found = decoded(block(request))
    assert found.rows["form"].to_list() == ["gauge", "gauge"]
    assert found.dropped == {"stale marker": 2}


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([("__name__", "up"), ("a", "1"), ("a", "2")], "a label is named twice"),
        ([("a", "1"), ("__name__", "up")], "labels are not sorted by name"),
        ([("", "1"), ("__name__", "up")], "a label has no name"),
        ([("a", "1")], "labels name no metric or are not text"),
        ([], "labels name no metric or are not text"),
    ],
)
def test_a_bad_label_set_costs_its_own_samples_and_nobody_elses(pairs: list[tuple[str, str]], reason: str) -> None:
    request = version_1((REQUESTS, [(AT_MS, 1.0)]))
    bad = request.timeseries.add()
    for name, value in pairs:
        bad.labels.add(name=name, value=value)
    for number in range(2):
        bad.samples.add(value=1.0, timestamp=AT_MS + number)
    by = PrometheusRemoteWrite(DEMO)
    for _ in range(2):  # also when it is known
        found = decoded(block(request), by=by)
        assert found.rows.height == 1
        assert [(letter.reason, letter.rows) for letter in found.letters] == [(reason, 2)]


def test_times_beyond_all_clocks_are_refused_row_by_row() -> None:
    times = [-1, 0, 1, EARLIEST_MS - 1, LATEST_MS, 2**62, AT_MS]
    found = decoded(block(version_1(*((REQUESTS, [(ts_ms, 1.0)]) for ts_ms in times))))
    assert found.rows["ts_ms"].to_list() == [AT_MS]
    assert sum(letter.rows for letter in found.letters) == 6


def test_labels_that_hold_secrets_become_hashes() -> None:
    labels = {**REQUESTS, "api_key": "hunter2-hunter2", "url": "http://app:hunter2@db/x"}
    indicator = decoded(block(version_1((labels, [(AT_MS, 1.0)])))).rows["indicator"][0]
    assert "hunter2" not in indicator
    assert "api_key=" in indicator


def test_what_is_no_request_is_one_dead_letter() -> None:
    fine = block(version_1((REQUESTS, [(AT_MS, 1.0)])))
    mixed = version_1((REQUESTS, [(AT_MS, 1.0)])).SerializeToString() + version_2().SerializeToString()
    bomb = written(65 * 1024 * 1024) + fine[2:]
    bodies = [b"", fine[:-4], mixed, bomb, b"\x3a\x00", b"{}", fine]
    found = decoded(*bodies)
    assert found.rows["offset"].to_list() == [6]
    assert [(letter.offset, letter.part, letter.rows) for letter in found.letters] == [(n, 0, 1) for n in range(6)]
    assert found.letters[3].reason == "snappy: holds more than 67,108,864 bytes"
    assert found.letters[2].reason == "remote-write: holds fields of 1.0 and of 2.0"


def test_a_request_may_come_uncompressed() -> None:
    for request in (version_1((REQUESTS, [(AT_MS, 1.0)])), version_2((REQUESTS, [(AT_MS, 1.0)]))):
        assert decoded(request.SerializeToString()).rows.equals(decoded(block(request)).rows)


def test_references_that_fit_no_symbol_are_refused() -> None:
    for refs in ([1, 99], [1]):
        request = version_2((REQUESTS, [(AT_MS, 1.0)]))
        request.timeseries[0].labels_refs.extend(refs)
        assert decoded(block(request)).letters[0].reason == "remote-write: references of labels do not fit the symbols"


# What looks like a sample of the usual shape where known labels end, and is another or none.
def _sample(content: bytes) -> bytes:
    return b"\x12" + written(len(content)) + content


TIME = b"\x10" + written(AT_MS)
TAILS = {
    "usual": _sample(b"\x09" + struct.pack("<d", 5.0) + TIME),
    "zero": _sample(TIME),
    "explicit zero": _sample(b"\x09" + bytes(8) + TIME),
    "time first": _sample(TIME + b"\x09" + struct.pack("<d", 5.0)),
    "as if zero": _sample(b"\x09" + b"\x12\x12\x12\x12\x12\x12\x12\x07" + TIME),
    "as if zero and more": _sample(b"\x09" + b"\x10\x80\x80\x80\x80\x80\x00\x07" + TIME),
    "short time": _sample(b"\x09" + struct.pack("<d", 5.0) + b"\x10" + written(2**34)),
    "long time": _sample(b"\x09" + struct.pack("<d", 5.0) + b"\x10" + written(2**50)),
    "time of six bytes that go on": _sample(
        b"\x09" + struct.pack("<d", 5.0) + b"\x10" + b"\x80\x80\x80\x80\x80\x80\x01"
    ),
    "two": _sample(TIME) + _sample(TIME),
    "value as an unknown field": _sample(b"\x11" + struct.pack("<d", 5.0) + TIME),
    "nothing": b"",
    "empty": _sample(b""),
}


@pytest.mark.parametrize("first", TAILS)
def test_the_quick_look_sees_what_a_thorough_one_sees(first: str) -> None:
    learned = version_1((GOROUTINES, [(AT_MS, 1.0)])).SerializeToString()
    labels = learned[2:-18]
    by = PrometheusRemoteWrite(DEMO)
    decoded(learned, by=by)
    for second in TAILS:
        raw = b"".join(b"\x0a" + written(len(one)) + one for one in (labels + TAILS[first], labels + TAILS[second]))
        assert_same(decoded(raw, by=by), decoded(raw))
        assert_same(decoded(raw), expected(write_request().FromString(raw)))


@pytest.mark.parametrize("first", TAILS)
def test_the_quick_look_at_references_sees_what_a_thorough_one_sees(first: str) -> None:
    symbols = b"".join(b"\x22" + written(len(one)) + one for one in (b"__name__", b"up", b"pod", b"x"))
    refs = b"\x0a\x04\x00\x01\x02\x03"
    for second in TAILS:
        series = (refs + TAILS["usual"], refs + TAILS[first] + b"\x2a\x00", refs + TAILS[second])
        raw = symbols + b"".join(b"\x2a" + written(len(one)) + one for one in series)
        assert_same(decoded(raw), expected(request_v2().FromString(raw)))


NAMES = st.sampled_from(["__name__", "pod", "namespace", "a", "le", "", "é"])
VALUES = st.sampled_from(["up", "x_total", "x_count", "", "shop", "payments-7d9c5b8f4d-x2x9z", 'q"\\\n', "ü" * 70])
TIMES = st.one_of(st.integers(AT_MS, AT_MS + 100_000), st.integers(-(2**63), 2**63 - 1), st.just(0))
NUMBERS = st.one_of(st.just(0.0), st.just(STALE), st.floats(), st.integers(0, 1000).map(float))
SAMPLE = st.tuples(TIMES, NUMBERS)
SERIES = st.tuples(
    st.one_of(
        st.dictionaries(NAMES, VALUES, max_size=5).map(lambda labels: sorted(labels.items())),
        st.lists(st.tuples(NAMES, VALUES), max_size=4),
        st.just([("__name__", "up"), ("pod", "x-0")]),
    ),
    st.one_of(st.tuples(SAMPLE), st.lists(SAMPLE, max_size=3)),
    st.lists(st.tuples(TIMES, NUMBERS, st.integers(0, 2**64 - 1), st.integers(0, 4)), max_size=1),
    st.integers(0, 8),
)


@st.composite
def requests(draw: Any) -> bytes:
    """Return a request of either version, with histograms, exemplars, metadata and fields that nobody knows."""
    new = draw(st.booleans())
    request, places = (request_v2() if new else write_request())(), {"": 0}
    for pairs, samples, histograms, type_ in draw(st.lists(SERIES, max_size=6)):
        one = request.timeseries.add()
        for name, value in pairs:
            if new:
                one.labels_refs.extend(places.setdefault(text, len(places)) for text in (name, value))
            else:
                one.labels.add(name=name, value=value)
        for ts_ms, number in samples:
            one.samples.add(timestamp=ts_ms, value=number)
        for ts_ms, number, count, hint in histograms:
            one.histograms.add(timestamp=ts_ms, sum=number, count_int=count, reset_hint=hint)
        if type_ == 8:
            one.exemplars.add(value=1.0, timestamp=AT_MS)
        elif new:
            one.metadata.type = type_
    if new:
        request.symbols.extend(places)
    beside = draw(st.sampled_from([b"", b"", b"\x80\x01\x07", b"\x82\x01\x02hi", b"\x83\x01\x08\x01\x84\x01"]))
    return bytes(request.SerializeToString()) + beside


def expected(request: Any) -> Decoded:
    """Return what the official objects say, in the plainest way: rows, how many were refused, and what was dropped."""
    labels_of = MetricLabels(DEMO)
    rows: list[tuple[Any, ...]] = []
    refused = dropped = 0
    for one in request.timeseries:
        pairs, form = _pairs(request, one)
        for ts_ms, value, suffix, said in _values(one, form):
            names = [name.encode() for name, _ in pairs]
            labels = dict(pairs)
            sound = "" not in labels and len(labels) == len(pairs) and names == sorted(names) and labels.get("__name__")
            if struct.pack("<d", value) == struct.pack("<d", STALE):
                dropped += 1
            elif not sound or not EARLIEST_MS <= ts_ms < LATEST_MS:
                refused += 1
            else:
                series = labels_of.measured({**labels, "__name__": labels["__name__"] + suffix}, said)
                number = value if math.isfinite(value) else math.nan
                rows.append(
                    (ts_ms, series.entity, series.indicator, series.instance, series.form, number, series.identity)
                )
    names = ("ts_ms", "entity", "indicator", "instance", "form", "value", "identity")
    schema = {name: dtype for name, dtype in decoded().rows.schema.items() if name in names}
    frame = pl.DataFrame(rows, schema={name: schema[name] for name in names}, orient="row")
    return Decoded(frame, [None] * refused, {"stale marker": dropped} if dropped else {})  # type: ignore[list-item]


def _pairs(request: Any, one: Any) -> tuple[list[tuple[str, str]], str]:
    if hasattr(one, "labels"):
        return [(label.name, label.value) for label in one.labels], ""
    texts = [request.symbols[ref] for ref in one.labels_refs]
    forms = {1: "counter", 2: "gauge", 3: "counter", 4: "gauge", 6: "gauge", 7: "gauge"}
    return list(zip(texts[::2], texts[1::2], strict=True)), forms.get(one.metadata.type, "")


def _values(one: Any, form: str) -> list[tuple[int, float, str, str]]:
    values = [(sample.timestamp, sample.value, "", form) for sample in one.samples]
    for histogram in one.histograms:
        count = float(getattr(histogram, histogram.WhichOneof("count") or "count_int"))
        stale = struct.pack("<d", histogram.sum) == struct.pack("<d", STALE)
        said = "gauge" if histogram.reset_hint == 3 else "counter"
        values += [
            (histogram.timestamp, STALE if stale else count, "_count", said),
            (histogram.timestamp, histogram.sum, "_sum", said),
        ]
    return values


def assert_same(found: Decoded, wanted: Decoded) -> None:
    assert found.rows.select(wanted.rows.columns).equals(wanted.rows)
    assert sum(getattr(letter, "rows", 1) for letter in found.letters) == sum(
        getattr(letter, "rows", 1) for letter in wanted.letters
    )
    assert dict(found.dropped) == dict(wanted.dropped)


def official(raw: bytes) -> Any:
    """Return the request as the official library reads it, of the version that its first known field says."""
    old, new = write_request().FromString(raw), request_v2().FromString(raw)
    return new if new.timeseries or new.symbols else old


@settings(max_examples=60, deadline=None)
@given(st.lists(requests(), max_size=4), st.data())
def test_requests_are_read_as_the_official_objects_read_them(raws: list[bytes], data: Any) -> None:
    by = PrometheusRemoteWrite(DEMO)
    bodies = [bytes(snappy.compress_raw(raw)) if data.draw(st.booleans()) else raw for raw in raws]
    for _ in range(2):  # unknown series, then known ones
        for raw, body in zip(raws, bodies, strict=True):
            if raw and raw[0] in b"\x0a\x22\x2a":
                assert_same(decoded(body, by=by), expected(official(raw)))
    whole = decoded(*bodies)
    cut = data.draw(st.integers(0, len(bodies)))
    parts = [
        PrometheusRemoteWrite(DEMO).decode(bodies[a:b], range(a, b), "in") for a, b in ((0, cut), (cut, len(bodies)))
    ]
    assert whole.rows.equals(pl.concat([part.rows for part in parts]))
    assert list(whole.letters) == [letter for part in parts for letter in part.letters]


@settings(max_examples=120, deadline=None)
@given(requests(), st.data())
def test_spoiled_bytes_are_refused_or_read_as_the_official_objects_read_them(raw: bytes, data: Any) -> None:
    by = PrometheusRemoteWrite(DEMO)
    decoded(raw, by=by)
    spoiled = bytearray(raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw)
    for _ in range(data.draw(st.integers(0, 3))):
        if spoiled:
            spoiled[data.draw(st.integers(0, len(spoiled) - 1))] = data.draw(st.integers(0, 255))
    body = bytes(spoiled)
    known, fresh = decoded(body, by=by), decoded(body)
    assert_same(known, fresh)
    if fresh.letters or not body or body[0] not in b"\x0a\x22\x2a":
        return
    try:
        wanted = official(body)
    except DecodeError:  # in what nobody asks for: exemplars, metadata, labels of no sample
        return
    assert_same(fresh, expected(wanted))


def test_forgetting_what_was_learned_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    series = [({**REQUESTS, "code": str(number)}, [(AT_MS, float(number))]) for number in range(40)]
    bodies = [block(of(*series[start : start + 10])) for start in (0, 10, 20, 30) for of in (version_1, version_2)]
    whole = decoded(*bodies)
    monkeypatch.setattr(series_table, "MAX_SERIES", 12)
    monkeypatch.setattr(remote_write_v2, "_MAX_TEXTS", 12)
    assert decoded(*bodies).rows.equals(whole.rows)


def test_a_request_of_more_samples_than_anybody_sends_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (remote_write_v1, remote_write_v2, prometheus_remote_write):
        monkeypatch.setattr(module, "MAX_ROWS", 30)
    series = [({**REQUESTS, "code": str(number)}, [(AT_MS, float(number))]) for number in range(31)]
    many = (REQUESTS, [(AT_MS + number, 1.0) for number in range(31)])
    by = PrometheusRemoteWrite(DEMO)
    for of in (version_1, version_2):
        for sent, rows in ((series[:30], 30), (series, 0), (series, 0), ([many], 0)):
            assert decoded(block(of(*sent)), by=by).rows.height == rows
