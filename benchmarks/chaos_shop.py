"""The input of `bench chaos`: a small shop in event time, from a seed, with faults of its own that make incidents.

What a window holds is a function of the seed, the scope and the window's number alone, so that input can be made at any
speed. A shop has eight services that call each other; every few minutes of event time one of them runs out of memory,
is deployed badly or is flooded, and recovers: incidents open, are revised, get fixes and resolve.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, Final

import msgspec

from engine.schemas import Kind

WINDOW_MS: Final = 10_000
BEGIN_MS: Final = 1_755_856_800_000  # in the past: brokers refuse messages whose time lies far ahead of their clocks
SERVICES: Final = ("basket", "catalog", "checkout", "gateway", "inventory", "mail", "payments", "store")
CALLS: Final = {
    "gateway": ("checkout", "catalog", "basket"),
    "checkout": ("payments", "inventory", "mail"),
    "catalog": ("store",),
    "basket": ("store",),
    "inventory": ("store",),
}
FORMAT_OF: Final[dict[Kind, str]] = {
    "logs": "fluentbit",
    "metrics": "prometheus-adapter",
    "spans": "spans",
    "events": "kubernetes-event-exporter",
    "objects": "kubernetes-objects",
}
TROUBLES: Final = ("memory", "deploy", "load")
CALM_WINDOWS: Final = 45  # before the first fault: detectors have to know what is usual
_GAP_WINDOWS: Final = (12, 22)  # longer than it takes an incident to resolve
_LASTS_WINDOWS: Final = (6, 14)
_TRACES: Final = 5
_LINES: Final = 4


@dataclass(frozen=True, slots=True)
class Said:
    """One message as a shipper sends it; `place` names the sender: what one sender says stays in one partition."""

    kind: Kind
    at_ms: int
    place: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with one service in the windows `[first, last)`."""

    kind: str
    service: str
    first: int
    last: int
    number: int


class Shop:
    """One scope's shop. Not thread-safe; cost of a window: some 100 messages."""

    def __init__(self, seed: int, scope: str) -> None:
        self._seed, self._scope = seed, scope
        self._coming = _troubles(Random(f"{seed}/{scope}/troubles"))
        self._troubles = [next(self._coming)]

    def window(self, number: int) -> list[Said]:
        """Return what is said in window `number` (from 0), in the order of its time."""
        trouble = self._trouble(number)
        random = Random(f"{self._seed}/{self._scope}/{number}")
        begin_ms = BEGIN_MS + number * WINDOW_MS
        said = [
            *self._metrics(random, begin_ms, trouble, number),
            *self._logs(random, begin_ms, trouble),
            *self._spans(random, begin_ms, trouble, number),
            *self._events(begin_ms, trouble, number),
            *self._objects(begin_ms, trouble, number),
        ]
        return sorted(said, key=lambda one: one.at_ms)

    def _trouble(self, number: int) -> Trouble | None:
        while self._troubles[-1].last <= number + 1:
            self._troubles.append(next(self._coming))
        return next((one for one in self._troubles if one.first <= number < one.last), None)

    def _metrics(self, random: Random, begin_ms: int, trouble: Trouble | None, number: int) -> Iterator[Said]:
        at_ms = begin_ms + 2_000
        stamp = _rfc3339(at_ms)
        for service in SERVICES:
            for name, value in _gauges(random, _felt(service, trouble, number)).items():
                labels = {"__name__": name, "namespace": "shop", "pod": _pod(service), "container": service}
                body = {"timestamp": stamp, "value": f"{value:.4f}", "name": name, "labels": labels}
                yield Said("metrics", at_ms, service, msgspec.json.encode(body))

    def _logs(self, random: Random, begin_ms: int, trouble: Trouble | None) -> Iterator[Said]:
        for service in SERVICES:
            troubled = trouble is not None and trouble.service == service
            for line in range(_LINES + 4 * troubled):
                at_ms = begin_ms + 500 + line * 1_100 + random.randrange(900)
                text = _line(random, trouble if troubled and line >= _LINES else None)
                sender = {"pod_name": _pod(service), "namespace_name": "shop", "container_name": service}
                body = {"@timestamp": at_ms / 1000, "stream": "stdout", "log": text, "kubernetes": sender}
                yield Said("logs", at_ms, service, msgspec.json.encode(body))

    def _spans(self, random: Random, begin_ms: int, trouble: Trouble | None, number: int) -> Iterator[Said]:
        for turn in range(_TRACES):
            end_ms = begin_ms + 1_000 + turn * 1_700 + random.randrange(200)
            trace = f"{random.getrandbits(64):016x}{number:08x}{turn:08x}"
            yield from _trace(random, trace, end_ms, trouble)

    def _events(self, begin_ms: int, trouble: Trouble | None, number: int) -> Iterator[Said]:
        at_ms = begin_ms + 1_000
        service = SERVICES[number % len(SERVICES)]
        yield self._event(at_ms, service, number, "Pulled", "Container image already present on machine", "Normal")
        if trouble is None:
            return
        if trouble.kind == "memory":
            text = f"Memory cgroup out of memory: killed process of {trouble.service}"
            yield self._event(at_ms + 3_000, trouble.service, number, "OOMKilled", text, "Warning")
            text = f"Back-off restarting failed container {trouble.service}"
            yield self._event(at_ms + 5_000, trouble.service, number, "BackOff", text, "Warning")
        elif trouble.kind == "load":
            text = "Readiness probe failed: HTTP probe failed with statuscode: 503"
            yield self._event(at_ms + 4_000, trouble.service, number, "Unhealthy", text, "Warning")

    def _event(self, at_ms: int, service: str, number: int, reason: str, message: str, kind: str) -> Said:
        at = _rfc3339(at_ms)
        name = f"{_pod(service)}.{number:x}{reason.lower()}"
        body = {
            "metadata": {"name": name, "namespace": "shop", "uid": f"{self._scope}-{name}", "creationTimestamp": at},
            "reason": reason,
            "message": message,
            "source": {"component": "kubelet", "host": "node-1"},
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
            "type": kind,
            "clusterName": self._scope,
            "involvedObject": {"apiVersion": "v1", "kind": "Pod", "namespace": "shop", "name": _pod(service)},
        }
        return Said("events", at_ms, service, msgspec.json.encode(body))

    def _objects(self, begin_ms: int, trouble: Trouble | None, number: int) -> Iterator[Said]:
        """Yield each Deployment in turn as it is, and one that changes when it does."""
        services = [SERVICES[number % len(SERVICES)]]
        if trouble is not None and trouble.kind == "deploy" and trouble.service not in services:
            services.append(trouble.service)
        for at_ms, service in enumerate(services, begin_ms + 100):
            bad = trouble is not None and trouble.kind == "deploy" and trouble.service == service
            version = f"2.0.{trouble.number}" if bad and trouble is not None else "1.9.4"
            body = {"observed_at": _rfc3339(at_ms), "object": _deployment(service, version)}
            yield Said("objects", at_ms, service, msgspec.json.encode(body))


def _troubles(random: Random) -> Iterator[Trouble]:
    first = CALM_WINDOWS + random.randrange(10)
    for number in count(1):
        last = first + random.randint(*_LASTS_WINDOWS)
        yield Trouble(random.choice(TROUBLES), random.choice(SERVICES), first, last, number)
        first = last + random.randint(*_GAP_WINDOWS)


def _felt(service: str, trouble: Trouble | None, number: int) -> str:
    """Return what a service feels of a trouble: its own at once, that of one it calls after a while, as slowness."""
    if trouble is None:
        return ""
    if trouble.service == service:
        return trouble.kind
    spread = number >= (trouble.first + trouble.last) // 2
    return "slow" if spread and trouble.service in CALLS.get(service, ()) else ""


def _gauges(random: Random, trouble: str) -> dict[str, float]:
    usual = random.gauss
    return {
        "container_memory_used_ratio": usual(0.95 if trouble == "memory" else 0.4, 0.01),
        "container_cpu_usage_ratio": usual(0.97 if trouble == "load" else 0.3, 0.02),
        "queue_depth": max(0.0, usual(400.0 if trouble == "load" else 12.0, 2.0)),
        "request_latency_seconds": usual(1.9 if trouble else 0.12, 0.01),
        "open_connections": usual(50.0, 3.0),
    }


def _line(random: Random, trouble: Trouble | None) -> str:
    number = random.randrange(100_000)
    if trouble is None:
        return random.choice((f"INFO request {number} served in {number % 90} ms", f"INFO order {number} read"))
    return {
        "memory": f"ERROR cannot allocate {number} bytes: out of memory",
        "deploy": f"ERROR unknown column 'total_cents' in statement {number}",
        "load": f"WARN queue is full, request {number} refused",
    }[trouble.kind]


def _trace(random: Random, trace: str, end_ms: int, trouble: Trouble | None) -> list[Said]:
    said: list[Said] = []
    numbers = count(1)

    def call(service: str, parent: str) -> tuple[float, bool]:
        """Say a call and those that it makes; return how long it took and whether it failed."""
        span = f"{trace[:8]}{next(numbers):08x}"
        inner = [call(one, span) for one in CALLS.get(service, ())]
        troubled = trouble is not None and trouble.service == service
        took_ms = random.uniform(4, 9) * (40 if troubled else 1) + sum(one[0] for one in inner)
        failed = (troubled and random.random() < 0.7) or any(one[1] for one in inner)
        said.append(Said("spans", end_ms, service, _span(trace, span, parent, service, end_ms, took_ms, failed)))
        return took_ms, failed

    call("gateway", "")
    return said


def _span(trace: str, span: str, parent: str, service: str, end_ms: int, took_ms: float, failed: bool) -> bytes:
    body: dict[str, Any] = {
        "trace_id": trace,
        "span_id": span,
        "parent_span_id": parent,
        "name": f"GET /{service}",
        "kind": "server",
        "start_time_unix_nano": end_ms * 1_000_000 - round(took_ms * 1e6),
        "end_time_unix_nano": end_ms * 1_000_000,
        "status": "error" if failed else "ok",
        "resource": {"service.name": service, "k8s.namespace.name": "shop", "k8s.pod.name": _pod(service)},
    }
    return msgspec.json.encode(body)


def _deployment(service: str, version: str) -> dict[str, Any]:
    container = {
        "name": service,
        "image": f"registry.example/shop/{service}:{version}",
        "resources": {"requests": {"memory": "64Mi"}, "limits": {"cpu": "1", "memory": "256Mi"}},
    }
    template = {"metadata": {"labels": {"app": service}}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": service, "namespace": "shop", "uid": f"uid-{service}", "labels": {"app": service}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": service}}, "template": template},
    }


def _pod(service: str) -> str:
    return f"{service}-5b67c48447-mv5hb"


def _rfc3339(at_ms: int) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(at_ms // 1000))}.{at_ms % 1000:03d}Z"
