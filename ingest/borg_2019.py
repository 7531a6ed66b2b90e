"""Google's Borg traces of May 2019 (google/cluster-data, version 3): one cell's tables as exported from BigQuery.

Layout: files, in any number of shards, whose names, or whose folder's, begin with the table's, as
`instance_usage-000000000000.json.gz`. JSON lines with nested records, CSV with a header and flat names
(`average_usage.cpus`, `average_usage_cpus`) or Parquet.

| table | becomes |
|---|---|
| instance_usage | metrics of the collection: mean, maximum and percentiles of CPU, memory, page cache, CPI, MAPI |
| instance_events | events: evict, fail, finish, kill, lost; other states are counted as dropped |
| collection_events | the same, and submit, schedule, updates |
| machine_events | events of the node: add, remove, update |
| machine_attributes | events of the node: attribute changed or deleted |

- A service is a collection by its logical name, where collection_events tells it (a program keeps it from run to run),
  else by its id. Ids stay in `instance`, `uid` and the message.
- Times are microseconds since 600 s before the first of May 2019, midnight in Los Angeles. 0 is "before the trace" and
  2^63-1 "after it": such rows are dropped and counted.
- A usage row is timed by the beginning of what it measures, so that it falls into the window that it is about.
- The step is 5 minutes: that of the usage windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import ClassVar, Final

import polars as pl

from ingest.borg_rows import ENDS, attribute_events, by_type, machine_events, typed, within
from ingest.trace_names import logical_names, with_service
from ingest.trace_rows import short, told
from ingest.trace_schema import Column, Table
from ingest.trace_sieve import Sieve
from ingest.trace_source import Part, TraceSource

SCOPE: Final = "borg-2019"
EPOCH_MS: Final = 1_556_693_400_000  # 2019-05-01T06:50Z: 600 s before midnight in Los Angeles

_TYPES: Final = (
    *("submit", "queue", "enable", "schedule", "evict", "fail", "finish", "kill", "lost"),
    *("update_pending", "update_running"),
)
TYPES: Final[Mapping[int, str]] = dict(enumerate(_TYPES))
MACHINE_TYPES: Final[Mapping[int, str]] = {1: "add", 2: "remove", 3: "update"}
_WORTH_TELLING: Final = (*ENDS, "submit", "schedule", "update_pending", "update_running")

_VALUES: Final[Mapping[str, tuple[str, ...]]] = {
    "average_usage_cpus": ("average_usage", "cpus"),
    "average_usage_memory": ("average_usage", "memory"),
    "maximum_usage_cpus": ("maximum_usage", "cpus"),
    "maximum_usage_memory": ("maximum_usage", "memory"),
    "assigned_memory": (),
    "page_cache_memory": (),
    "cycles_per_instruction": (),
    "memory_accesses_per_instruction": (),
}
_PERCENTILES: Final = {  # which element of which vector
    "cpu_usage_p50": ("cpu_usage_distribution", 5),
    "cpu_usage_p90": ("cpu_usage_distribution", 9),
    "cpu_usage_p99": ("tail_cpu_usage_distribution", 8),
}
INDICATORS: Final = (*_VALUES, *_PERCENTILES)

_TIME: Final = Column("time", "integer", needed=True)
_TYPE: Final = Column("type", needed=True)
_COLLECTION: Final = Column("collection_id", needed=True)
_MACHINE: Final = Column("machine_id", needed=True)


class Borg2019(TraceSource):
    """One cell of the trace. Partitions are the tables that are there."""

    scope = SCOPE
    step_ms = 300_000
    tables: ClassVar[Mapping[str, Table]] = {
        "instance_usage": Table(
            ("instance_usage",),
            (
                Column("start_time", "integer", needed=True),
                _COLLECTION,
                Column("instance_index", needed=True),
                *(Column(name, "number", path=path) for name, path in _VALUES.items()),
                *(Column(name, "numbers") for name in ("cpu_usage_distribution", "tail_cpu_usage_distribution")),
            ),
        ),
        "instance_events": Table(
            ("instance_events",),
            (
                *(_TIME, _TYPE, _COLLECTION),
                Column("instance_index", needed=True),
                Column("machine_id"),
                Column("priority"),
            ),
        ),
        "collection_events": Table(
            ("collection_events",),
            (*(_TIME, _TYPE, _COLLECTION), Column("priority"), Column("user"), Column("collection_logical_name")),
        ),
        "machine_events": Table(
            ("machine_events",),
            (
                *(_TIME, _MACHINE, _TYPE),
                Column("platform_id"),
                Column("cpus", "number", path=("capacity", "cpus")),
                Column("memory", "number", path=("capacity", "memory")),
            ),
        ),
        "machine_attributes": Table(
            ("machine_attributes",),
            (*(_TIME, _MACHINE), Column("name", needed=True), Column("value"), Column("deleted")),
        ),
    }

    def parts(self) -> Mapping[str, Part]:
        """Return one partition a table."""
        return {
            "instance_usage": Part("metrics", "instance_usage", self._usage, INDICATORS),
            "instance_events": Part("events", "instance_events", self._instances),
            "collection_events": Part("events", "collection_events", self._collections),
            "machine_events": Part("events", "machine_events", _machines),
            "machine_attributes": Part("events", "machine_attributes", _attributes),
        }

    @cached_property
    def _names(self) -> pl.DataFrame:
        return logical_names(self, "collection_events", "collection_id", "collection_logical_name")

    def _usage(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = within(frame, sieve, "start_time", EPOCH_MS)
        return with_service(frame, self._names, SCOPE, "collection_id").select(
            "ts_ms",
            "entity",
            pl.concat_str("collection_id", "instance_index", separator="/").alias("instance"),
            *_VALUES,
            *(pl.col(column).list.get(at, null_on_oob=True).alias(name) for name, (column, at) in _PERCENTILES.items()),
        )

    def _instances(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = typed(within(frame, sieve, "time", EPOCH_MS), sieve, TYPES, ENDS)
        message = told(
            collection=pl.col("collection_id"),
            instance=pl.col("instance_index"),
            machine=pl.when(~pl.col("machine_id").is_in(["0", "-1"])).then(pl.col("machine_id")),
            priority=pl.col("priority"),
        )
        frame = with_service(frame, self._names, SCOPE, "collection_id")
        return by_type(frame, "Instance", message, "collection_id", "instance_index")

    def _collections(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = typed(within(frame, sieve, "time", EPOCH_MS), sieve, TYPES, _WORTH_TELLING)
        message = told(collection=pl.col("collection_id"), priority=pl.col("priority"), user=short(pl.col("user")))
        return by_type(with_service(frame, self._names, SCOPE, "collection_id"), "Collection", message, "collection_id")


def _machines(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    return machine_events(within(frame, sieve, "time", EPOCH_MS), sieve, MACHINE_TYPES, SCOPE)


def _attributes(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    return attribute_events(within(frame, sieve, "time", EPOCH_MS), SCOPE)
