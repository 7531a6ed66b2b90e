"""A tiny folder laid out like the Nezha data set, for tests."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Sequence
from pathlib import Path

DAY = "2023-01-29"
START_S = 1_674_981_720  # 2023-01-29 08:42:00 UTC
POD = "ts-order-service-5b67c48447-mv5hb"
OTHER = "ts-price-service-76846864d9-g465z"
NODE = "33.33.33.76"
LOG_HEADER = ("Timestamp", "TimeUnixNano", "Node", "PodName", "Container", "TraceID", "SpanID", "Log")
SPAN_HEADER = (
    "TraceID",
    "SpanID",
    "ParentID",
    "PodName",
    "OperationName",
    "StartTimeUnixNano",
    "EndTimeUnixNano",
    "Duration",
)
POD_HEADER = ("Time", "TimeStamp", "PodName", "CpuUsage(m)", "NodeCpuUsageRate(%)")

Row = Sequence[object]


def write(path: Path, header: Row, rows: Sequence[Row]) -> bytes:
    """Write a gzipped CSV and return its unzipped bytes."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    content = text.getvalue().encode()
    path.write_bytes(gzip.compress(content))
    return content


def log(second: float, text: str, pod: str = POD, nanos: int | None = None) -> Row:
    """Return one row of a log file."""
    at = _nanos(second) if nanos is None else nanos
    line = json.dumps({"log": text + "\n", "stream": "stdout", "time": f"2023-01-29T08:42:{second:09.6f}Z"})
    return ("", at, NODE, pod, "server", "t", "s", line)


def span(name: str, start: float, end: float, parent: str = "root", pod: str = POD) -> Row:
    """Return one row of a trace file."""
    nanos = [_nanos(second) for second in (start, end)]
    return ("trace", name, parent, pod, "GET /orders", *nanos, round((end - start) * 1e6))


def sample(minute: int, cpu: object, node: object, pod: str = POD) -> Row:
    """Return one row of a metric file."""
    at = START_S + 60 * minute
    return (f"2023-01-29 08:{42 + minute}:00.5 +0000 UTC m=+0.1", at, pod, cpu, node)


def folder(root: Path) -> Path:
    """Write a small healthy day and return the data set's folder."""
    day = root / "rca_data" / DAY
    first = [log(1.5, "16:42:01.5 INFO order 7 placed"), log(0.25, "16:42:00 ERROR order 8 failed")]
    write(day / "log" / "08_43_log.csv.gz", LOG_HEADER, first)
    write(day / "log" / "08_44_log.csv.gz", LOG_HEADER, [*first[:1], log(61, "16:43:01 WARN slow", OTHER)])
    spans = [span("b", 1.0, 1.5, parent="a", pod=OTHER), span("a", 0.9, 1.6)]
    write(day / "trace" / "08_43_trace.csv.gz", SPAN_HEADER, spans)
    write(day / "metric" / f"{POD}_metric.csv.gz", POD_HEADER, [sample(0, 1.5, 30.0), sample(1, "", 31.0)])
    write(
        day / "metric" / f"{OTHER}_metric.csv.gz", POD_HEADER, [sample(0, 2.5, 30.5, OTHER), sample(1, 2.6, 31, OTHER)]
    )
    front = ("Time", "TimeStamp", "ServiceName", "LatencyP50(s)")
    write(day / "metric" / "front_service.csv.gz", front, [("", START_S, "Frontend", 0.25)])
    edge = ("time", "timestamp", "order_price")
    write(day / "metric" / "source_50.csv.gz", edge, [("", START_S, 0.5)])
    write(day / "metric" / "destination_50.csv.gz", edge, [("", START_S, 0.4)])
    write(day / "metric" / "dependency.csv.gz", ("Source", "Target", "Weight"), [("order", "price", 1)])
    return root


def _nanos(second: float) -> int:
    return START_S * 1_000_000_000 + round(second * 1_000_000_000)
