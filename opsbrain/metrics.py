"""`GET /metrics`: what a process reports of itself, as Prometheus reads it. The table for operators: `docs/metrics.md`.

The registry is made here, for one process and its meters, and asked in whole for each scrape: there is no global one,
and nothing is counted twice. Labels take few values: inputs, topics, partitions and names of ours, never what came in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from engine.runners import meters as names
from engine.runners.meters import Component, Meters
from opsbrain import __version__

PATH: Final = "/metrics"
RECEIVED: Final = "opsbrain_received"
SENT: Final = "opsbrain_sent"
DROPPED: Final = "opsbrain_dropped"
ERRORS: Final = "opsbrain_errors"
STAGE_SECONDS: Final = "opsbrain_stage_seconds"
BUILD_INFO: Final = "opsbrain_build_info"

COUNTERS: Final[Mapping[str, tuple[str, str]]] = {
    RECEIVED: ("of", "What a component took: rows by input, messages by stream, requests by format."),
    SENT: ("of", "What a component passed on: by stream, receiver or format."),
    DROPPED: ("reason", "What a component took and did not pass on, by reason."),
    ERRORS: ("kind", "What went wrong in a component."),
}
"""By name (without `_total`): the label beside `component`, and what it says. Every component reports all four."""

GAUGES: Final[Mapping[str, tuple[tuple[str, ...], str]]] = {
    names.LAG: (("role", "topic", "partition"), "Messages in the broker that this worker has not taken yet."),
    names.ASSIGNED: (("role",), "Partitions that the group has given to this worker."),
    names.BROKER_CONNECTED: ((), "1 while a broker answers, else 0."),
    names.PAUSED: ((), "1 while telemetry is left in the broker, because memory is short or detection behind; else 0."),
    names.MEMORY_LIMIT: ((), "Memory that the process keeps below."),
    names.WATERMARK_DELAY: (("input",), "How far the end of the last closed window of an input is behind the clock."),
    names.CHECKPOINT_AGE: (("role",), "How long ago all that a role had taken was committed."),
    names.STATE_SERIES: ((), "Series that detection knows."),
    names.OUTBOX_PENDING: ((), "Notifications that no receiver has taken yet."),
    BUILD_INFO: (("version",), "Always 1; the label says which version runs."),
}
"""By name: the labels, and what it says. Each is there from the start; without samples where nothing is known."""


class MetersCollector(Collector):
    """Reads meters for one scrape."""

    def __init__(self, meters: Meters) -> None:
        self._meters = meters

    def collect(self) -> Iterator[Metric]:
        """Yield every family, those without a sample too: what they are called does not change while we run."""
        yield from self._components()
        stages = CounterMetricFamily(STAGE_SECONDS, "Processor time that a stage took.", labels=("stage",))
        for stage, spent_s in sorted(dict(self._meters.stage_s).items()):
            stages.add_metric((stage,), spent_s)
        yield stages
        known = {name: read for name, (_, read) in dict(self._meters.gauges).items()}
        known |= {names.CHECKPOINT_AGE: self._ages_s, BUILD_INFO: lambda: {(__version__,): 1}}
        for name, (labels, doc) in GAUGES.items():
            yield _gauge(name, labels, doc, known[name]() if name in known else {})

    def _components(self) -> Iterator[Metric]:
        components = all_components(self._meters)
        for name, (label, doc) in COUNTERS.items():
            family = CounterMetricFamily(name, doc, labels=("component", label))
            for component, one in sorted(components.items()):
                for value, count in sorted(_counter(one, name).items()) or (("", 0),):
                    family.add_metric((component, value), count)
            yield family

    def _ages_s(self) -> dict[tuple[str, ...], float]:
        now_s = self._meters.seconds()
        return {(role,): max(now_s - at_s, 0) for role, at_s in dict(self._meters.checkpoints).items()}


class Exposition:
    """Writes one process's metrics as text."""

    def __init__(self, meters: Meters) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(MetersCollector(meters))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return what is so now."""
        return generate_latest(self._registry)

    def route(self) -> Route:
        """Return the route that answers scrapes."""
        return Route(PATH, self._answer)

    def _answer(self, request: Request) -> Response:
        return Response(self.text(), headers={"content-type": CONTENT_TYPE_LATEST, "cache-control": "no-store"})


def all_components(meters: Meters) -> dict[str, Component]:
    """Return every component as it is now, those read from elsewhere too."""
    return dict(meters.components) | {name: read() for name, read in dict(meters.readings).items()}


def _counter(one: Component, name: str) -> dict[str, int]:
    by_name = {RECEIVED: one.received, SENT: one.sent, DROPPED: one.dropped, ERRORS: one.errors}
    return dict(by_name[name])  # a copy in one go: its thread goes on counting


def _gauge(name: str, labels: Sequence[str], doc: str, values: Mapping[tuple[str, ...], float]) -> Metric:
    family = GaugeMetricFamily(name, doc, labels=labels)
    for of, value in sorted(values.items()):
        family.add_metric(of, value)
    return family
