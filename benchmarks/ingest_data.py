"""Telemetry of an invented cluster, as its shippers send it: generated from a seed, the same every time.

Pods of services scraped every 15 seconds, of which some are replaced at each scrape; their logs, of several shapes, a
few with a secret; OTLP requests of one pod each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.remote_proto import request_v2, write_request
from engine.errors import SourceError

SERIES: Final = 4_000
SCRAPES: Final = 12
IN_REQUEST: Final = 1_000
LINES: Final = 20_000
PODS: Final = 200
OTLP_REQUESTS: Final = 400

_START_MS: Final = 1_755_856_800_000
_SCRAPE_MS: Final = 15_000
_REPLACED: Final = 1_000  # of so many series, one is of a new pod at each scrape: all within four hours
_ROUTES: Final = ("/orders", "/orders/{id}", "/cart", "/checkout", "/login", "/healthz", "/search", "/items/{id}")
_METRICS: Final = ("http_requests_total", "http_request_duration_seconds_sum", "http_requests_in_flight", "cache_bytes")
_SERVICES: Final = ("payments", "checkout", "store", "cart", "search", "accounts", "shipping", "mailer")

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class Sent:
    """Messages of one format, and how many samples, lines or points they hold; the first `warm` teach the series."""

    bodies: Sequence[bytes]
    items: int
    warm: Sequence[bytes] = ()


class Cluster:
    """The telemetry, made from `seed`."""

    def __init__(self, seed: int = 20_260_801) -> None:
        self._rng = np.random.default_rng(seed)

    def adapter_json(self) -> Sent:
        """Return samples as prometheus-kafka-adapter sends them: keys in their order, whole seconds."""
        encode = msgspec.json.Encoder(order="sorted").encode
        bodies = [
            encode(
                {
                    "timestamp": f"2025-08-22T10:{ts_ms // 60_000 % 60:02}:{ts_ms // 1_000 % 60:02}Z",
                    "value": f"{value:.10g}",
                    "name": labels["__name__"],
                    "labels": labels,
                }
            )
            for scrape in self._scrapes
            for labels, ts_ms, value in scrape
        ]
        return Sent(bodies[SERIES:], len(bodies) - SERIES, bodies[:SERIES])

    def remote_write(self) -> Sent:
        """Return requests of remote-write 1.0: ten labels, one sample a series."""
        return self._requests(_version_1)

    def remote_write_v2(self) -> Sent:
        """Return the same samples as requests of remote-write 2.0."""
        return self._requests(_version_2)

    def _requests(self, encode: Any) -> Sent:
        snappy = _package("cramjam").snappy
        parts = [
            scrape[start : start + IN_REQUEST] for scrape in self._scrapes for start in range(0, SERIES, IN_REQUEST)
        ]
        bodies = [bytes(snappy.compress_raw(encode(part))) for part in parts]
        warm = SERIES // IN_REQUEST
        return Sent(bodies[warm:], SERIES * (SCRAPES - 1), bodies[:warm])

    @cached_property
    def _scrapes(self) -> list[list[tuple[Labels, int, float]]]:
        return [list(self._scrape(number)) for number in range(SCRAPES)]

    def _scrape(self, number: int) -> Iterator[tuple[Labels, int, float]]:
        values = np.round(self._rng.gamma(0.7, 900.0, SERIES), 3)
        values[self._rng.random(SERIES) < 0.3] = 0.0  # much of what is counted never happens
        for series, value in enumerate(values.tolist()):
            yield _labels(series, number if series % _REPLACED == number else 0), _START_MS + number * _SCRAPE_MS, value

    def fluentbit_json(self) -> Sent:
        """Return log lines as Fluent Bit sends them, three in four with what its Kubernetes filter knows."""
        encode = msgspec.json.Encoder().encode
        bodies = [encode(self._record(number)) for number in range(LINES)]
        return Sent(bodies[LINES // 10 :], LINES - LINES // 10, bodies[: LINES // 10])

    def _record(self, number: int) -> dict[str, Any]:
        record: dict[str, Any] = {
            "@timestamp": (_START_MS + number) / 1_000,
            "stream": "stdout",
            "log": _line(number, self._rng),
        }
        pod = int(self._rng.integers(PODS))
        if number % 4:
            return record | {"kubernetes": _kubernetes(pod)}
        return record | {"host": f"vm-{pod % 20}", "service": _SERVICES[pod % len(_SERVICES)]}

    def otlp_metrics(self) -> Sent:
        """Return OTLP requests, each of one pod: gauges and sums of five attributes, one metric in ten a histogram."""
        requests = [self._otlp(number) for number in range(OTLP_REQUESTS)]
        bodies, points = zip(*requests, strict=True)
        return Sent(bodies[PODS:], sum(points[PODS:]), bodies[:PODS])

    def _otlp(self, number: int) -> tuple[bytes, int]:
        metrics = _package("opentelemetry.proto.collector.metrics.v1.metrics_service_pb2")
        request, pod = metrics.ExportMetricsServiceRequest(), number % PODS
        resource = request.resource_metrics.add()
        for key, value in _resource(pod).items():
            _attribute(resource.resource.attributes, key, value)
        scope = resource.scope_metrics.add()
        scope.scope.name = "io.opentelemetry.runtime"
        time_ns = (_START_MS + number // PODS * _SCRAPE_MS) * 1_000_000
        counts = [self._otlp_metric(scope.metrics.add(), one, time_ns) for one in range(20)]
        return request.SerializeToString(), sum(counts)

    def _otlp_metric(self, metric: Any, number: int, time_ns: int) -> int:
        metric.name = f"http.server.metric_{number}"
        kind = "histogram" if number % 10 == 9 else "sum" if number % 2 else "gauge"
        data = getattr(metric, kind)
        if kind != "gauge":
            data.aggregation_temporality = 2
        if kind == "sum":
            data.is_monotonic = True
        for route in _ROUTES:
            point = data.data_points.add(start_time_unix_nano=_START_MS * 1_000_000, time_unix_nano=time_ns)
            self._fill(point, kind)
            for key, value in _point_attributes(route).items():
                _attribute(point.attributes, key, value)
        return len(_ROUTES)

    def _fill(self, point: Any, kind: str) -> None:
        if kind == "histogram":
            counts = self._rng.integers(0, 50, 8).tolist()
            point.bucket_counts.extend(counts)
            point.explicit_bounds.extend([0.005, 0.01, 0.05, 0.1, 0.5, 1, 5])
            point.count, point.sum = sum(counts), float(self._rng.gamma(2, 10))
        elif kind == "sum":
            point.as_int = int(self._rng.integers(0, 1_000_000))
        else:
            point.as_double = float(self._rng.gamma(2, 100))


def _labels(series: int, generation: int) -> Labels:
    """Return the ten labels of a series; another generation is another pod of the same service."""
    pod = series // 20
    service = _SERVICES[pod % len(_SERVICES)]
    return {
        "__name__": _METRICS[series % 4],
        "code": str(200 + series // 4 % 5),
        "container": "app",
        "instance": f"10.1.{pod % 50}.{generation + 10}:8080",
        "job": "kubernetes-pods",
        "method": "GET" if series % 2 else "POST",
        "namespace": "shop" if pod % 3 else "backoffice",
        "node": f"ip-10-1-{pod % 20}-7.ec2.internal",
        "pod": _pod_name(service, pod, generation),
        "route": _ROUTES[series // 20 % len(_ROUTES)],
    }


def _pod_name(service: str, pod: int, generation: int = 0) -> str:
    return f"{service}-{0x7D9C5B8F + pod % 7:x}4-x{pod % 10}{generation % 10}zq"


def _kubernetes(pod: int) -> dict[str, Any]:
    service = _SERVICES[pod % len(_SERVICES)]
    return {
        "pod_name": _pod_name(service, pod),
        "namespace_name": "shop" if pod % 3 else "backoffice",
        "pod_id": f"5ad1a0be-6c2e-4f6c-9d1e-0000000{pod:05}",
        "labels": {"app": service, "pod-template-hash": "7d9c5b8f4d"},
        "host": f"ip-10-1-{pod % 20}-7.ec2.internal",
        "container_name": "app",
        "docker_id": f"{pod:064x}",
        "container_image": f"registry.example.com/shop/{service}:1.4.2",
    }


def _line(number: int, rng: np.random.Generator) -> str:
    n = int(rng.integers(1_000_000))
    if number % 200 == 7:
        return f"2025-08-22 10:00:{number % 60:02},{n % 1000:03} DEBUG connect to db with password=hunter{n} as app"
    clock, ms = f"10:00:{n % 60:02}", f"{n % 1000:03}"
    shapes = (
        f'10.2.{n % 256}.{n % 250} - - [22/Aug/2025:{clock} +0000] "GET /items/{n} HTTP/1.1" 200 {n} "-" "k6/0.5"',
        f"2025-08-22 {clock},{ms} INFO  [http-nio-8080-exec-{n % 20}] c.e.Orders : Order {n} took {n % 900} ms",
        f'{{"level":"warn","ts":"2025-08-22T{clock}.{ms}Z","msg":"retry","attempt":{n % 5},"trace":"{n:032x}"}}',
        f'level=error ts=2025-08-22T{clock}Z caller=client.go:{n % 400} msg="upstream timed out" after={n % 30}s',
        f"I0822 {clock}.{n:06}       1 controller.go:{n % 300}] Reconciled shop/store-{n % 100} in {n % 90}ms",
        f"user {n} added item {n % 5000} to cart, total {n / 100:.2f} EUR",
    )
    return shapes[number % len(shapes)]


def _resource(pod: int) -> Mapping[str, str]:
    service = _SERVICES[pod % len(_SERVICES)]
    return {
        "service.name": service,
        "service.namespace": "shop",
        "service.instance.id": f"5ad1a0be-6c2e-4f6c-9d1e-0000000{pod:05}",
        "k8s.namespace.name": "shop",
        "k8s.pod.name": _pod_name(service, pod),
        "k8s.node.name": f"ip-10-1-{pod % 20}-7.ec2.internal",
        "telemetry.sdk.language": "java",
    }


def _point_attributes(route: str) -> Mapping[str, str | int]:
    return {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": route,
        "network.protocol.version": "1.1",
        "url.scheme": "https",
    }


def _attribute(attributes: Any, key: str, value: str | int) -> None:
    one = attributes.add(key=key)
    if isinstance(value, int):
        one.value.int_value = value
    else:
        one.value.string_value = value


def _version_1(samples: Sequence[tuple[Labels, int, float]]) -> Any:
    request = write_request()()
    for labels, ts_ms, value in samples:
        series = request.timeseries.add()
        for name, text in sorted(labels.items()):
            series.labels.add(name=name, value=text)
        series.samples.add(value=value, timestamp=ts_ms)
    return request.SerializeToString()


def _version_2(samples: Sequence[tuple[Labels, int, float]]) -> Any:
    request, places = request_v2()(), {"": 0}
    for labels, ts_ms, value in samples:
        series = request.timeseries.add()
        for pair in sorted(labels.items()):
            series.labels_refs.extend(places.setdefault(text, len(places)) for text in pair)
        series.samples.add(value=value, timestamp=ts_ms)
        name = labels["__name__"]
        series.metadata.type = 1 if name.endswith(("_total", "_sum")) else 2
        series.metadata.help_ref = places.setdefault(f"What {name} counts.", len(places))
    request.symbols.extend(places)
    return request.SerializeToString()


def _package(name: str) -> Any:
    """Return a module; raise SourceError, which says how to get it, when it is not installed."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise SourceError(f"bench ingest: {name} is missing; install the extra `dev`") from error
