"""Google's cluster trace of May 2011 (google/cluster-data, clusterdata-2011-2): tables in numbered parts, no header.

Layout as in the bucket: `task_usage/part-00000-of-00500.csv.gz`, and so for `task_events`, `job_events`,
`machine_events`, `machine_attributes`; parts may be missing, and unpacked.

| table | becomes |
|---|---|
| task_usage | metrics of the job: CPU rate (mean, maximum, sampled), memory, page cache, disk, CPI, MAI |
| task_events | events: evict, fail, finish, kill, lost; other states are counted as dropped |
| job_events | the same, and submit, schedule, updates |
| machine_events | events of the node: add, remove, update |
| machine_attributes | events of the node: attribute changed or deleted |

- A service is a job by its logical name, where job_events tells it, else by its id.
- Times are microseconds since 600 s before 19:00 on Sunday, 1 May 2011 in New York. 0 is "before the trace" and
  2^63-1 "after it": such rows are dropped and counted.
- A usage row is timed by the beginning of what it measures. The step is 5 minutes: that of the usage windows.
- The first version of the trace lacks the last column of task_usage; it is read too.
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

SCOPE: Final = "borg-2011"
EPOCH_MS: Final = 1_304_290_200_000  # 2011-05-01T22:50Z: 600 s before 19:00 in New York
TYPES: Final[Mapping[int, str]] = dict(
    enumerate(("submit", "schedule", "evict", "fail", "finish", "kill", "lost", "update_pending", "update_running"))
)
MACHINE_TYPES: Final[Mapping[int, str]] = {0: "add", 1: "remove", 2: "update"}

INDICATORS: Final = (
    *("cpu_rate", "canonical_memory_usage", "assigned_memory_usage", "unmapped_page_cache", "total_page_cache"),
    *("maximum_memory_usage", "disk_io_time", "local_disk_space_usage", "maximum_cpu_rate", "maximum_disk_io_time"),
    *("cycles_per_instruction", "memory_accesses_per_instruction", "sampled_cpu_usage"),
)
_USAGE: Final = (
    *("start_time", "end_time", "job_id", "task_index", "machine_id", *INDICATORS[:12]),
    *("sample_portion", "aggregation_type", "sampled_cpu_usage"),
)
_TASK_EVENTS: Final = (
    *("time", "missing_info", "job_id", "task_index", "machine_id", "type", "user", "scheduling_class", "priority"),
    *("cpu_request", "memory_request", "disk_space_request", "different_machines_restriction"),
)
_JOB_EVENTS: Final = (
    *("time", "missing_info", "job_id", "type", "user", "scheduling_class", "job_name", "logical_job_name"),
)
_TIME: Final = Column("time", "integer", needed=True)
_TYPE: Final = Column("type", needed=True)
_JOB: Final = Column("job_id", needed=True)
_MACHINE: Final = Column("machine_id", needed=True)


class Borg2011(TraceSource):
    """The trace, or some of its parts. Partitions are the tables that are there."""

    scope = SCOPE
    step_ms = 300_000
    tables: ClassVar[Mapping[str, Table]] = {
        "task_usage": Table(
            ("task_usage",),
            (
                Column("start_time", "integer", needed=True),
                *(_JOB, Column("task_index", needed=True)),
                *(Column(name, "number") for name in INDICATORS),
            ),
            order=_USAGE,
            optional=1,
        ),
        "task_events": Table(
            ("task_events",),
            (_TIME, _JOB, Column("task_index", needed=True), Column("machine_id"), _TYPE, Column("priority")),
            order=_TASK_EVENTS,
        ),
        "job_events": Table(
            ("job_events",), (_TIME, _JOB, _TYPE, Column("user"), Column("logical_job_name")), order=_JOB_EVENTS
        ),
        "machine_events": Table(
            ("machine_events",),
            (_TIME, _MACHINE, _TYPE, Column("platform_id"), Column("cpus", "number"), Column("memory", "number")),
            order=("time", "machine_id", "type", "platform_id", "cpus", "memory"),
        ),
        "machine_attributes": Table(
            ("machine_attributes",),
            (_TIME, _MACHINE, Column("name", needed=True), Column("value"), Column("deleted")),
            order=("time", "machine_id", "name", "value", "deleted"),
        ),
    }

    def parts(self) -> Mapping[str, Part]:
        """Return one partition a table."""
        return {
            "task_usage": Part("metrics", "task_usage", self._usage, INDICATORS),
            "task_events": Part("events", "task_events", self._tasks),
            "job_events": Part("events", "job_events", self._jobs),
            "machine_events": Part("events", "machine_events", _machines),
            "machine_attributes": Part("events", "machine_attributes", _attributes),
        }

    @cached_property
    def _names(self) -> pl.DataFrame:
        return logical_names(self, "job_events", "job_id", "logical_job_name")

    def _usage(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = with_service(within(frame, sieve, "start_time", EPOCH_MS), self._names, SCOPE, "job_id")
        return frame.select(
            "ts_ms", "entity", pl.concat_str("job_id", "task_index", separator="/").alias("instance"), *INDICATORS
        )

    def _tasks(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = typed(within(frame, sieve, "time", EPOCH_MS), sieve, TYPES, ENDS)
        message = told(
            job=pl.col("job_id"), task=pl.col("task_index"), machine=pl.col("machine_id"), priority=pl.col("priority")
        )
        frame = with_service(frame, self._names, SCOPE, "job_id")
        return by_type(frame, "Task", message, "job_id", "task_index")

    def _jobs(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        frame = typed(within(frame, sieve, "time", EPOCH_MS), sieve, TYPES, TYPES.values())
        message = told(job=pl.col("job_id"), user=short(pl.col("user")))
        return by_type(with_service(frame, self._names, SCOPE, "job_id"), "Job", message, "job_id")


def _machines(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    return machine_events(within(frame, sieve, "time", EPOCH_MS), sieve, MACHINE_TYPES, SCOPE)


def _attributes(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    return attribute_events(within(frame, sieve, "time", EPOCH_MS), SCOPE)
