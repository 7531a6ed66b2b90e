"""Telemetry of an invented cluster of any size, as shippers write it to Kafka: made from a seed, the same every time.

A pod has 50 series of 24 metrics, counters and gauges; a service has three pods; every target is scraped at its own
second of the scrape interval, as Prometheus does it. Made in columns, so that millions of messages take seconds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.types import Floats, Ints

START_MS: Final = 1_755_856_800_000  # 2025-08-22T10:00:00Z: a whole minute and hour
SEED: Final = 20_260_801
POD_SERIES: Final = 50
PODS_A_SERVICE: Final = 3

_NAMES: Final = ("payments", "checkout", "store", "cart", "search", "accounts", "shipping", "mailer", "ledger", "stock")
_HANDLERS: Final = ("/orders", "/orders/{id}", "/cart", "/login")


@dataclass(frozen=True, slots=True)
class Shape:
    """One series of a pod: its metric and own labels, whether it counts, and its usual level (or rate a second)."""

    name: str
    labels: tuple[tuple[str, str], ...] = ()
    level: float = 100.0
    counter: bool = False


def _counters(name: str, level: float, /, **labels: tuple[str, ...]) -> list[Shape]:
    combined: list[tuple[tuple[str, str], ...]] = [()]
    for key, values in labels.items():
        combined = [(*one, (key, value)) for one in combined for value in values]
    return [Shape(name, one, level / (1 + number), counter=True) for number, one in enumerate(combined)]


SHAPES: Final[tuple[Shape, ...]] = (
    *_counters("http_requests_total", 40, code=("200", "404", "500"), handler=_HANDLERS),
    *_counters("http_request_duration_seconds_sum", 4, handler=_HANDLERS),
    *_counters("http_request_duration_seconds_count", 40, handler=_HANDLERS),
    *_counters("grpc_client_handled_total", 20, grpc_code=("OK", "Unavailable"), grpc_method=("Get", "List")),
    *_counters("log_messages_total", 3, level=("info", "warn", "error")),
    *_counters("process_cpu_seconds_total", 0.2),
    *_counters("container_cpu_usage_seconds_total", 0.25),
    *_counters("container_network_receive_bytes_total", 90_000, interface=("eth0",)),
    *_counters("container_network_transmit_bytes_total", 120_000, interface=("eth0",)),
    *_counters("cache_hits_total", 30),
    *_counters("cache_misses_total", 3),
    *_counters("jvm_gc_collection_seconds_sum", 0.01),
    Shape("http_requests_in_flight", level=8),
    Shape("process_resident_memory_bytes", level=420e6),
    Shape("process_open_fds", level=120),
    Shape("go_goroutines", level=85),
    Shape("go_memstats_heap_alloc_bytes", level=90e6),
    Shape("container_memory_working_set_bytes", level=450e6),
    Shape("db_pool_connections", (("state", "active"),), 12),
    Shape("db_pool_connections", (("state", "idle"),), 20),
    Shape("queue_depth", (("queue", "orders"),), 40),
    Shape("queue_depth", (("queue", "mails"),), 15),
    Shape("container_threads", level=60),
    Shape("jvm_memory_used_bytes", (("area", "heap"),), 210e6),
    Shape("jvm_memory_used_bytes", (("area", "nonheap"),), 80e6),
    Shape("request_latency_seconds", (("quantile", "0.5"),), 0.021),
    Shape("request_latency_seconds", (("quantile", "0.99"),), 0.180),
)
_PADDED: Final = SHAPES + tuple(Shape(f"app_pool_{n}_used", level=30 + n) for n in range(POD_SERIES - len(SHAPES)))


@dataclass(frozen=True, slots=True)
class Slice:
    """Messages of one partition, in their order, that one second of a scrape gave."""

    partition: int
    second: int  # since the beginning of the load
    bodies: list[str]


class Fleet:
    """`series` series over `partitions` partitions, scraped every `scrape_s` from `start_ms` on.

    A series stays in one partition, as with any keyed producer. Ask for the scrapes in their order, from 0 on: counters
    go on from the scrape before.
    """

    def __init__(
        self, series: int, partitions: int = 4, scrape_s: int = 15, start_ms: int = START_MS, seed: int = SEED
    ) -> None:
        self.series, self.partitions, self.scrape_s, self.start_ms = series, partitions, scrape_s, start_ms
        numbers = np.arange(series)
        pods = numbers // POD_SERIES
        offsets_s = pods * 7 % scrape_s
        places = _spread(numbers) % partitions
        order = np.lexsort((numbers, places, offsets_s))
        self.numbers: Ints = numbers[order]
        """(N,) of each row of a scrape, which series it is."""
        self.pods: Ints = pods[order]
        self.offsets_s: Ints = offsets_s[order]
        self._places: Ints = places[order]
        self._seed = seed
        shapes = self.numbers % POD_SERIES
        self._counts = np.array([one.counter for one in _PADDED])[shapes]
        self._whole = np.array([one.level >= 1 for one in _PADDED])[shapes]
        liveliness = 0.5 + _spread(self.pods + 17) % 1000 / 500
        self._level: Floats = np.array([one.level for one in _PADDED])[shapes] * liveliness
        self._total: Floats = np.floor(self._level * 3_600)
        self._next = 0

    def labels(self, number: int) -> dict[str, str]:
        """Return the labels of a series, `__name__` first."""
        pod = number // POD_SERIES
        shape = _PADDED[number % POD_SERIES]
        name = service(pod)
        return {
            "__name__": shape.name,
            "container": "app",
            "instance": f"10.{pod // 62_500 % 250}.{pod // 250 % 250}.{pod % 250}:8080",
            "job": "kubernetes-pods",
            "namespace": namespace(pod),
            "pod": f"{name}-{0x5D9C5B8F + pod // PODS_A_SERVICE:x}-{_suffix(pod)}",
            **dict(shape.labels),
        }

    def values(self, scrape: int, factor: Floats | None = None) -> Floats:
        """Return (N,) what is scraped; `factor` (N,) multiplies gauges and the rates of counters: a fault."""
        if scrape != self._next:
            raise ValueError(f"scrape {scrape} was asked for, {self._next} is next")
        self._next += 1
        noise = np.random.default_rng((self._seed, scrape)).standard_normal(self.series, np.float32)
        now = self._level * np.maximum(1.0 + 0.06 * noise, 0.0)
        if factor is not None:
            now = now * factor
        self._total += np.where(self._counts, now * self.scrape_s, 0.0)
        shown = np.where(self._counts, self._total, now)
        return np.where(self._whole, np.round(shown), np.round(shown, 4))

    def adapter_json(self, scrape: int, factor: Floats | None = None) -> Iterator[Slice]:
        """Yield one scrape as prometheus-kafka-adapter writes it: sorted keys, the value as text, whole seconds."""
        bodies = self._bodies(scrape, self.values(scrape, factor))
        for begin, end in pairwise(self._cuts):
            second = scrape * self.scrape_s + int(self.offsets_s[begin])
            yield Slice(int(self._places[begin]), second, bodies[begin:end].to_list())

    def time_ms(self, scrape: int) -> Ints:
        """Return (N,) when each row of a scrape was scraped."""
        return self.start_ms + (scrape * self.scrape_s + self.offsets_s) * 1_000

    def _bodies(self, scrape: int, values: Floats) -> pl.Series:
        stamps = pl.from_epoch(pl.Series(self.time_ms(scrape)), time_unit="ms").dt.strftime(
            '%Y-%m-%dT%H:%M:%SZ","value":"'
        )
        return pl.select(
            pl.concat_str(
                pl.lit(self._prefixes),
                pl.lit(stamps),
                pl.lit(pl.Series(values)).cast(pl.String).str.strip_suffix(".0"),
                pl.lit('"}'),
            )
        ).to_series()

    @cached_property
    def _prefixes(self) -> pl.Series:
        encode = msgspec.json.Encoder(order="sorted").encode
        made = (self.labels(number) for number in self.numbers.tolist())
        return pl.Series(
            [f'{{"labels":{encode(one).decode()},"name":"{one["__name__"]}","timestamp":"' for one in made]
        )

    @cached_property
    def _cuts(self) -> list[int]:
        """Return where another second or another partition begins, and the end."""
        changes = (np.diff(self.offsets_s) != 0) | (np.diff(self._places) != 0)
        return [0, *(np.flatnonzero(changes) + 1).tolist(), self.series]


def service(pod: int) -> str:
    """Return the name of a pod's service."""
    number = pod // PODS_A_SERVICE
    return f"{_NAMES[number % len(_NAMES)]}-{number}"


def namespace(pod: int) -> str:
    """Return the namespace of a pod."""
    return "shop" if pod // PODS_A_SERVICE % 3 else "backoffice"


def _suffix(pod: int) -> str:
    """Return the five letters at the end of a pod's name, in Kubernetes' own alphabet."""
    letters = "bcdfghjklmnpqrstvwxz2456789"
    mixed = pod * 2_654_435_761 % 2**32
    return "".join(letters[mixed // len(letters) ** place % len(letters)] for place in range(5))


def _spread(numbers: Ints) -> NDArray[np.int64]:
    """Return the numbers scattered (Knuth's multiplicative hash): the same on every machine."""
    return np.asarray((numbers * 2_654_435_761 % 2**32) >> 7, np.int64)
