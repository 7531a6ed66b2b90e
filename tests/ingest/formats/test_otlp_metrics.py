"""OTLP metrics: points become the series that Prometheus would make of them, from protobuf and JSON alike."""

import json
import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource as SdkResource

from engine.features import Features, merge
from engine.partials import partials_of
from engine.ports import Decoded
from engine.schemas import SCHEMAS
from ingest import checks, otlp_layouts
from ingest.formats.otlp_metrics import LEVELLESS, NAMELESS
from ingest.identity import Identity
from ingest.otlp_histograms import UNEVEN
from ingest.otlp_points import NO_VALUE, STALE
from ingest.registry import format_of
from ingest.times import OUTSIDE
from models.templates import TemplatesConfig
from tests.ingest.formats import otlp
from tests.ingest.formats.otlp import AT_MS, AT_NS, DEMO, POD, STORE, as_json, key_values, store_resource

NAME = "otlp-metrics"
SAMPLES = otlp.samples(NAME)
DELTA, CUMULATIVE = pb.AGGREGATION_TEMPORALITY_DELTA, pb.AGGREGATION_TEMPORALITY_CUMULATIVE


def request(*metrics: pb.Metric, resource: Any = None, scope: str = "s") -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    held = made.resource_metrics.add(resource=resource or store_resource())
    inside = held.scope_metrics.add(metrics=metrics)
    inside.scope.name = scope
    return made


def point(value: float | int = 1.0, at_ns: int = AT_NS, flags: int = 0, **said: Any) -> pb.NumberDataPoint:
    made = pb.NumberDataPoint(
        start_time_unix_nano=AT_NS - 1, time_unix_nano=at_ns, flags=flags, attributes=key_values(**said)
    )
    if isinstance(value, int):
        made.as_int = value
    else:
        made.as_double = value
    return made


def gauge(*points: pb.NumberDataPoint, name: str = "g") -> pb.Metric:
    return pb.Metric(name=name, description="what", unit="1", gauge=pb.Gauge(data_points=points))


def total(
    *points: pb.NumberDataPoint, temporality: Any = CUMULATIVE, monotonic: bool = True, name: str = "t"
) -> pb.Metric:
    held = pb.Sum(data_points=points, aggregation_temporality=temporality, is_monotonic=monotonic)
    return pb.Metric(name=name, sum=held)


def found(made: ExportMetricsServiceRequest) -> list[tuple[str, str, float]]:
    rows = otlp.rows(NAME, made.SerializeToString())
    return [(row["indicator"], row["form"], row["value"]) for row in rows]


@pytest.mark.parametrize("check", checks.FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check: Callable[..., None]) -> None:
    check(lambda: format_of(NAME, Identity("demo")), SAMPLES)


def test_gauges_and_sums() -> None:
    made = request(
        gauge(point(1.5, route="/a"), point(7)),
        total(point(3, code=200)),
        total(point(4.0), monotonic=False, name="up_down"),
    )
    assert found(made) == [
        ('g{route="/a"}', "gauge", 1.5),
        ("g", "gauge", 7.0),
        ('t{code="200"}', "counter", 3.0),
        ("up_down", "gauge", 4.0),
    ]


def test_a_row() -> None:
    (row,) = otlp.rows(NAME, request(gauge(point(-2)), scope="lib").SerializeToString())
    assert row.pop("identity") > 0
    assert row == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": STORE,
        "indicator": "g",
        "instance": f"{POD}/lib",
        "form": "gauge",
        "value": -2.0,
    }


def test_histogram_is_named_as_by_prometheus() -> None:
    held = pb.HistogramDataPoint(
        time_unix_nano=AT_NS,
        count=7,
        sum=1.25,
        bucket_counts=[1, 4, 2],
        explicit_bounds=[0.005, 10],
        attributes=key_values(route="/a"),
    )
    for temporality, form in ((CUMULATIVE, "counter"), (DELTA, "delta")):
        histogram = pb.Histogram(data_points=[held], aggregation_temporality=temporality)
        assert found(request(pb.Metric(name="h", histogram=histogram))) == [
            ('h_count{route="/a"}', form, 7.0),
            ('h_bucket{le="0.005",route="/a"}', form, 1.0),
            ('h_bucket{le="10",route="/a"}', form, 5.0),
            ('h_bucket{le="+Inf",route="/a"}', form, 7.0),
            ('h_sum{route="/a"}', form, 1.25),
        ]


def test_exponential_histogram_and_summary() -> None:
    exponential = pb.ExponentialHistogramDataPoint(time_unix_nano=AT_NS, count=3, sum=9.0, scale=1, zero_count=1)
    summary = pb.SummaryDataPoint(time_unix_nano=AT_NS, count=10, sum=0.5)
    summary.quantile_values.add(quantile=0.99, value=0.2)
    held = pb.ExponentialHistogram(data_points=[exponential], aggregation_temporality=CUMULATIVE)
    made = request(
        pb.Metric(name="e", exponential_histogram=held), pb.Metric(name="s", summary=pb.Summary(data_points=[summary]))
    )
    assert found(made) == [
        ("e_count", "counter", 3.0),
        ("e_sum", "counter", 9.0),
        ("s_count", "counter", 10.0),
        ('s{quantile="0.99"}', "gauge", 0.2),
        ("s_sum", "counter", 0.5),
    ]


def test_what_is_left_out_is_counted() -> None:
    made = request(
        gauge(point(1.0, flags=1), point(2.0)),
        total(point(5), point(6), temporality=DELTA, monotonic=False),
    )
    decoded = otlp.decode(NAME, made.SerializeToString())
    assert decoded.rows["value"].to_list() == [2.0]
    assert decoded.dropped == {STALE: 1, LEVELLESS: 2}
    assert not decoded.letters


def test_bad_points_are_refused_and_the_others_used() -> None:
    uneven = pb.HistogramDataPoint(time_unix_nano=AT_NS, count=1, bucket_counts=[1], explicit_bounds=[1.0])
    made = request(
        gauge(point(1.0), point(2.0, at_ns=0), pb.NumberDataPoint(time_unix_nano=AT_NS)),
        gauge(point(3.0), point(4.0), name=""),
        pb.Metric(name="h", histogram=pb.Histogram(data_points=[uneven])),
    )
    decoded = otlp.decode(NAME, made.SerializeToString(), b"\x0a\xff")
    assert decoded.rows["value"].to_list() == [1.0]
    refused = {(letter.offset, letter.reason): letter.rows for letter in decoded.letters}
    assert refused == {
        (0, OUTSIDE): 1,
        (0, NO_VALUE): 1,
        (0, NAMELESS): 2,
        (0, UNEVEN): 1,
        (1, "protobuf: a number is cut off or too long"): 1,
    }


def test_infinities_are_present_without_a_number() -> None:
    values = [value for _, _, value in found(request(gauge(point(math.inf), point(math.nan, a=1), point(1.0, a=2))))]
    assert math.isnan(values[0])
    assert math.isnan(values[1])
    assert values[2] == 1.0


def entity_and_instance(made: ExportMetricsServiceRequest) -> tuple[str, str]:
    (row,) = otlp.rows(NAME, made.SerializeToString())
    return row["entity"], row["instance"]


def test_a_point_says_whom_it_is_about() -> None:
    """As kube-state-metrics' series do, which come out of the Collector's Prometheus receiver as point attributes."""
    about = point(1.0, pod="cart-7d9c5b8f4d-x2x9z", namespace="shop", phase="Running")
    assert entity_and_instance(request(gauge(about, name="kube_pod_status_phase")))[0] == "demo/service/shop/cart"
    assert entity_and_instance(request(gauge(about)))[0] == "demo/service/shop/cart"
    workload = gauge(point(3.0, deployment="cart", namespace="shop"), name="kube_deployment_status_replicas")
    assert entity_and_instance(request(workload))[0] == "demo/service/shop/cart"


def test_a_call_s_other_side_does_not() -> None:
    assert entity_and_instance(request(gauge(point(1.0, host="api.example.com"))))[0] == STORE


def test_node_and_host_metrics() -> None:
    resource = Resource(attributes=key_values(host__name="n7"))
    made = request(gauge(point(0.5, cpu="0", state="idle"), name="system.cpu.utilization"), resource=resource)
    assert entity_and_instance(made) == ("demo/node/-/n7", "n7/s")
    scraped = Resource(attributes=key_values(service__name="node-exporter", service__instance__id="n7:9100"))
    made = request(gauge(point(0.5), name="node_load1"), resource=scraped)
    assert entity_and_instance(made)[0] == "demo/node/-/n7"


def test_counters_of_what_otlp_holds_apart_do_not_mix() -> None:
    same = total(point(1))
    senders = [
        request(same, resource=store_resource(service__instance__id="1")),
        request(same, resource=store_resource(service__instance__id="2")),
        request(same, scope="other"),
        request(total(point(1, endpoint="/a"))),
        request(total(point(1, endpoint="/b"))),
    ]
    rows = otlp.rows(NAME, *[one.SerializeToString() for one in senders])
    assert len({row["indicator"] for row in rows}) == 1
    assert len({row["instance"] for row in rows}) == len(senders)
    assert len({row["identity"] for row in rows}) == len(senders)


def test_identity_does_not_depend_on_order() -> None:
    forth, back = key_values(a=1, b=2), key_values(b=2, a=1)
    made = [request(gauge(pb.NumberDataPoint(time_unix_nano=AT_NS, as_int=1, attributes=one))) for one in (forth, back)]
    first, second = otlp.rows(NAME, *[one.SerializeToString() for one in made])
    assert first["identity"] == second["identity"]


def test_secrets_do_not_pass() -> None:
    made = request(gauge(point(1.0, token="hunter2hunter2", mail="jane@example.com")))
    (row,) = otlp.rows(NAME, made.SerializeToString())
    assert "hunter2" not in row["indicator"]
    assert "jane" not in row["indicator"]


def test_delta_counters_have_the_rate_of_cumulative_ones() -> None:
    """A delta is an increase; in the partials it stands as a counter that began again at 0."""

    def rate(temporality: Any, values: list[int]) -> float:
        at_ns = [AT_NS + second * 10**9 for second in (0, 10, 20, 30)]
        points = [point(value, at_ns=at) for value, at in zip(values, at_ns, strict=True)]
        frame = otlp.decode(NAME, request(total(*points, temporality=temporality)).SerializeToString()).rows
        said = {"input": pl.lit("in"), "start_ms": pl.lit(0), "resolution_ms": pl.lit(60_000)}
        merged = merge([partials_of("metrics", frame, 4).with_columns(**said)])
        (tick,) = Features(TemplatesConfig()).ticks(merged, 0, 60_000, {"demo/metrics": 1.0})
        return float(tick.values[0])

    assert rate(CUMULATIVE, [100, 103, 103, 115]) == 0.5
    assert rate(DELTA, [100, 3, 0, 12]) == pytest.approx(0.5, rel=1e-4)


def test_what_the_python_sdk_sends() -> None:
    reader = InMemoryMetricReader()
    resource = SdkResource({"service.name": "store", "k8s.pod.name": POD, "k8s.namespace.name": "shop"})
    meter = MeterProvider(metric_readers=[reader], resource=resource).get_meter("lib")
    meter.create_counter("orders").add(3, {"kind": "new"})
    meter.create_up_down_counter("open").add(-2)
    meter.create_gauge("level").set(1.5)
    meter.create_histogram("latency", explicit_bucket_boundaries_advisory=[1, 2.5]).record(2)
    data = reader.get_metrics_data()
    assert data is not None
    rows = otlp.rows(NAME, encode_metrics(data).SerializeToString())
    assert {row["entity"] for row in rows} == {STORE}
    assert {(row["indicator"], row["form"]): row["value"] for row in rows} == {
        ('orders{kind="new"}', "counter"): 3.0,
        ("open", "gauge"): -2.0,
        ("level", "gauge"): 1.5,
        ("latency_count", "counter"): 1.0,
        ('latency_bucket{le="1"}', "counter"): 0.0,
        ('latency_bucket{le="2.5"}', "counter"): 1.0,
        ('latency_bucket{le="+Inf"}', "counter"): 1.0,
        ("latency_sum", "counter"): 2.0,
    }


# --- anything drawn, read as the official objects read it ---

numbers = st.builds(
    lambda at, value, flags, said, start: pb.NumberDataPoint(
        start_time_unix_nano=start, time_unix_nano=at, flags=flags, attributes=said, **value
    ),
    otlp.nanos,
    st.fixed_dictionaries({"as_double": st.floats()})
    | st.fixed_dictionaries({"as_int": st.integers(-(2**63), 2**63 - 1)})
    | st.just({}),
    st.sampled_from([0, 0, 0, 1, 2, 2**31]),
    otlp.attributes,
    otlp.nanos,
)
counts = st.integers(0, 2**64 - 1)
histograms = st.builds(
    lambda at, count, total, buckets, bounds, said, flags: pb.HistogramDataPoint(
        time_unix_nano=at,
        count=count,
        bucket_counts=buckets,
        explicit_bounds=bounds,
        attributes=said,
        flags=flags,
        **total,
    ),
    otlp.nanos,
    counts,
    st.fixed_dictionaries({}, optional={"sum": st.floats(), "min": st.floats()}),
    st.lists(st.integers(0, 2**40), max_size=3),
    st.lists(st.floats(), max_size=2),
    otlp.attributes,
    st.sampled_from([0, 0, 1]),
)
temporalities = st.sampled_from([0, 1, 2])
metrics = st.builds(
    lambda name, held: pb.Metric(name=name, description="d", unit="1", **held),
    st.sampled_from(["a", "node_x", "", "b.c"]),
    st.one_of(
        st.lists(numbers, max_size=3).map(lambda points: {"gauge": pb.Gauge(data_points=points)}),
        st.builds(
            lambda points, when, monotonic: {
                "sum": pb.Sum(data_points=points, aggregation_temporality=when, is_monotonic=monotonic)
            },
            st.lists(numbers, max_size=3),
            temporalities,
            st.booleans(),
        ),
        st.builds(
            lambda points, when: {"histogram": pb.Histogram(data_points=points, aggregation_temporality=when)},
            st.lists(histograms, max_size=2),
            temporalities,
        ),
    ),
)
drawn = st.lists(
    st.builds(
        lambda resource, scopes: pb.ResourceMetrics(
            resource=resource, scope_metrics=[pb.ScopeMetrics(metrics=held) for held in scopes]
        ),
        otlp.resources,
        st.lists(st.lists(metrics, max_size=3), max_size=2),
    ),
    min_size=1,
    max_size=2,
).map(lambda held: ExportMetricsServiceRequest(resource_metrics=held))


def expected(made: ExportMetricsServiceRequest) -> list[tuple[int, str, float]]:
    """Return time, name (without its labels) and value of the rows of a request, by the official objects."""
    rows: list[tuple[int, str, float]] = []
    for metric in (one for held in made.resource_metrics for scope in held.scope_metrics for one in scope.metrics):
        if metric.WhichOneof("data") == "histogram":
            rows += [row for one in metric.histogram.data_points for row in histogram_rows(metric.name, one)]
        else:
            moving = metric.sum.aggregation_temporality == DELTA and not metric.sum.is_monotonic
            points = metric.gauge.data_points or ([] if moving else metric.sum.data_points)
            rows += [row for one in points for row in number_rows(metric.name, one)]
    return [row for row in rows if row[1][0] != "_" and row[1] and 315_532_800_000 <= row[0] < 4_102_444_800_000]


def number_rows(name: str, one: pb.NumberDataPoint) -> list[tuple[int, str, float]]:
    which = one.WhichOneof("value")
    usable = which and not one.flags & 1 and name
    return [(one.time_unix_nano // 1_000_000, name, float(getattr(one, which)))] if usable else []


def histogram_rows(name: str, one: pb.HistogramDataPoint) -> list[tuple[int, str, float]]:
    if one.flags & 1 or not name or (one.bucket_counts and len(one.bucket_counts) != len(one.explicit_bounds) + 1):
        return []
    ts_ms = one.time_unix_nano // 1_000_000
    buckets = [(ts_ms, f"{name}_bucket", float(count)) for count in accumulate(one.bucket_counts)]
    sums = [(ts_ms, f"{name}_sum", one.sum)] if one.HasField("sum") else []
    return [(ts_ms, f"{name}_count", float(one.count)), *buckets, *sums]


def comparable(rows: list[tuple[int, str, float]]) -> list[tuple[int, str, str]]:
    return [(ts_ms, name, repr(math.nan if math.isinf(value) else value)) for ts_ms, name, value in rows]


@settings(max_examples=100, deadline=None)
@given(drawn, drawn)
def test_reads_what_the_official_objects_read(first: Any, second: Any) -> None:
    decoded = otlp.decode(NAME, first.SerializeToString(), second.SerializeToString(), first.SerializeToString())
    names = decoded.rows["indicator"].str.split("{").list.first()
    came = list(zip(decoded.rows["ts_ms"], names, decoded.rows["value"], strict=True))
    assert comparable(came) == comparable([*expected(first), *expected(second), *expected(first)])
    assert decoded.rows.schema == SCHEMAS["metrics"]


@settings(max_examples=100, deadline=None)
@given(drawn)
def test_json_and_protobuf_give_the_same(made: Any) -> None:
    binary, text = otlp.decode(NAME, made.SerializeToString()), otlp.decode(NAME, as_json(made))
    assert binary.rows.equals(text.rows)
    assert binary.dropped == text.dropped
    assert [(one.reason, one.rows) for one in binary.letters] == [(one.reason, one.rows) for one in text.letters]


@settings(max_examples=30, deadline=None)
@given(drawn, st.data())
def test_spoiled_bytes_never_raise(made: Any, data: st.DataObject) -> None:
    body = bytearray(made.SerializeToString() or b"\x0a")
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    kept = bytes(body[: data.draw(st.integers(0, len(body)))])
    wire = format_of(NAME, Identity("demo"))
    alone = [wire.decode([one], [0], "in").rows.height for one in (kept, SAMPLES[0])]
    together = wire.decode([SAMPLES[0], kept, SAMPLES[0]], [3, 4, 5], "in").rows
    assert [together.filter(pl.col("offset") == offset).height for offset in (4, 5)] == alone


def test_lines_of_json_are_requests() -> None:
    """The Collector's file exporter writes one request a line."""
    lines = [as_json(request(gauge(point(float(number), a=number)))) for number in range(3)]
    decoded = otlp.decode(NAME, b"\n".join([*lines, b'{"resourceMetrics":3}', b"{"]))
    assert decoded.rows["value"].to_list() == [0.0, 1.0, 2.0]
    assert [(letter.part, letter.rows) for letter in decoded.letters] == [(0, 1), (1, 1)]


def test_a_request_whose_first_bytes_look_like_json() -> None:
    """A line feed and a brace are also how protobuf says: a resource of 123 bytes."""
    resource = Resource(attributes=key_values(service__name="store"))
    sized = [request(gauge(point(), name="g" * size), resource=resource) for size in range(1, 120)]
    made = next(one for one in sized if one.SerializeToString()[:2] == b"\n{")
    assert len(otlp.rows(NAME, made.SerializeToString())) == 1
    assert len(otlp.rows(NAME, b"\n " + as_json(made))) == 1


def test_values_written_in_other_ways() -> None:
    written = json.loads(as_json(request(gauge(point(5)))))
    (held,) = written["resourceMetrics"][0]["scopeMetrics"][0]["metrics"][0]["gauge"]["dataPoints"]
    for value in ("5", 5, 5.0):
        held |= {"asInt": value, "unknownKey": [1], "timeUnixNano": AT_NS}
        (row,) = otlp.rows(NAME, json.dumps(written).encode())
        assert (row["value"], row["ts_ms"]) == (5.0, AT_MS)
    held["asInt"] = "five"
    assert [letter.reason for letter in otlp.decode(NAME, json.dumps(written).encode()).letters] == [NO_VALUE]


def test_spans_are_no_metrics() -> None:
    for body in otlp.samples("otlp-spans"):
        decoded = otlp.decode(NAME, body)
        assert decoded.rows.is_empty()
        assert decoded.letters


def test_points_are_read_in_any_order_of_fields() -> None:
    """Java's and Rust's encoders, and a merge of two messages, may order fields as they like."""
    whole = point(2.5, a=1, b="x")
    fields = [
        pb.NumberDataPoint(attributes=whole.attributes).SerializeToString(),
        pb.NumberDataPoint(as_double=2.5).SerializeToString(),
        pb.NumberDataPoint(time_unix_nano=AT_NS).SerializeToString(),
    ]
    held = pb.NumberDataPoint.FromString(b"".join(fields))
    usual = request(gauge(held)).SerializeToString()
    shuffled = usual.replace(held.SerializeToString(), b"".join(fields))
    assert shuffled != usual
    assert otlp.rows(NAME, shuffled) == otlp.rows(NAME, usual)
    assert np.isfinite([row["value"] for row in otlp.rows(NAME, usual)]).all()


@pytest.mark.parametrize("known", [False, True], ids=["first time", "layout known"])
def test_a_message_that_breaks_off_counts_once(known: bool) -> None:
    """What was read of it before, rows as well as what was dropped or refused of it, is taken back."""
    made = request(
        gauge(point(1.0, flags=1), pb.NumberDataPoint(time_unix_nano=AT_NS), *(point(2.0, a=n) for n in range(40))),
        gauge(point(3.0), name=""),
        total(point(5), temporality=DELTA, monotonic=False),
    )
    clean = request(gauge(*(point(2.0, a=n) for n in range(40)))).SerializeToString()
    wire = format_of(NAME, Identity("demo"))
    for _ in range(2 if known else 0):
        wire.decode([clean], [0], "in")
    decoded = wire.decode([clean + made.SerializeToString() + b"\x0a\xff", clean], [3, 4], "in")
    assert decoded.rows["offset"].to_list() == [4] * 40
    assert not decoded.dropped
    assert [(one.offset, one.rows, one.part) for one in decoded.letters] == [(3, 1, 0)]


# --- what a sender says again ---


def moved(made: ExportMetricsServiceRequest, data: st.DataObject) -> ExportMetricsServiceRequest:
    """Return a request as its sender would make it later: with other times, values and exemplars."""
    later = ExportMetricsServiceRequest.FromString(made.SerializeToString())
    for held in (
        one for resource in later.resource_metrics for scope in resource.scope_metrics for one in scope.metrics
    ):
        for one in getattr(held, held.WhichOneof("data")).data_points:
            one.time_unix_nano = data.draw(otlp.nanos)
            one.start_time_unix_nano = data.draw(otlp.nanos)
            change_values(one, data)
    return later


def change_values(one: Any, data: st.DataObject) -> None:
    if isinstance(one, pb.NumberDataPoint):
        which = one.WhichOneof("value")
        if which:
            setattr(one, which, data.draw(st.floats() if which == "as_double" else st.integers(-(2**63), 2**63 - 1)))
        return
    one.count = data.draw(counts)
    one.bucket_counts[:] = [data.draw(st.integers(0, 2**40)) for _ in one.bucket_counts]
    if one.HasField("sum"):
        one.sum = data.draw(st.floats())


@settings(max_examples=60, deadline=None)
@given(drawn, st.data())
def test_what_is_said_again_is_read_as_the_first_time(made: Any, data: st.DataObject) -> None:
    """A decoder that has learned a layout gives what one that has not gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(otlp_layouts, "MIN_BYTES", 1)
        learned = format_of(NAME, Identity("demo"))
        for later in [made, made, *(moved(made, data) for _ in range(3))]:
            body = bytearray(later.SerializeToString())
            assert_same(learned.decode([bytes(body)], [0], "in"), otlp.decode(NAME, bytes(body)))
            if body:
                body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
            assert_same(learned.decode([bytes(body)], [0], "in"), otlp.decode(NAME, bytes(body)))


def assert_same(one: Decoded, other: Decoded) -> None:
    assert one.rows.equals(other.rows)
    assert (one.letters, one.dropped) == (other.letters, other.dropped)


def test_a_known_layout_is_used_and_changes_nothing() -> None:
    """More than half a kB, so that it is learned: every kind of point, at three times, in one decoder."""
    wire = format_of(NAME, Identity("demo"))
    for minute in (0, 1, 2, 3):
        summary = pb.SummaryDataPoint(time_unix_nano=AT_NS + minute, count=minute, sum=0.5)
        summary.quantile_values.add(quantile=0.99, value=0.2 * minute)
        histogram = pb.HistogramDataPoint(
            time_unix_nano=AT_NS + minute,
            count=3,
            sum=minute,
            min=minute,
            bucket_counts=[minute, 2],
            explicit_bounds=[1],
        )
        made = request(
            *(gauge(point(minute * 1.5, at_ns=AT_NS + minute * 10**9, a=number), name="x" * 50) for number in range(9)),
            total(point(minute, at_ns=AT_NS + minute)),
            pb.Metric(name="s", summary=pb.Summary(data_points=[summary])),
            pb.Metric(name="h", histogram=pb.Histogram(data_points=[histogram], aggregation_temporality=DELTA)),
        )
        body = made.SerializeToString()
        assert_same(wire.decode([b"", body], [5, 7], "in"), format_of(NAME, DEMO).decode([b"", body], [5, 7], "in"))
    assert wire._layouts._known  # type: ignore[attr-defined]
