"""Protocol (a): the moment of the injection is given, and the services are to be ranked.

Time is cut into minutes that begin with the injection. What was normal is the metrics of the minutes before it, the log
lines and spans of those minutes (as far as no other fault was in them), and the fault-free minute. The engine makes the
features, each is compared with its normal on the scale of its form (`models.scales`), and the product's ranker ranks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import polars as pl

from benchmarks.nezha_data import Day, Fault, HeldSource, between, is_service, main_minute, shifted
from benchmarks.nezha_shift import anomalies_of, shifts
from engine.messages import Message
from engine.runners.embedded import replay
from engine.schemas import Kind
from engine.topology import Edge, Topology
from engine.types import History, Incident, Phase, Ranking, Severity
from opsbrain.settings import Settings
from opsbrain.wiring import engine_config
from rca.ranker import RankerConfig

MINUTE_MS: Final = 60_000
BEFORE: Final = 30  # minutes of metrics that say what is normal: long enough for a median, short of another load
AFTER: Final = 3  # minutes of logs and spans that the data set has around each fault
TOPS: Final = (1, 3, 5)


def cases_of(day: Day) -> list[dict[str, Any]]:
    """Return one case a fault."""
    return [_case(day, fault) for fault in day.faults]


def score(cases: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return AS@1, 3 and 5: the share of faults whose service is among the first k."""
    faults = [one for one in cases if one["protocol"] == "window"]
    return {f"as{k}": _share(faults, k) for k in TOPS}


def rank(day: Day, fault: Fault) -> Ranking:
    """Return the product's ranking of the services, given the moment of a fault."""
    # the injection lies at a full minute of the moved clock
    offset_ms = fault.at_ms % MINUTE_MS
    frames = {kind: shifted(frame, -offset_ms) for kind, frame in _around(day, fault).items()}
    onset_ms = fault.at_ms - offset_ms
    moved = shifts(_features(frames), onset_ms, MINUTE_MS)
    anomalies = anomalies_of(moved, MINUTE_MS)
    if not anomalies:
        return Ranking((), "no series left its normal")
    history = History("nezha", MINUTE_MS, onset_ms - BEFORE * MINUTE_MS, onset_ms + AFTER * MINUTE_MS, moved)
    incident = Incident(
        id="inc-window",
        revision=1,
        scope="nezha",
        phase=Phase.OPEN,
        severity=Severity.WARNING,
        title="",
        opened_ms=onset_ms,
        updated_ms=onset_ms,
        resolved_ms=None,
        entities=tuple(sorted({one.entity for one in anomalies})),
        anomalies=anomalies,
        changes=(),
        transitions=(),
        ranking=Ranking((), "not ranked yet"),
    )
    return RankerConfig(max_causes=100).build().rank(incident, _topology(frames), history)


def _case(day: Day, fault: Fault) -> dict[str, Any]:
    ranking = rank(day, fault)
    services = [one.entity for one in ranking.causes if is_service(one.entity)]
    return {
        "protocol": "window",
        "day": day.name,
        "system": day.system,
        "at_ms": fault.at_ms,
        "fault": fault.kind,
        "truth": _short(fault.entity),
        "rank": services.index(fault.entity) + 1 if fault.entity in services else None,
        "first": [_short(one) for one in services[:5]],
        "abstained": ranking.abstained,
    }


def _share(cases: Sequence[Mapping[str, Any]], k: int) -> float:
    hits = [one["rank"] is not None and one["rank"] <= k for one in cases]
    return sum(hits) / len(hits) if hits else float("nan")


def _around(day: Day, fault: Fault) -> dict[Kind, pl.DataFrame]:
    """Return the rows around a fault, and the fault-free minute as the first of the minutes before."""
    start, end = fault.at_ms - BEFORE * MINUTE_MS, fault.at_ms + AFTER * MINUTE_MS
    frames: dict[Kind, pl.DataFrame] = {}
    for kind, frame in day.frames.items():
        rows = between(frame, start, end)
        if kind != "metrics":
            rows = _with_reference(day, kind, _without_others(rows, day, fault), start)
        frames[kind] = rows
    return {kind: frame for kind, frame in frames.items() if not frame.is_empty()}


def _without_others(rows: pl.DataFrame, day: Day, fault: Fault) -> pl.DataFrame:
    """Return the rows without the minutes of earlier faults, which are no normal ones."""
    for other in day.faults:
        if other.at_ms < fault.at_ms:
            until = min(other.at_ms + AFTER * MINUTE_MS, fault.at_ms)
            rows = rows.filter(~pl.col("ts_ms").is_between(other.at_ms, until, closed="left"))
    return rows


def _with_reference(day: Day, kind: Kind, rows: pl.DataFrame, at_ms: int) -> pl.DataFrame:
    """Return the rows with the fault-free minute at `at_ms` in place of what was there."""
    if kind not in day.reference:
        return rows
    minute = main_minute(day.reference)
    normal = shifted(between(day.reference[kind], minute, minute + MINUTE_MS), at_ms - minute, "normal")
    later = rows.filter(pl.col("ts_ms") >= at_ms + MINUTE_MS)
    return pl.concat([normal, later]).sort("ts_ms", maintain_order=True)


def _features(frames: Mapping[Kind, pl.DataFrame]) -> pl.DataFrame:
    """Return what the engine makes of the rows: start_ms, entity, indicator, form, value, text."""
    config = engine_config(Settings(), resolution_ms=MINUTE_MS, keep_history=True)
    # one detector, because the engine asks for one; of its answer only the values are looked at
    detect = replace(config.detect, detectors=config.detect.detectors[:1])
    config = replace(config, detect=detect, fit=replace(config.fit, fitters=()))
    parts: list[pl.DataFrame] = []

    def take(message: Message) -> None:
        if isinstance(message.payload, pl.DataFrame):
            parts.append(message.payload.select("start_ms", "entity", "indicator", "form", "value", "text"))

    replay(config, HeldSource(frames), lambda _: None, tap=take)
    return pl.concat(parts)


def _topology(frames: Mapping[Kind, pl.DataFrame]) -> Topology:
    """Return who calls whom by the spans around the fault."""
    topology = Topology()
    if "spans" in frames:
        spans = frames["spans"]
        parents = spans.select("trace_id", parent_span_id="span_id", caller="entity")
        pairs = spans.join(parents, on=["trace_id", "parent_span_id"]).filter(pl.col("caller") != pl.col("entity"))
        for caller, callee in pairs.select("caller", "entity").unique().sort("caller", "entity").iter_rows():
            topology.add(Edge(caller, callee, "calls"), 0)
    return topology


def _short(entity: str) -> str:
    return entity.rsplit("/", 1)[1]
