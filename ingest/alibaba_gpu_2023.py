"""Alibaba's GPU cluster trace of 2023 (alibaba/clusterdata, cluster-trace-gpu-v2023): pods and nodes of 149 days.

Layout: `openb_pod_list_*.csv` and `openb_node_list_*.csv`, gzipped or not. The publisher's other pod lists are samples
of the default one: of several, `openb_pod_list_default` is read (of node lists `..._all_node`), the others are not.

pods    events of the service: created, scheduled, succeeded, failed, deleted; metrics of it: pods running and pending,
        the CPU, memory and GPU that they were given, how long they waited
nodes   objects of kind Node at the beginning, with their capacity; of the cluster the share of its GPU that is given

- The trace names pods and no workloads, and each pod comes once. A service is all pods of one class (`qos`: LS, BE,
  Burstable, Guaranteed); pods' names stay in `uid` and the message.
- Which node a pod ran on was not published, so nodes have no metrics of their own; the cluster is the entity
  `queue/-/cluster`.
- Times are seconds since a beginning that was not published; it is taken for the first of January 2023. Pods that are
  there at the end are given that time as their deletion: such deletions are dropped and counted.
- The step is one hour: two pods come an hour on average, and 149 days are 3,600 steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Final

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from engine.errors import SourceError
from ingest.event_time_order import EventTimeOrder
from ingest.trace_rows import entity, events, short, told
from ingest.trace_schema import Column, Table
from ingest.trace_sieve import Sieve
from ingest.trace_source import Part, TraceSource

SCOPE: Final = "alibaba-gpu-2023"
EPOCH_MS: Final = 1_672_531_200_000  # 2023-01-01T00:00Z
STEP_S: Final = 3_600
AT_THE_END: Final = "still there at the end of the trace"
NOT_YET: Final = "never scheduled"
ANOTHER_LIST: Final = "another list of the same things is read"
INDICATORS: Final = (
    *("pods_running", "pods_pending", "given_cpu_milli", "given_memory_mib", "given_gpu_milli"),
    *("scheduling_wait_s", "given_gpu_ratio"),
)
_CLUSTER: Final = f"{SCOPE}/queue/-/cluster"
_LATEST_S: Final = 10 * 365 * 86_400  # no trace is as long; what is later is damaged
_ALONE: Final = {"pods": "default", "nodes": "all_node"}  # what is read of several lists
_ALIVE: Final = ("Running", "Pending")


class AlibabaGpu2023(TraceSource):
    """The trace. Partitions: `events` and `metrics` of pods, `nodes`. Some 9,000 rows, held in memory."""

    scope = SCOPE
    step_ms = STEP_S * 1000
    tables: ClassVar[Mapping[str, Table]] = {
        "pods": Table(
            ("openb_pod_list",),
            (
                *(Column("name", needed=True), Column("qos"), Column("pod_phase"), Column("gpu_spec")),
                *(Column(name, "integer") for name in ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli")),
                Column("creation_time", "integer", needed=True),
                *(Column("deletion_time", "integer"), Column("scheduled_time", "integer")),
            ),
        ),
        "nodes": Table(
            ("openb_node_list",),
            (
                *(Column("sn", needed=True), Column("model")),
                *(Column(name, "integer") for name in ("cpu_milli", "memory_mib", "gpu")),
            ),
        ),
    }

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        for table, files in self._found.tables.items():
            chosen = [one for one in files if _ALONE[table] in Path(one.name).name] if len(files) > 1 else list(files)
            if len(chosen) != 1:
                raise SourceError(f"{path}: holds several lists of {table}; name one file, or bring the default one")
            self.unread |= {one.name: ANOTHER_LIST for one in files if one != chosen[0]}
            self.use(table, chosen)

    def parts(self) -> Mapping[str, Part]:
        """Return what pods and nodes become."""
        return {
            "events": Part("events", "pods", self._events),
            "metrics": Part("metrics", "pods", _pods, INDICATORS, accounts=False),
            "nodes": Part("objects", "nodes", _nodes),
        }

    def load(self, part: Part, sieve: Sieve, order: EventTimeOrder) -> None:
        """Read a table; what is given out is counted over all pods."""
        if part.kind != "metrics":
            super().load(part, sieve, order)
            return
        for rows in self._given():
            order.add(rows.select("ts_ms", "entity", "instance", *INDICATORS))

    @cached_property
    def _end_s(self) -> int:
        """Return the last time that is said of any pod."""
        times = ("creation_time", "deletion_time", "scheduled_time")
        ends = [batch.select(pl.max_horizontal(pl.col(times).max())).item() for batch in self.batches("pods")]
        return max((int(one) for one in ends if one is not None and one < _LATEST_S), default=0)

    def _events(self, frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
        pods = _pods(frame, sieve)
        phase, gone = pl.col("pod_phase"), pl.col("deletion_time")
        left = sieve.drop(
            pods.filter(gone.is_not_null()), (gone >= self._end_s) & phase.is_in(list(_ALIVE)), AT_THE_END
        )
        ended = pl.when(phase.is_in(["Succeeded", "Failed"])).then("Pod" + phase).otherwise(pl.lit("PodDeleted"))
        return pl.concat(
            [
                _at(pods, "creation_time", pl.lit("PodCreated")),
                _at(pods.filter(pl.col("scheduled_time").is_not_null()), "scheduled_time", pl.lit("PodScheduled")),
                _at(left, "deletion_time", ended),
            ]
        )

    def _given(self) -> Iterator[pl.DataFrame]:
        """Yield what each class was given, step by step, how long its pods waited, and what the cluster has left."""
        found = [_pods(batch, Sieve()).drop("row") for batch in self.batches("pods")]
        pods = pl.concat(found).unique() if found else None
        if pods is None or pods.is_empty():
            return
        steps = self._end_s // STEP_S + 2
        whole = np.zeros(steps)
        for (who,), mine in sorted(pods.partition_by("entity", as_dict=True).items()):
            columns = _levels(mine, steps)
            whole += columns["given_gpu_milli"]
            yield _rows(str(who), columns)
        yield _waits(pods)
        capacity = sum(int(batch["gpu"].sum()) for batch in self.batches("nodes")) * 1000.0
        if capacity:
            yield _rows(_CLUSTER, {"given_gpu_ratio": whole / capacity})


def _pods(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    """Return the pods whose times can be, with the service that stands for their class."""
    for name in ("creation_time", "scheduled_time", "deletion_time"):
        possible = pl.col(name).is_between(0, _LATEST_S, closed="left")
        frame = sieve.refuse(frame, ~possible.fill_null(True), f"{name} is not within the trace")
    backwards = pl.min_horizontal("scheduled_time", "deletion_time") < pl.col("creation_time")
    frame = sieve.refuse(frame, backwards.fill_null(False), "the pod was scheduled or deleted before it was created")
    return frame.with_columns(entity=entity(SCOPE, "service", pl.col("qos").fill_null("unknown")))


def _at(pods: pl.DataFrame, time: str, reason: pl.Expr) -> pl.DataFrame:
    timed = pods.with_columns(ts_ms=pl.col(time) * 1000 + EPOCH_MS)
    message = told(
        pod=pl.col("name"),
        gpus=pl.col("num_gpu"),
        cpu_milli=pl.col("cpu_milli"),
        memory_mib=pl.col("memory_mib"),
        gpu_type=short(pl.col("gpu_spec")),
    )
    return events(timed, pl.col("entity"), reason, reason == "PodFailed", message, pl.col("name"))


def _levels(pods: pl.DataFrame, steps: int) -> dict[str, NDArray[np.float64]]:
    """Return how much there is at each step of what begins at one time of a pod and ends at another."""
    end = pl.col("deletion_time")
    begun = pods.filter(pl.col("scheduled_time").is_not_null())
    gpus = pl.col("num_gpu") * pl.col("gpu_milli")
    return {
        "pods_running": _level(begun, "scheduled_time", end, pl.lit(1.0), steps),
        "pods_pending": _level(pods, "creation_time", pl.coalesce("scheduled_time", end), pl.lit(1.0), steps),
        "given_cpu_milli": _level(begun, "scheduled_time", end, pl.col("cpu_milli"), steps),
        "given_memory_mib": _level(begun, "scheduled_time", end, pl.col("memory_mib"), steps),
        "given_gpu_milli": _level(begun, "scheduled_time", end, gpus, steps),
    }


def _level(pods: pl.DataFrame, begin: str, end: pl.Expr, amount: pl.Expr, steps: int) -> NDArray[np.float64]:
    last = steps * STEP_S
    spans = pods.select(
        begin=begin, end=pl.max_horizontal(begin, end.fill_null(last)), amount=amount.cast(pl.Float64).fill_null(0)
    )
    change = np.zeros(steps + 1)
    for time, sign in (("begin", 1.0), ("end", -1.0)):
        at = np.minimum(-(-spans[time].to_numpy() // STEP_S), steps)  # it shows at the first step that is not before
        np.add.at(change, at, sign * spans["amount"].to_numpy())
    return np.cumsum(change)[:steps]


def _rows(who: str, columns: Mapping[str, NDArray[np.float64]]) -> pl.DataFrame:
    steps = len(next(iter(columns.values())))
    return _wide(
        pl.DataFrame({"ts_ms": np.arange(steps) * STEP_S * 1000 + EPOCH_MS, **columns}), pl.lit(who), pl.lit("")
    )


def _waits(pods: pl.DataFrame) -> pl.DataFrame:
    waited = pods.filter(pl.col("scheduled_time").is_not_null()).with_columns(
        ts_ms=pl.col("scheduled_time") * 1000 + EPOCH_MS,
        scheduling_wait_s=(pl.col("scheduled_time") - pl.col("creation_time")).cast(pl.Float64),
    )
    return _wide(waited, pl.col("entity"), pl.col("name"))


def _wide(frame: pl.DataFrame, who: pl.Expr, instance: pl.Expr) -> pl.DataFrame:
    missing = [pl.lit(None, pl.Float64).alias(one) for one in INDICATORS if one not in frame.columns]
    return frame.with_columns(entity=who, instance=instance).with_columns(missing)


def _nodes(frame: pl.DataFrame, sieve: Sieve) -> pl.DataFrame:
    rows = [(one["sn"], _manifest(one)) for one in frame.iter_rows(named=True)]
    return pl.DataFrame(rows, schema={"name": pl.String, "manifest": pl.String}, orient="row").select(
        pl.lit(EPOCH_MS).alias("ts_ms"),
        entity(SCOPE, "node", pl.col("name")).alias("entity"),
        pl.lit("v1").alias("api_version"),
        pl.lit("Node").alias("object_kind"),
        pl.lit("").alias("namespace"),
        "name",
        "manifest",
        pl.lit(False).alias("deleted"),
    )


def _manifest(node: Mapping[str, Any]) -> str:
    labels = {"nvidia.com/gpu.product": node["model"]} if node["model"] else {}
    amounts = {"cpu": ("cpu_milli", "m"), "memory": ("memory_mib", "Mi"), "nvidia.com/gpu": ("gpu", "")}
    capacity = {name: f"{node[column]}{unit}" for name, (column, unit) in amounts.items() if node[column] is not None}
    manifest = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"labels": labels, "name": node["sn"]},
        "status": {"capacity": capacity},
    }
    return msgspec.json.encode(manifest, order="deterministic").decode()
