"""Turns the tables of the Nezha layout into rows: logs, spans and wide metric files.

Each table comes as text columns with `file` and `row`, so that whatever is refused can be found again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec
import polars as pl

from ingest.csv_file import split_bad
from ingest.frame_reader import Held, Refusal
from ingest.identity import Identity
from ingest.loglines import with_text
from ingest.metric_labels import indicator_of
from ingest.refused import UNREADABLE
from ingest.scrub import Scrubber
from ingest.times import OUTSIDE, rfc3339_ms, sane

REPEAT: Final = "exact repeat"
NODE_SEEN_AGAIN: Final = "node's value seen through another of its pods"
NODE_UNKNOWN: Final = "value of a node that no log line names"

LOG_COLUMNS: Final = ("TimeUnixNano", "Node", "PodName", "Container", "TraceID", "SpanID", "Log")
SPAN_COLUMNS: Final = (
    "TraceID", "SpanID", "ParentID", "PodName", "OperationName", "StartTimeUnixNano", "EndTimeUnixNano",
)  # fmt: skip
POD_COLUMNS: Final = ("TimeStamp", "PodName")
FRONT_COLUMNS: Final = ("TimeStamp", "ServiceName")
EDGE_COLUMNS: Final = ("timestamp",)

_ROOT: Final = "root"
_NODE_PREFIX: Final = "Node"  # columns about the machine a pod runs on are repeated in the file of each of its pods


class _Line(msgspec.Struct):
    """A container runtime's JSON line."""

    log: str | None = None
    time: str | None = None


_LINE: Final = msgspec.json.Decoder(_Line)


def logs(table: pl.DataFrame, identity: Identity, scrubber: Scrubber) -> tuple[Held, dict[str, int]]:
    """Return the log rows in time order, and how many exact repeats were dropped."""
    lines = _lines(table["Log"])
    table = table.with_columns(
        body=pl.Series([line.log for line in lines], dtype=pl.String),
        _inner=rfc3339_ms(pl.Series([line.time for line in lines], dtype=pl.String)),
    )
    table, refused = split_bad(table, "", pl.col("body").is_null(), "Log is no JSON line with a text `log`")
    table, bad = split_bad(table, "", pl.col("PodName").is_null(), "PodName is missing")
    # the collector stamps some lines with its zero time; the container runtime's own time stands beside the text
    table, untimed = _timed(table, "TimeUnixNano", instead=pl.col("_inner"))
    table, repeats = _without_repeats(table.drop("_inner"), ("ts_ms", *LOG_COLUMNS))
    table = table.with_columns(entity=_mapped(table["PodName"], identity.of_pod), level=pl.lit(None, pl.String))
    rows = with_text(table.select("ts_ms", "entity", "body", "level"), scrubber).drop("level")
    return Held("logs", rows, (*refused, *bad, *untimed)), {REPEAT: repeats}


def placement(table: pl.DataFrame) -> dict[str, str]:
    """Return the node of each pod that logged; a pod's name belongs to one node as long as it lives."""
    pairs = table.select("PodName", "Node").drop_nulls().unique().sort("PodName", "Node")
    return dict(pairs.iter_rows())


def spans(table: pl.DataFrame, identity: Identity) -> tuple[Held, dict[str, int]]:
    """Return the spans in the order of their ends, and how many exact repeats were dropped."""
    table, refused = _timed(table, "EndTimeUnixNano")
    start = pl.col("StartTimeUnixNano").cast(pl.Int64, strict=False)
    table = table.with_columns(_nanos=pl.col("EndTimeUnixNano").cast(pl.Int64) - start)
    table, late = split_bad(table, "", pl.col("_nanos") < 0, "ends before it begins, or has no start")
    names = ("TraceID", "SpanID", "ParentID", "PodName", "OperationName")
    table, empty = split_bad(
        table, "", pl.any_horizontal(pl.col(names).is_null()), f"one of {', '.join(names)} is missing"
    )
    table, repeats = _without_repeats(table, ("ts_ms", *SPAN_COLUMNS))
    rows = table.select(
        "ts_ms",
        entity=_mapped(table["PodName"], identity.of_pod),
        trace_id="TraceID",
        span_id="SpanID",
        parent_span_id=pl.when(pl.col("ParentID") != _ROOT).then("ParentID"),
        operation="OperationName",
        duration_ms=pl.Series(table["_nanos"].to_numpy() / 1e6),  # as `ingest.formats.spans` does
        error=pl.lit(False),  # the data set has no status; a failure shows in logs, rates and durations
    )
    return Held("spans", rows, (*refused, *late, *empty)), {REPEAT: repeats}


def metrics(
    pods: Sequence[pl.DataFrame],
    fronts: Sequence[pl.DataFrame],
    edges: Mapping[str, Sequence[pl.DataFrame]],
    nodes: Mapping[str, str],
    identity: Identity,
) -> tuple[Held, dict[str, int]]:
    """Return the samples of all tables in time order, and how many were dropped, by reason.

    pods    one row a pod and minute; columns named `Node...` go to the pod's node, once a node and minute
    fronts  one row a minute, as users of `ServiceName` see it; they go to the service of that name in lower case
    edges   one column `caller_callee` an edge: by "source" what the caller waits for, by "destination" what the callee
            takes; they go to the caller and to the callee, as an indicator with the other one as label `peer`
    nodes   the node of each pod that is known
    """
    refused: list[Refusal] = []
    parts = [_pod_samples(_wide(table, POD_COLUMNS, refused), identity, nodes) for table in pods]
    parts += [_front_samples(_wide(table, FRONT_COLUMNS, refused), identity) for table in fronts]
    for side, tables in sorted(edges.items()):
        parts += [_edge_samples(_wide(table, EDGE_COLUMNS, refused), side, identity, refused) for table in tables]
    samples = pl.concat([_SAMPLES.to_frame(), *parts])
    rows, dropped = _once(samples)
    return Held("metrics", rows.with_columns(form=pl.lit("gauge")), tuple(refused)), dropped


_SAMPLES: Final = pl.Schema(
    {
        "ts_ms": pl.Int64,
        "entity": pl.String,  # null for a node that nobody names
        "indicator": pl.String,
        "instance": pl.String,
        "value": pl.Float64,
        "seen_by": pl.String,  # the pod through which a node was seen, else null
    }
)


def _once(samples: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return each sample once, in order: of a node's samples of one minute the first in (time, pod) order."""
    order = ("ts_ms", "entity", "indicator", "instance", "seen_by", "value")
    known = samples.filter(pl.col("entity").is_not_null())
    distinct = known.unique(maintain_order=False).sort(order, nulls_last=True)
    of_node = distinct["seen_by"].is_not_null()
    nodes = distinct.filter(of_node).with_columns(_minute=pl.col("ts_ms") // 60_000)
    nodes = nodes.unique(["entity", "indicator", "_minute"], keep="first", maintain_order=True).drop("_minute")
    rows = pl.concat([distinct.filter(~of_node), nodes]).sort(order, nulls_last=True)
    dropped = {
        REPEAT: known.height - distinct.height,
        NODE_SEEN_AGAIN: distinct.height - rows.height,
        NODE_UNKNOWN: samples.height - known.height,
    }
    return rows.drop("seen_by"), {reason: count for reason, count in dropped.items() if count}


def _pod_samples(table: pl.DataFrame, identity: Identity, nodes: Mapping[str, str]) -> pl.DataFrame:
    long = _long(table, "PodName")
    of_node = pl.col("indicator").str.starts_with(_NODE_PREFIX)

    def node_of(pod: str) -> str | None:
        return identity.node(nodes[pod]) if pod in nodes else None

    return long.with_columns(
        entity=pl.when(of_node)
        .then(_mapped(long["PodName"], node_of))
        .otherwise(_mapped(long["PodName"], identity.of_pod)),
        instance=pl.when(of_node).then(pl.lit("")).otherwise("PodName"),
        seen_by=pl.when(of_node).then("PodName"),
    ).select(_SAMPLES.names())


def _front_samples(table: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    long = _long(table, "ServiceName")
    return long.with_columns(
        entity=_mapped(long["ServiceName"], lambda name: identity.service(name=name.lower())),
        instance=pl.lit(""),
        seen_by=pl.lit(None, pl.String),
    ).select(_SAMPLES.names())


def _edge_samples(table: pl.DataFrame, side: str, identity: Identity, refused: list[Refusal]) -> pl.DataFrame:
    measured: list[tuple[str, str, str]] = []
    for column in [name for name in table.columns if name not in ("ts_ms", "file", "row")]:
        caller, joined, callee = column.partition("_")
        if not joined or not caller or not callee or "_" in callee:
            name = str(table["file"][0]) if table.height else side
            refused.append(Refusal(name, 1, f"column {column!r} does not name an edge as caller_callee"))
            continue
        owner, peer = (caller, callee) if side == "source" else (callee, caller)
        name = "ClientLatencyP50(s)" if side == "source" else "ServerLatencyP50(s)"
        measured.append((column, identity.service(name=owner), indicator_of(name, {"peer": peer})))
    if not measured:
        return _SAMPLES.to_frame()
    long = _long(table.select("ts_ms", "file", "row", *(column for column, _, _ in measured)))
    columns = [column for column, _, _ in measured]
    return long.with_columns(
        entity=pl.col("indicator").replace_strict(columns, [entity for _, entity, _ in measured]),
        indicator=pl.col("indicator").replace_strict(columns, [indicator for _, _, indicator in measured]),
        instance=pl.lit(""),
        seen_by=pl.lit(None, pl.String),
    ).select(_SAMPLES.names())


def _wide(table: pl.DataFrame, keys: Sequence[str], refused: list[Refusal]) -> pl.DataFrame:
    """Return a wide table with `ts_ms` and numbers; an empty cell is NaN, one that is no number refuses its row."""
    # one public file has a wrong digit in all its numbers; the text beside them is right
    text = next((name for name in ("Time", "time") if name in table.columns), None)
    numbers = table[keys[0]].cast(pl.Int64, strict=False) * 1000
    stamps = numbers if text is None else _go_time_ms(table[text]).fill_null(numbers)
    table, bad = split_bad(
        table.with_columns(ts_ms=sane(stamps)), "", pl.col("ts_ms").is_null(), f"{keys[0]}: {OUTSIDE}"
    )
    refused += bad
    for key in keys[1:]:
        table, bad = split_bad(table, "", pl.col(key).is_null(), f"{key} is missing")
        refused += bad
    skip = {"Time", "time", "TimeStamp", "timestamp", "ts_ms", "file", "row", *keys}
    values = [column for column in table.columns if column not in skip]
    number = pl.col(values).cast(pl.Float64, strict=False)
    table, bad = split_bad(
        table, "", pl.any_horizontal(number.is_null() & pl.col(values).is_not_null()), "a value is not a number"
    )
    refused += bad
    usable = pl.when(number.is_finite()).then(number).otherwise(float("nan"))
    return table.select("ts_ms", "file", "row", *keys[1:], usable)


def _long(table: pl.DataFrame, *keys: str) -> pl.DataFrame:
    index = ["ts_ms", *keys]
    return table.drop("file", "row").unpivot(index=index, variable_name="indicator", value_name="value")


def _timed(table: pl.DataFrame, column: str, instead: pl.Expr | None = None) -> tuple[pl.DataFrame, list[Refusal]]:
    """Return the table with `ts_ms` from a column of nanoseconds, and a refusal for each row without a usable time."""
    stamps = sane(table[column].cast(pl.Int64, strict=False) // 1_000_000)
    table = table.with_columns(ts_ms=pl.coalesce(stamps, instead) if instead is not None else stamps)
    return split_bad(table, "", pl.col("ts_ms").is_null(), f"{column}: {OUTSIDE}")


def _go_time_ms(texts: pl.Series) -> pl.Series:
    """Return times as Go prints them (`2022-08-22 03:51:19.57 +0000 UTC m=+0.08`) at whole seconds, null where not."""
    stamps = texts.str.extract(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)")
    zones = texts.str.extract(r"^\S+ [0-9:.]+ ([+-]\d{4})")
    parsed = (stamps + " " + zones).str.to_datetime("%Y-%m-%d %H:%M:%S %z", strict=False, time_unit="ms")
    return parsed.dt.epoch("ms").cast(pl.Int64)


def _without_repeats(table: pl.DataFrame, columns: Sequence[str]) -> tuple[pl.DataFrame, int]:
    """Return each row once, sorted by all its columns, so that the order owes nothing to how files were cut."""
    distinct = table.unique(list(columns), keep="first", maintain_order=True)
    return distinct.sort(list(columns), nulls_last=True), table.height - distinct.height


def _mapped(names: pl.Series, entity_of: Callable[[str], str | None]) -> pl.Series:
    """Return the entity of each name; each distinct name is asked once."""
    distinct = names.unique().sort()
    entities = pl.Series([entity_of(name) for name in distinct], dtype=pl.String)
    return names.replace_strict(distinct, entities, return_dtype=pl.String)


def _lines(lines: pl.Series) -> list[_Line]:
    """Return the container runtime's lines, without text where one is unreadable."""
    try:
        return [_LINE.decode(line) for line in lines]
    except (*UNREADABLE, TypeError):
        return [_line(line) for line in lines]


def _line(line: str | None) -> _Line:
    try:
        return _Line() if line is None else _LINE.decode(line)
    except UNREADABLE:
        return _Line()
