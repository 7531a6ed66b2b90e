"""Protocol (a): the moment of the injection is given, and the services are to be ranked.

Time is cut into minutes that begin with the injection. What was normal is the metrics of the minutes before it, the log
lines and spans of those minutes (as far as no other fault was in them), and the fault-free minute. The engine makes the
features, `rca.wide` ranks them, as `opsbrain rank` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import networkx as nx
import polars as pl

from benchmarks.nezha_data import Day, Fault, HeldSource, between, is_service, main_minute, shifted
from engine.messages import Message
from engine.runners.embedded import replay
from engine.schemas import Kind
from opsbrain.settings import Settings
from opsbrain.wiring import engine_config
from rca.wide import rank_frame

MINUTE_MS: Final = 60_000
BEFORE: Final = 20  # minutes of metrics that say what is normal: long enough for a median, short of another load
AFTER: Final = 3  # minutes of logs and spans that the data set has around each fault
TOPS: Final = (1, 3, 5)


def cases_of(day: Day) -> list[dict[str, Any]]:
    """Return one case a fault."""
    return [_case(day, fault) for fault in day.faults]


def score(cases: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return AS@1, 3 and 5: the share of faults whose service is among the first k."""
    faults = [one for one in cases if one["protocol"] == "window"]
    return {f"as{k}": _share(faults, k) for k in TOPS}


def _share(cases: Sequence[Mapping[str, Any]], k: int) -> float:
    hits = [one["rank"] is not None and one["rank"] <= k for one in cases]
    return sum(hits) / len(hits) if hits else float("nan")


def _case(day: Day, fault: Fault) -> dict[str, Any]:
    answer = rank(day, fault)
    services = [one["entity"] for one in answer["ranking"]]
    truth = _short(fault.entity)
    return {
        "protocol": "window",
        "day": day.name,
        "system": day.system,
        "at_ms": fault.at_ms,
        "fault": fault.kind,
        "truth": truth,
        "rank": services.index(truth) + 1 if truth in services else None,
        "first": services[:5],
        "abstained": answer["abstained"],
    }


def rank(day: Day, fault: Fault) -> dict[str, Any]:
    """Return the ranking of the services that have pods, in the form of `opsbrain rank`."""
    # the injection lies at a full minute of the moved clock, BEFORE minutes after its beginning
    frames = {kind: shifted(frame, -_offset(fault)) for kind, frame in _around(day, fault).items()}
    onset_ms = fault.at_ms - _offset(fault)
    table = _table(_features(frames))
    graph: nx.DiGraph[str] = nx.DiGraph()
    graph.add_nodes_from(sorted({_short(one) for one in day.services}))
    if "spans" in frames:
        graph.add_edges_from(_calls(frames["spans"]))
    return rank_frame(table, onset_ms, graph)


def _offset(fault: Fault) -> int:
    return fault.at_ms % MINUTE_MS


def _around(day: Day, fault: Fault) -> dict[Kind, pl.DataFrame]:
    """Return the rows around a fault, and the fault-free minute as the first of the minutes before."""
    start, end = fault.at_ms - BEFORE * MINUTE_MS, fault.at_ms + AFTER * MINUTE_MS
    frames: dict[Kind, pl.DataFrame] = {}
    for kind, frame in day.frames.items():
        rows = between(frame, start, end)
        if kind == "metrics":
            frames[kind] = rows.filter(pl.col("entity").map_elements(is_service, return_dtype=pl.Boolean))
            continue
        for other in day.faults:
            if other.at_ms < fault.at_ms:  # its minutes are no normal ones
                until = min(other.at_ms + AFTER * MINUTE_MS, fault.at_ms)
                rows = rows.filter(~pl.col("ts_ms").is_between(other.at_ms, until, closed="left"))
        if kind in day.reference:
            minute = main_minute(day.reference)
            normal = between(day.reference[kind], minute, minute + MINUTE_MS)
            rows = pl.concat(
                [shifted(normal, start - minute, "normal"), rows.filter(pl.col("ts_ms") >= start + MINUTE_MS)]
            )
        frames[kind] = rows.sort("ts_ms", maintain_order=True)
    return {kind: frame for kind, frame in frames.items() if not frame.is_empty()}


def _features(frames: dict[Kind, pl.DataFrame]) -> pl.DataFrame:
    """Return what the engine makes of the rows: start_ms, entity, indicator, form, value."""
    config = engine_config(Settings(), resolution_ms=MINUTE_MS, keep_history=True)
    # one detector, because the engine asks for one; of its answer only the values are looked at
    detect = replace(config.detect, detectors=config.detect.detectors[:1])
    config = replace(config, detect=detect, fit=replace(config.fit, fitters=()))
    parts: list[pl.DataFrame] = []

    def take(message: Message) -> None:
        if isinstance(message.payload, pl.DataFrame):
            parts.append(message.payload.select("start_ms", "entity", "indicator", "form", "value"))

    replay(config, HeldSource(frames), lambda _: None, tap=take)
    return pl.concat(parts)


def _table(features: pl.DataFrame) -> pl.DataFrame:
    """Return one row a minute and one column `<service>_<indicator>` a series.

    A count that is not there while its input spoke is zero; elsewhere what is not there is missing.
    """
    short = pl.col("entity").str.split("/").list.last()
    named = features.filter(pl.col("entity").str.contains("/service/")).with_columns(
        column=pl.format("{}_{}", short, "indicator")
    )
    table = named.pivot("column", index="start_ms", values="value", aggregate_function="first").sort("start_ms")
    counts = named.filter(pl.col("form") == "count")
    spoke = table["start_ms"].is_in(counts["start_ms"].unique().implode())
    zeros = [
        pl.when(spoke).then(pl.col(name).fill_null(0.0)).otherwise(pl.col(name)).alias(name)
        for name in counts["column"].unique().sort()
    ]
    return table.with_columns(zeros).rename({"start_ms": "ts_ms"})


def _calls(spans: pl.DataFrame) -> list[tuple[str, str]]:
    parents = spans.select("trace_id", parent_span_id="span_id", caller="entity")
    pairs = spans.join(parents, on=["trace_id", "parent_span_id"]).filter(pl.col("caller") != pl.col("entity"))
    return [
        (_short(a), _short(b)) for a, b in pairs.select("caller", "entity").unique().sort("caller", "entity").rows()
    ]


def _short(entity: str) -> str:
    return entity.rsplit("/", 1)[1]
