"""Alibaba's microservices traces of 2021 (twelve hours) and 2022 (thirteen days), from alibaba/clusterdata.

Layout: `MSCallGraph`, `MSResource`, `MSRTQps` (2021) or `MSRTMCR` (2022), `Node`: CSV files with a header, gzipped or
in tar archives, named after their table or in a folder that is (`MSCallGraph/MSCallGraph_0.tar.gz`).

| table | becomes |
|---|---|
| MSCallGraph | spans of the called service, cache or database |
| MSResource | metrics of the service, by container: CPU and memory utilization |
| MSRTQps, MSRTMCR | metrics of the service, by container: rate and response time of each way of calling |
| Node | metrics of the node: CPU and memory utilization |

- A call is a span of who is called. Its id is the call's `rpc_id` (0.1.2), its parent the nearest call above that was
  recorded (0.1, else 0). Calls between services are recorded twice, by caller and callee (whose response time is
  negative): they are one span, with the callee's own time where it is there and the caller's where it is not, and with
  the callee's name from whichever record has it. A call whose callee nobody named is dropped and counted.
- The traces say nothing of failed calls: no span is an error.
- A response time of 0 beside a rate of 0 means that nobody called: it is left out, not 0.
- Times are milliseconds since a beginning that was not published; it is taken for the first of January of the year. A
  call's is its beginning, its span's the end.
- The step is one minute: that of the metrics. Sampling of the call graphs (0.5 % in 2021) is not undone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Final

import polars as pl

from ingest.event_time_order import EventTimeOrder
from ingest.trace_rows import entity, short, timed
from ingest.trace_schema import Column, Table
from ingest.trace_sieve import Sieve
from ingest.trace_source import REPEAT, Part, TraceSource

NAMELESS: Final = "call of nobody known"
_NO_NAMES: Final = ("nan", "none", "null", "(?)", "?", "unknown", "unavailable")
_STORES: Final = ("db", "mc")
_DEEPEST: Final = 100  # calls below each other; real ones stay under 20
_MEETING_PLACES: Final = 65_536  # groups of traces, of which each is looked at whole
_UTILIZATION: Final = ("cpu_utilization", "memory_utilization")
_WAYS: Final = (
    *("providerrpc", "consumerrpc", "writemc", "readmc", "writedb", "readdb", "consumermq", "providermq"),
    "http",
)
RATES: Final = tuple(f"{way}_{what}" for way in _WAYS for what in ("rt", "mcr"))

_STAMP: Final = Column("timestamp", "number", needed=True)
_WHO: Final = (Column("msname", needed=True), Column("msinstanceid"))


def _used(kind: str) -> tuple[Column, ...]:
    return tuple(
        Column(name, "number", also=(f"{kind}_{name.partition('_')[0]}_usage",)) for name in _UTILIZATION
    )  # the published files of 2021 call it node_cpu_usage


class Microservices(TraceSource):
    """What both traces have in common. Partitions are the tables that are there."""

    step_ms = 60_000
    epoch_ms: ClassVar[int]
    tables: ClassVar[Mapping[str, Table]] = {
        "MSCallGraph": Table(
            ("MSCallGraph", "CallGraph"),
            (
                *(_STAMP, Column("traceid", needed=True), Column("rpc_id", needed=True, also=("rpcid",))),
                *(Column("dm"), Column("rpctype"), Column("interface"), Column("rt", "number", needed=True)),
            ),
        ),
        "MSResource": Table(("MSResource",), (_STAMP, *_WHO, *_used("instance"))),
        "Node": Table(("Node",), (_STAMP, Column("nodeid", needed=True), *_used("node"))),
    }

    def parts(self) -> Mapping[str, Part]:
        """Return one partition a table."""
        return {
            "MSCallGraph": Part("spans", "MSCallGraph", self._calls),
            "MSResource": Part("metrics", "MSResource", self._resources, _UTILIZATION),
            "Node": Part("metrics", "Node", self._nodes, _UTILIZATION),
        }

    def load(self, part: Part, sieve: Sieve, order: EventTimeOrder) -> None:
        """Read a table; calls meet by their trace first, and become spans together."""
        if part.kind != "spans":
            super().load(part, sieve, order)
            return
        calls = EventTimeOrder(key="meet", step=1, split_by=None)
        try:
            super().load(part, sieve, calls)
            for piece in calls.pieces():
                order.add(spans(piece, self.scope, sieve))
            sieve.dropped[REPEAT] += sum(calls.repeats.values())
        finally:
            calls.close()

    def _timed(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        return timed(frame, sieve, "timestamp", 1, self.epoch_ms)

    def _calls(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        """Return calls by what spans are made of; `meet` brings those of one trace together."""
        frame = sieve.refuse(frame, pl.col("rt").is_nan(), "rt is not a number")
        deep = pl.col("rpc_id").str.count_matches(".", literal=True) > _DEEPEST
        frame = self._timed(sieve.refuse(frame, deep, "rpc_id is too deep"), sieve)
        return frame.select(
            "ts_ms",
            "traceid",
            "rpc_id",
            "rt",
            pl.col("rpctype").str.to_lowercase(),
            *(_name(one).alias(one) for one in ("dm", "interface")),
            meet=(pl.col("traceid").hash(seed=0) % _MEETING_PLACES).cast(pl.Int64),
        )

    def _resources(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        return self._of_services(frame, sieve).select("ts_ms", "entity", "instance", *_UTILIZATION)

    def _nodes(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        node = entity(self.scope, "node", pl.col("nodeid")).alias("entity")
        return self._timed(frame, sieve).select("ts_ms", node, pl.lit("").alias("instance"), *_UTILIZATION)

    def _of_services(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        return self._timed(frame, sieve).with_columns(
            entity=entity(self.scope, "service", pl.col("msname")),
            instance=short(pl.col("msinstanceid").fill_null("")),
        )


class Microservices2021(Microservices):
    """The trace of 2021: rates and response times come one a row."""

    scope = "alibaba-microservices-2021"
    epoch_ms = 1_609_459_200_000  # 2021-01-01T00:00Z
    tables: ClassVar[Mapping[str, Table]] = {
        **Microservices.tables,
        "MSRTQps": Table(
            ("MSRTQps", "MSMetrics"),
            (_STAMP, *_WHO, Column("metric", needed=True, also=("metrics",)), Column("value", "number", needed=True)),
        ),
    }

    def parts(self) -> Mapping[str, Part]:
        """Return one partition a table."""
        return {**super().parts(), "MSRTQps": Part("metrics", "MSRTQps", self._rates)}

    def _rates(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        return self._of_services(frame, sieve).select(
            "ts_ms",
            "entity",
            short(pl.col("metric")).alias("indicator"),
            "instance",
            pl.lit("gauge").alias("form"),
            "value",
        )


class Microservices2022(Microservices):
    """The trace of 2022: rates and response times are columns."""

    scope = "alibaba-microservices-2022"
    epoch_ms = 1_640_995_200_000  # 2022-01-01T00:00Z
    tables: ClassVar[Mapping[str, Table]] = {
        **Microservices.tables,
        "MSRTMCR": Table(
            ("MSRTMCR", "MSMetrics", "MSRTQps"), (_STAMP, *_WHO, *(Column(name, "number") for name in RATES))
        ),
    }

    def parts(self) -> Mapping[str, Part]:
        """Return one partition a table."""
        return {**super().parts(), "MSRTMCR": Part("metrics", "MSRTMCR", self._rates, RATES)}

    def _rates(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        called = [pl.when(~_idle(way)).then(f"{way}_rt").alias(f"{way}_rt") for way in _WAYS]
        return self._of_services(frame, sieve).with_columns(called).select("ts_ms", "entity", "instance", *RATES)


def _idle(way: str) -> pl.Expr:
    return ((pl.col(f"{way}_rt") == 0) & (pl.col(f"{way}_mcr") == 0)).fill_null(False)


def _name(column: str) -> pl.Expr:
    """Return a name, null where the publisher had none."""
    name = pl.col(column)
    return pl.when(~name.str.to_lowercase().is_in(list(_NO_NAMES))).then(short(name))


def spans(calls: pl.DataFrame, scope: str, sieve: Sieve) -> pl.DataFrame:
    """Return a span a call of whole traces; both records of a call are one."""
    of_one = ["traceid", "rpc_id"]
    dm = pl.col("dm")
    calls = calls.with_columns(dm=pl.coalesce(dm, dm.drop_nulls().min().over(of_one)))
    calls = sieve.drop(calls, pl.col("dm").is_null(), NAMELESS)
    callees = pl.col("rt") < 0
    merged = calls.group_by(*of_one, "dm").agg(
        begun=pl.coalesce(pl.col("ts_ms").filter(callees).min(), pl.col("ts_ms").min()),
        took=pl.coalesce(-pl.col("rt").filter(callees).min(), pl.col("rt").max()),
        way=pl.col("rpctype").drop_nulls().min(),
        interface=pl.col("interface").drop_nulls().min(),
    )
    merged = merged.sort(*of_one, "dm").join(_parents(merged.select(of_one).unique()), on=of_one, how="left")
    number = pl.int_range(pl.len()).over(of_one)
    kind = pl.when(pl.col("way").is_in(list(_STORES))).then(pl.lit("database")).otherwise(pl.lit("service"))
    return merged.select(
        ts_ms=pl.col("begun") + pl.col("took").round().cast(pl.Int64),
        entity=pl.concat_str(pl.lit(scope), kind, pl.lit("-"), "dm", separator="/"),
        trace_id="traceid",
        # one id several callees: seen in the published data, and each of them was called
        span_id=pl.when(number == 0).then("rpc_id").otherwise(pl.concat_str("rpc_id", number, separator="~")),
        parent_span_id="parent",
        operation=pl.coalesce("interface", "way", pl.lit("call")),
        duration_ms="took",
        error=pl.lit(False),
    )


def _parents(calls: pl.DataFrame) -> pl.DataFrame:
    """Return traceid, rpc_id and `parent`, the nearest call above that is there; only those that have one."""
    found: list[pl.DataFrame] = [calls.clear().with_columns(parent=pl.col("rpc_id"))]
    waiting = calls.with_columns(parent=pl.col("rpc_id"))
    there = calls.rename({"rpc_id": "parent"})
    while not waiting.is_empty():
        above = waiting.with_columns(pl.col("parent").str.extract(r"^(.*)\.[^.]*$")).filter(
            pl.col("parent").is_not_null()
        )
        found.append(above.join(there, on=["traceid", "parent"], how="semi"))
        waiting = above.join(there, on=["traceid", "parent"], how="anti")
    return pl.concat(found)
