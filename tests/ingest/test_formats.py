"""Every wire format: what its project documents becomes these rows, and nothing else is lost or stumbled over."""

import json
import math
from collections.abc import Callable
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ports import Decoded, Format
from engine.types import DeadLetter
from ingest import checks
from ingest.identity import Identity
from ingest.registry import FORMATS, format_of
from tests.ingest.golden import golden

DEMO = Identity("demo")
AT_MS = 1_755_856_800_000
POD = "store-77tk444p6s-2jpfw"
KUBERNETES = {
    "pod_name": POD,
    "namespace_name": "shop",
    "host": "n1",
    "labels": {"app": "store"},
    "container_name": "c",
}
LABELS = {"__name__": "up", "job": "x", "pod": POD, "namespace": "shop"}
EVENT = {
    "metadata": {"name": "p.17", "namespace": "shop", "uid": "u-1"},
    "reason": "BackOff",
    "message": "Back-off restarting",
    "source": {"component": "kubelet", "host": "n1"},
    "firstTimestamp": "2025-08-22T09:00:00Z",
    "lastTimestamp": "2025-08-22T10:00:00Z",
    "count": 5,
    "type": "Warning",
    "eventTime": None,
    "involvedObject": {"kind": "Pod", "namespace": "shop", "name": POD, "labels": {}, "ownerReferences": []},
}
COSTS = {
    "GroupDefinitions": [{"Type": "DIMENSION", "Key": "SERVICE"}],
    "ResultsByTime": [
        {
            "TimePeriod": {"Start": "2026-08-01", "End": "2026-08-02"},
            "Total": {},
            "Groups": [
                {"Keys": ["Amazon EC2"], "Metrics": {"UnblendedCost": {"Amount": "12.3", "Unit": "USD"}}},
                {"Keys": ["Amazon S3", "team-a"], "Metrics": {"UnblendedCost": {"Amount": "0.5", "Unit": "USD"}}},
            ],
            "Estimated": True,
        }
    ],
}
SPAN = {
    "trace_id": "5b8efff798038103d269b633813fc60c",
    "span_id": "eee19b7ec3c1b174",
    "parent_span_id": "eee19b7ec3c1b173",
    "name": "GET /orders",
    "kind": "server",
    "start_time_unix_nano": AT_MS * 1_000_000 - 2_500_000,
    "end_time_unix_nano": AT_MS * 1_000_000,
    "status": "ok",
    "resource": {"service.name": "store", "k8s.namespace.name": "shop", "k8s.pod.name": POD, "k8s.node.name": "n1"},
}
OBJECT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "store",
        "namespace": "shop",
        "resourceVersion": "17",
        "managedFields": [{"manager": "kubectl"}],
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "kept": "yes"},
    },
    "spec": {"replicas": 2},
}
SAMPLES: dict[str, list[dict[str, Any]]] = {
    "fluentbit": [
        {"@timestamp": AT_MS / 1000, "stream": "stderr", "log": "ERROR one\n", "kubernetes": KUBERNETES},
        {"@timestamp": "2025-08-22T10:00:00.123456Z", "log": "two", "kubernetes": KUBERNETES},
        {"date": AT_MS // 1000, "message": "three", "level": "warn", "kubernetes": KUBERNETES},
    ],
    "prometheus-adapter": [
        {"timestamp": "2025-08-22T10:00:00Z", "value": "9876543210", "name": "up", "labels": LABELS},
        {"timestamp": "2025-08-22T10:00:00Z", "value": "NaN", "name": "up", "labels": LABELS},
    ],
    "kubernetes-event-exporter": [EVENT],
    "aws-cost-explorer": [COSTS, {"known_at": "2026-08-03T06:00:00Z", "response": COSTS}],
    "spans": [SPAN, SPAN | {"parent_span_id": None, "kind": "client", "status": "error"}],
    "kubernetes-objects": [
        {"observed_at": "2025-08-22T10:00:00.5Z", "object": OBJECT},
        {"observed_at": "2025-08-22T10:00:00.5Z", "object": OBJECT, "deleted": True},
    ],
}


def bodies_of(name: str) -> list[bytes]:
    return [*(json.dumps(one).encode() for one in SAMPLES.get(name, ())), *golden(name)]


def decode(name: str, *messages: dict[str, Any] | bytes) -> tuple[list[dict[str, Any]], list[DeadLetter]]:
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    decoded = format_of(name, DEMO).decode(bodies, range(len(bodies)), "in")
    frame, letters = decoded.rows, list(decoded.letters)
    return frame.drop("identity").to_dicts(), letters


def one(name: str, message: dict[str, Any]) -> dict[str, Any]:
    rows, letters = decode(name, message)
    assert not letters, letters
    (row,) = rows
    return row


def test_every_format_has_samples() -> None:
    assert not [name for name in FORMATS if not bodies_of(name)]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("check", checks.FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(name: str, check: Callable[..., None]) -> None:
    check(lambda: format_of(name, Identity("demo")), bodies_of(name))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize("name", SAMPLES)
@given(data=st.data())
def test_nothing_makes_decode_raise(name: str, data: st.DataObject) -> None:
    """Any bytes, and messages in which any field holds any JSON."""
    message = data.draw(st.sampled_from(SAMPLES[name]))
    path = data.draw(st.sampled_from(list(paths(message))))
    changed = replaced(message, path, data.draw(json_values))
    any_bytes = data.draw(st.binary())
    bodies = [any_bytes, json.dumps(changed).encode()]
    wire = format_of(name, DEMO)
    decoded = wire.decode(bodies, [4, 9], "in")
    frame, letters = decoded.rows, list(decoded.letters)
    accounted = set(frame["offset"]) | {letter.offset for letter in letters}
    assert accounted == {4, 9} or (accounted == {9} and b"[" in any_bytes), "only an empty array is nothing"
    assert frame.schema == checks.SCHEMAS[wire.kind]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


# --- Fluent Bit ---


def test_fluentbit_record() -> None:
    message = {"@timestamp": 1755856800.123, "stream": "stderr", "log": "ERROR took 12ms\n", "kubernetes": KUBERNETES}
    assert one("fluentbit", message) == {
        "ts_ms": 1_755_856_800_123,
        "offset": 0,
        "entity": "demo/service/shop/store",
        "severity": "error",
        "body": "ERROR took 12ms",
        "signature": "ERROR took <*>",
    }


@pytest.mark.parametrize(
    ("stamp", "ts_ms"),
    [
        ({"@timestamp": 1755856800.999999}, AT_MS + 999),
        ({"@timestamp": 1755856800}, AT_MS),
        ({"@timestamp": "2025-08-22T10:00:00.123456Z"}, AT_MS + 123),
        ({"@timestamp": "2025-08-22T10:00:00.123456789Z"}, AT_MS + 123),
        ({"@timestamp": "2025-08-22T12:00:00.5+02:00"}, AT_MS + 500),
        ({"date": 1755856800.5}, AT_MS + 500),
        ({"date": "2025-08-22T10:00:00Z"}, AT_MS),
    ],
)
def test_fluentbit_times(stamp: dict[str, Any], ts_ms: int) -> None:
    assert one("fluentbit", {"log": "x", **stamp})["ts_ms"] == ts_ms


@pytest.mark.parametrize(
    "stamp", [0, -1, 1e300, 4_102_444_800, "1979-12-31T23:59:59Z", "2100-01-01T00:00:00Z", "soon", None, [], True]
)
def test_absurd_times_are_dead_letters(stamp: Any) -> None:
    rows, letters = decode("fluentbit", {"@timestamp": stamp, "log": "x"})
    assert not rows
    assert letters[0].reason


@pytest.mark.parametrize(
    ("record", "severity"),
    [
        ({"log": "x", "level": "WARNING"}, "warn"),
        ({"log": "x", "severity": "ERROR"}, "error"),
        ({"log": "x", "level": 50}, "error"),
        ({"log": '{"level":"error","msg":"x"}'}, "error"),
        ({"log": "2025-08-22T10:00:00.1Z stderr F FATAL x"}, "fatal"),
        ({"log": '{"log":"WARN x\\n","stream":"stderr","time":"2025-08-22T10:00:00Z"}'}, "warn"),
        ({"log": "2025-08-22 DEBUG x"}, "debug"),
        ({"log": "x"}, "info"),
    ],
)
def test_fluentbit_severity(record: dict[str, Any], severity: str) -> None:
    assert one("fluentbit", {"@timestamp": AT_MS / 1000, **record})["severity"] == severity


def test_fluentbit_takes_lines_out_of_their_wrapping() -> None:
    cri = one("fluentbit", {"date": AT_MS / 1000, "log": "2025-08-22T10:00:00.1Z stdout F hello\n"})
    docker = one("fluentbit", {"date": AT_MS / 1000, "log": '{"log":"hello\\n","stream":"stdout","time":"2025"}\n'})
    assert (cri["body"], docker["body"]) == ("hello", "hello")


def test_fluentbit_scrubs() -> None:
    row = one("fluentbit", {"date": AT_MS / 1000, "log": "password=hunter2"})
    assert "hunter2" not in row["body"] + row["signature"]


# --- Prometheus adapter ---


def test_prometheus_sample() -> None:
    labels = LABELS | {"__name__": "http_requests_total", "method": "GET", "code": "500", "instance": "10.0.0.1:80"}
    row = one("prometheus-adapter", {"timestamp": "2025-08-22T10:00:00Z", "value": "7", "name": "n", "labels": labels})
    assert row["indicator"] == 'http_requests_total{code="500",method="GET"}'
    assert (row["ts_ms"], row["entity"], row["form"], row["value"]) == (
        AT_MS,
        "demo/service/shop/store",
        "counter",
        7.0,
    )
    assert POD in row["instance"]


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "Inf"])
def test_a_sample_without_a_usable_number_is_missing_not_zero(value: str) -> None:
    row = one(
        "prometheus-adapter", {"timestamp": "2025-08-22T10:00:00Z", "value": value, "name": "up", "labels": LABELS}
    )
    assert math.isnan(row["value"])


@pytest.mark.parametrize("value", ["", "ten", "1,5"])
def test_a_sample_that_is_no_number_is_a_dead_letter(value: str) -> None:
    rows, letters = decode(
        "prometheus-adapter", {"timestamp": "2025-08-22T10:00:00Z", "value": value, "name": "up", "labels": LABELS}
    )
    assert (rows, letters[0].reason) == ([], "value is not a number")


@pytest.mark.parametrize(
    ("name", "form"),
    [("a_total", "counter"), ("a_count", "counter"), ("a_sum", "counter"), ("a_bucket", "counter"), ("up", "gauge")],
)
def test_form_follows_from_the_name(name: str, form: str) -> None:
    message = {"timestamp": "2025-08-22T10:00:00Z", "value": "1", "name": name, "labels": {"__name__": name}}
    assert one("prometheus-adapter", message)["form"] == form


def test_label_order_does_not_make_another_series() -> None:
    first = {"__name__": "a", "x": "1", "y": "2"}
    messages = [
        {"timestamp": "2025-08-22T10:00:00Z", "value": "1", "name": "a", "labels": labels}
        for labels in (first, dict(reversed(first.items())))
    ]
    rows, _ = decode("prometheus-adapter", *messages)
    assert rows[0]["indicator"] == rows[1]["indicator"] == 'a{x="1",y="2"}'


# --- Kubernetes events ---


def test_event() -> None:
    row = one("kubernetes-event-exporter", EVENT)
    assert row == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": "demo/service/shop/store",
        "reason": "BackOff",
        "type": "Warning",
        "message": "Back-off restarting",
        "count": 1,  # not 5: each update of the event is a message
        "uid": "u-1",
    }


@pytest.mark.parametrize(
    "times",
    [
        {"lastTimestamp": None, "eventTime": "2025-08-22T10:00:00.000001Z"},
        {"lastTimestamp": None, "firstTimestamp": "2025-08-22T10:00:00Z"},
    ],
)
def test_event_times(times: dict[str, Any]) -> None:
    assert one("kubernetes-event-exporter", EVENT | times)["ts_ms"] == AT_MS


def test_new_api_event() -> None:
    event = {
        "metadata": {"namespace": "shop"},
        "reason": "Pulled",
        "note": "Pulled image",
        "type": "Normal",
        "eventTime": "2025-08-22T10:00:00.000000Z",
        "regarding": EVENT["involvedObject"],
    }
    row = one("kubernetes-event-exporter", event)
    assert (row["message"], row["entity"], row["ts_ms"]) == ("Pulled image", "demo/service/shop/store", AT_MS)


# --- Costs ---


def test_costs() -> None:
    rows, letters = decode("aws-cost-explorer", COSTS)
    assert not letters
    assert [row["entity"] for row in rows] == ["demo/account/-/Amazon_EC2", "demo/account/-/Amazon_S3+team-a"]
    assert [row["amount_usd"] for row in rows] == [12.3, 0.5]
    assert {row["estimated"] for row in rows} == {True}
    assert {row["ts_ms"] for row in rows} == {rows[0]["period_end_ms"]}
    assert rows[0]["period_end_ms"] - rows[0]["period_start_ms"] == 86_400_000


def test_costs_are_known_when_they_were_asked_for() -> None:
    rows, _ = decode("aws-cost-explorer", {"known_at": "2025-08-22T10:00:00Z", "response": COSTS})
    assert {row["ts_ms"] for row in rows} == {AT_MS}


# --- Spans ---


def test_a_secret_in_a_label_becomes_a_hash_that_keeps_series_apart() -> None:
    def measured(**labels: str) -> str:
        row = one("prometheus-adapter", {"timestamp": EVENT["lastTimestamp"], "value": "1", "labels": LABELS | labels})
        return str(row["indicator"])

    first, second = measured(user="bob@mail.example.com"), measured(user="eve@mail.example.com")
    assert first.startswith('up{user="sha256:')
    assert first != second
    assert "hunter2" not in measured(api_token="hunter2")
    assert measured(secret="shop-tls") == 'up{secret="shop-tls"}'
    assert "p4ss" not in one(
        "prometheus-adapter",
        {
            "timestamp": EVENT["lastTimestamp"],
            "value": "1",
            "labels": LABELS | {"instance": "http://bob:p4ss@store:80"},
        },
    ).get("instance", "")


def test_a_secret_in_an_operation_or_a_reason_is_scrubbed() -> None:
    row = one("spans", SPAN | {"name": "GET /login?token=hunter2", "kind": "client"})
    assert row["operation"] == "client GET /login?token=<scrubbed>"
    row = one("kubernetes-event-exporter", EVENT | {"reason": "Failed password=hunter2"})
    assert row["reason"] == "Failed password=<scrubbed>"


def test_spans() -> None:
    rows, letters = decode("spans", SPAN, SPAN | {"parent_span_id": "", "kind": "client", "status": "error"})
    assert not letters
    assert rows[0] == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": "demo/service/shop/store",
        "trace_id": SPAN["trace_id"],
        "span_id": SPAN["span_id"],
        "parent_span_id": SPAN["parent_span_id"],
        "operation": "GET /orders",
        "duration_ms": 2.5,
        "error": False,
    }
    assert (rows[1]["operation"], rows[1]["error"], rows[1]["parent_span_id"]) == ("client GET /orders", True, None)


@pytest.mark.parametrize(
    "changed",
    [
        {"end_time_unix_nano": 0},
        {"end_time_unix_nano": 1 << 80},
        {"start_time_unix_nano": -(1 << 80)},
        {"start_time_unix_nano": AT_MS * 1_000_000 + 1},
        {"trace_id": ""},
        {"resource": []},
        {"end_time_unix_nano": 1.5},
    ],
)
def test_impossible_spans_are_dead_letters(changed: dict[str, Any]) -> None:
    rows, letters = decode("spans", SPAN | changed)
    assert (rows, len(letters)) == ([], 1)


# --- Objects ---


def test_objects() -> None:
    row = one("kubernetes-objects", {"observed_at": "2025-08-22T10:00:00.5Z", "object": OBJECT})
    assert json.loads(row.pop("manifest")) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"annotations": {"kept": "yes"}, "name": "store", "namespace": "shop"},
        "spec": {"replicas": 2},
    }
    assert row == {
        "ts_ms": AT_MS + 500,
        "offset": 0,
        "entity": "demo/service/shop/store",
        "api_version": "apps/v1",
        "object_kind": "Deployment",
        "namespace": "shop",
        "name": "store",
        "deleted": False,
    }


def test_manifests_are_canonical() -> None:
    turned = dict(reversed(OBJECT.items())) | {"metadata": OBJECT["metadata"] | {"resourceVersion": "18"}}
    rows, _ = decode(
        "kubernetes-objects",
        {"observed_at": "2025-08-22T10:00:00Z", "object": OBJECT},
        {"observed_at": "2025-08-22T10:00:00Z", "object": turned},
    )
    assert rows[0]["manifest"] == rows[1]["manifest"]


def test_secret_values_become_hashes_that_show_a_change() -> None:
    def secret(value: str) -> dict[str, Any]:
        manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"key": value}}
        return {"observed_at": "2025-08-22T10:00:00Z", "object": manifest}

    rows, _ = decode("kubernetes-objects", secret("aHVudGVyMg=="), secret("aHVudGVyMg=="), secret("b3RoZXI="))
    texts = [row["manifest"] for row in rows]
    assert "aHVudGVyMg" not in "".join(texts)
    assert texts[0] == texts[1] != texts[2]


def test_the_argument_after_a_secret_option_becomes_a_hash() -> None:
    container = {"args": ["--user", "bob", "--password", "hunter2", "--token", "$(TOKEN)", "--secret", "--quiet"]}
    row = one(
        "kubernetes-objects",
        {"observed_at": "2025-08-22T10:00:00Z", "object": OBJECT | {"spec": {"containers": [container]}}},
    )
    args = json.loads(row["manifest"])["spec"]["containers"][0]["args"]
    assert args[3].startswith("sha256:")
    assert args[:3] + args[4:] == container["args"][:3] + container["args"][4:]


def test_deletion() -> None:
    message = {"observed_at": "2025-08-22T10:00:00Z", "object": OBJECT, "deleted": True}
    assert one("kubernetes-objects", message)["deleted"] is True


# --- The checks themselves: each refuses its bug ---


class Bent:
    """A format with one thing wrong: `bend` changes what the real one answers."""

    def __init__(self, bend: Callable[..., Any]) -> None:
        self._real = format_of("spans", Identity("demo"))
        self._bend = bend
        self.calls = 0

    @property
    def name(self) -> str:
        return "bent"

    @property
    def kind(self) -> str:
        return "spans"

    def decode(self, bodies: Any, offsets: Any, input: str, received_ms: Any = ()) -> Decoded:
        self.calls += 1
        decoded = self._real.decode(bodies, offsets, input)
        return Decoded(*self._bend(self, bodies, decoded.rows, list(decoded.letters)))


def lose_letters(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame, []


def invent_letters(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame, [*letters, *letters]


def both(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame, [*letters, *(DeadLetter("checked", offset, "also", "") for offset in frame["offset"])]


def unsaid(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame, [DeadLetter(one.input, one.offset, "", one.body) for one in letters]


def refuse(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.clear(), [DeadLetter("checked", offset, "no", "") for offset in frame["offset"]]


def reorder(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.reverse(), letters


def other_schema(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.with_columns(pl.col("duration_ms").cast(pl.Float32)), letters


def schemaless(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return (frame if frame.height else pl.DataFrame()), letters


def nulls(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.with_columns(operation=pl.lit(None, pl.String)), letters


def no_entity(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.with_columns(entity=pl.lit("store")), letters


def remembers(self: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.with_columns(duration_ms=pl.col("duration_ms") + self.calls), letters


def batchwise(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame.with_columns(duration_ms=pl.lit(float(frame.height))), letters


def tells(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame, [DeadLetter(one.input, one.offset, one.reason, repr(bodies[0][:500])) for one in letters]


def tells_all(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    return frame, [DeadLetter(one.input, one.offset, one.reason, "x" * len(bodies[0])) for one in letters]


def raises(_: Bent, bodies: Any, frame: pl.DataFrame, letters: Any) -> Any:
    if any(body.startswith(b"[") for body in bodies):
        raise ValueError("a list")
    return frame, letters


@pytest.mark.parametrize(
    ("bend", "check"),
    [
        (raises, checks.never_raises),
        (lose_letters, checks.accounts_for_every_message),
        (invent_letters, checks.accounts_for_every_message),
        (both, checks.reads_good_messages),
        (unsaid, checks.accounts_for_every_message),
        (refuse, checks.reads_good_messages),
        (reorder, checks.reads_good_messages),
        (other_schema, checks.reads_good_messages),
        (nulls, checks.reads_good_messages),
        (no_entity, checks.reads_good_messages),
        (schemaless, checks.empty_batch_is_empty),
        (remembers, checks.decoding_is_pure),
        (batchwise, checks.decoding_is_pure),
        (tells, checks.dead_letters_are_small_and_scrubbed),
        (tells_all, checks.dead_letters_are_small_and_scrubbed),
    ],
    ids=lambda one: one.__name__,
)
def test_each_check_refuses_its_bug(bend: Callable[..., Any], check: Callable[..., None]) -> None:
    with pytest.raises((checks.Broken, ValueError)):
        check(lambda: Bent(bend), bodies_of("spans"))


def test_a_format_is_what_the_port_says() -> None:
    for name in FORMATS:
        wire: Format = format_of(name, DEMO)
        assert wire.name == name
