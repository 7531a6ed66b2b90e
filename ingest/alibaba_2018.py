"""Alibaba's cluster trace of 2018 (alibaba/clusterdata, cluster-trace-v2018): eight days of 4,000 machines.

Layout: `machine_meta`, `machine_usage`, `container_meta`, `container_usage`, `batch_task`, `batch_instance` as `.csv`,
`.csv.gz` or `.tar.gz` each, or all in one archive (slower: it is unpacked once a table). No header.

machine_usage     metrics of the node: CPU, memory, memory bandwidth, cache misses, network, disk
container_usage   the same, and CPI, of the service: the container's application group where container_meta tells it
batch_instance    metrics of the service `batch/type-<task_type>`: CPU and memory of finished instances, how long they
                  took; events of it: failed, interrupted
batch_task        events of the same service: terminated, failed, interrupted, cancelled
machine_meta, container_meta
                  events: each change of status after the beginning

- A batch job lives for minutes and its name never comes again, so a service is all batch work of one type; job, task
  and instance stay in `instance`, `uid` and the message.
- Times are seconds since a beginning that was not published; it is taken for the first of January 2018. Usage is timed
  as it is stamped, what is known of a batch instance by its end.
- -1, 101 and whatever else lies outside [0, 100] of a percentage is how the publisher says "invalid": NaN.
- The step is one minute, though machines speak every ten seconds: containers and batch work are too sparse for less,
  and six samples a window make a steadier mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Final

import polars as pl

from ingest.trace_names import logical_names, with_service
from ingest.trace_rows import ROUTINE, camel, entity, events, short, timed, told
from ingest.trace_schema import Column, Table
from ingest.trace_sieve import Sieve
from ingest.trace_source import Part, TraceSource

SCOPE: Final = "alibaba-2018"
EPOCH_MS: Final = 1_514_764_800_000  # 2018-01-01T00:00Z
BEGINNING: Final = "state at the beginning of the trace"
UNFINISHED: Final = "not finished within the trace"
_SECONDS: Final = 0.001  # a millisecond
_ENDS: Final = ("terminated", "failed", "interrupted", "cancelled")
_FAILURES: Final = ("failed", "interrupted")

_PERCENTS: Final = ("cpu_util_percent", "mem_util_percent", "mem_gps", "net_in", "net_out", "disk_io_percent")
MACHINE_INDICATORS: Final = ("cpu_util_percent", "mem_util_percent", "mem_gps", "mkpi", *_PERCENTS[3:])
CONTAINER_INDICATORS: Final = ("cpu_util_percent", "mem_util_percent", "cpi", "mem_gps", "mpki", *_PERCENTS[3:])
BATCH_INDICATORS: Final = ("cpu_avg", "cpu_max", "mem_avg", "mem_max", "duration_s")

_MACHINE: Final = Column("machine_id", needed=True)
_CONTAINER: Final = Column("container_id", needed=True)
_STAMP: Final = Column("time_stamp", "number", needed=True)
_STATUS: Final = Column("status", needed=True)
_BATCH: Final = (
    *(Column(name, needed=True) for name in ("job_name", "task_name", "task_type", "status")),
    *(Column("start_time", "number"), Column("end_time", "number")),
)


class Alibaba2018(TraceSource):
    """The trace, or some of its tables. Partitions are the tables that are there."""

    scope = SCOPE
    step_ms = 60_000
    tables: ClassVar[Mapping[str, Table]] = {
        "machine_meta": Table(
            ("machine_meta",),
            (_MACHINE, _STAMP, _STATUS),
            order=(
                *("machine_id", "time_stamp", "failure_domain_1", "failure_domain_2", "cpu_num", "mem_size"),
                "status",
            ),
        ),
        "machine_usage": Table(
            ("machine_usage",),
            (_MACHINE, _STAMP, *(Column(name, "number") for name in MACHINE_INDICATORS)),
            order=("machine_id", "time_stamp", *MACHINE_INDICATORS),
        ),
        "container_meta": Table(
            ("container_meta",),
            (_CONTAINER, Column("machine_id"), _STAMP, Column("app_du"), _STATUS),
            order=(
                *("container_id", "machine_id", "time_stamp", "app_du", "status", "cpu_request", "cpu_limit"),
                "mem_size",
            ),
        ),
        "container_usage": Table(
            ("container_usage",),
            (_CONTAINER, _STAMP, *(Column(name, "number") for name in CONTAINER_INDICATORS)),
            order=("container_id", "machine_id", "time_stamp", *CONTAINER_INDICATORS),
        ),
        "batch_task": Table(
            ("batch_task",),
            _BATCH,
            order=(
                *("task_name", "instance_num", "job_name", "task_type", "status", "start_time", "end_time"),
                *("plan_cpu", "plan_mem"),
            ),
        ),
        "batch_instance": Table(
            ("batch_instance",),
            (
                *(*_BATCH, Column("instance_name", needed=True), Column("machine_id"), Column("seq_no")),
                *(Column(name, "number") for name in BATCH_INDICATORS[:4]),
            ),
            order=(
                *("instance_name", "task_name", "job_name", "task_type", "status", "start_time", "end_time"),
                *("machine_id", "seq_no", "total_seq_no", *BATCH_INDICATORS[:4]),
            ),
        ),
    }

    def parts(self) -> Mapping[str, Part]:
        """Return one partition a table; batch instances are metrics and, where they failed, events."""
        return {
            "machine_usage": Part("metrics", "machine_usage", _machine_usage, MACHINE_INDICATORS),
            "container_usage": Part("metrics", "container_usage", self._container_usage, CONTAINER_INDICATORS),
            "batch_instance": Part("metrics", "batch_instance", _batch_usage, BATCH_INDICATORS),
            "batch_instance_events": Part("events", "batch_instance", _batch_instances, accounts=False),
            "batch_task": Part("events", "batch_task", _batch_tasks),
            "machine_meta": Part("events", "machine_meta", _machine_states),
            "container_meta": Part("events", "container_meta", self._container_states),
        }

    @cached_property
    def _groups(self) -> pl.DataFrame:
        return logical_names(self, "container_meta", "container_id", "app_du")

    def _container_usage(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        return self._in_group(_stamped(frame, sieve)).select(
            "ts_ms", "entity", pl.col("container_id").alias("instance"), *_valid(CONTAINER_INDICATORS)
        )

    def _container_states(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = self._in_group(_changes(frame, sieve))
        message = told(container=pl.col("container_id"), machine=pl.col("machine_id"))
        return _states(frame, "Container", message, pl.col("container_id"))

    def _in_group(self, frame: pl.DataFrame) -> pl.DataFrame:
        return with_service(frame, self._groups, SCOPE, "container_id")


def _stamped(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    return timed(frame, sieve, "time_stamp", _SECONDS, EPOCH_MS)


def _valid(indicators: tuple[str, ...]) -> list[pl.Expr]:
    """Return the indicators with NaN for what the publisher marks as invalid."""
    nan = float("nan")
    return [
        pl.when((pl.col(one) < 0) | ((pl.col(one) > 100) & pl.lit(one in _PERCENTS)))
        .then(nan)
        .otherwise(one)
        .alias(one)
        for one in indicators
    ]


def _machine_usage(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    node = entity(SCOPE, "node", pl.col("machine_id")).alias("entity")
    return _stamped(frame, sieve).select("ts_ms", node, pl.lit("").alias("instance"), *_valid(MACHINE_INDICATORS))


def _changes(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    return _stamped(sieve.drop(frame, pl.col("time_stamp") == 0, BEGINNING), sieve)


def _machine_states(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    frame = _changes(frame, sieve).with_columns(entity=entity(SCOPE, "node", pl.col("machine_id")))
    return _states(frame, "Machine", told(status=short(pl.col("status"))), pl.col("machine_id"))


def _states(frame: pl.DataFrame, prefix: str, message: pl.Expr, uid: pl.Expr) -> pl.DataFrame:
    word = short(pl.col("status")).str.to_lowercase()
    bad = word.str.contains("fail|error|offline|unknown|stop|remove")
    return events(frame, pl.col("entity"), camel(prefix, word), bad, message, uid)


def _batch(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    """Return finished work, timed by its end, with its service."""
    frame = sieve.drop(frame, pl.col("end_time").is_null() | (pl.col("end_time") <= 0), UNFINISHED)
    frame = timed(frame, sieve, "end_time", _SECONDS, EPOCH_MS)
    kind = pl.concat_str(pl.lit("type-"), pl.col("task_type"))
    return frame.with_columns(
        entity=entity(SCOPE, "service", kind, "batch"), status=pl.col("status").str.to_lowercase()
    )


def _batch_usage(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    begun = pl.col("start_time")
    return _batch(frame, sieve).select(
        "ts_ms",
        "entity",
        pl.concat_str("job_name", "task_name", "instance_name", separator="/").alias("instance"),
        *_valid(("cpu_avg", "cpu_max", "mem_avg", "mem_max")),
        pl.when((begun > 0) & (pl.col("end_time") >= begun)).then(pl.col("end_time") - begun).alias("duration_s"),
    )


def _batch_instances(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    frame = sieve.drop(_batch(frame, sieve), ~pl.col("status").is_in(list(_FAILURES)), ROUTINE)
    message = told(job=pl.col("job_name"), task=pl.col("task_name"), machine=pl.col("machine_id"))
    return _batch_events(frame, "Instance", message, pl.col("instance_name"), pl.col("seq_no"))


def _batch_tasks(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    frame = sieve.drop(_batch(frame, sieve), ~pl.col("status").is_in(list(_ENDS)), ROUTINE)
    message = told(job=pl.col("job_name"), task=pl.col("task_name"))
    return _batch_events(frame, "Task", message, pl.col("job_name"), pl.col("task_name"))


def _batch_events(frame: pl.DataFrame, prefix: str, message: pl.Expr, *uid: pl.Expr) -> pl.DataFrame:
    status = pl.col("status")
    made = pl.concat_str(*uid, separator="/", ignore_nulls=True)
    return events(frame, pl.col("entity"), camel(prefix, status), status.is_in(list(_FAILURES)), message, made)
