"""`opsbrain bench bomb`: a label explodes into millions of values. Does it cost anybody but its own metric?

The same calm series go through the whole pipeline (decoder, windows, detectors, scope), alone and beside a metric whose
label takes a new value in every sample. Wanted: memory within what the limit allows, an alarm that names the metric,
and the calm series' features equal to the byte.
"""

from __future__ import annotations

import hashlib
import resource
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import polars as pl

from benchmarks.asked import whole
from engine.messages import FEATURES, Message
from engine.repeats import identified_by_request
from engine.runners.embedded import Pipeline
from engine.types import Records
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.settings_load import load_settings
from opsbrain.wiring import engine_config

LABEL_SETS: Final = 10_000_000
WINDOWS: Final = 10
CALM_SERIES: Final = 2_000
METRIC: Final = "http_requests_by_user"
_START_MS: Final = 1_755_856_800_000
_BATCH: Final = 20_000
_INPUT: Final = "metrics"


def run(data: Path | None = None) -> dict[str, Any]:
    """Return what the explosion did. OPSBRAIN_BOMB_LABEL_SETS asks for another size; `data` is not used."""
    label_sets = whole("OPSBRAIN_BOMB_LABEL_SETS", LABEL_SETS, 1)
    limit = whole("OPSBRAIN_BOMB_LIMIT", 100_000, 1)
    calm = _run(0, limit)
    before_mb = _peak_mb()
    bombed = _run(label_sets, limit)
    return {
        "name": "bomb",
        "version": version("opsbrain"),
        "data": {"label_sets": label_sets, "calm_series": CALM_SERIES, "windows": WINDOWS, "limit": limit},
        "metrics": {
            "others_equal": calm["others"] == bombed["others"],
            "alarm_metrics": ",".join(bombed["alarms"]),
            "dropped_rows": bombed["dropped"],
            "peak_rss_mb": round(_peak_mb(), 1),
            "grown_mb": round(_peak_mb() - before_mb, 1),
            "seconds": round(bombed["seconds"], 1),
            "label_sets_per_s": round(label_sets / bombed["seconds"]),
        },
        "cases": [calm, bombed],
    }


def _run(label_sets: int, limit: int) -> dict[str, Any]:
    settings = load_settings(None, {}, [f"pipeline.max_series_per_metric={limit}", "identity.scope=bench"])
    pipeline = Pipeline(engine_config(settings), {_INPUT: "metrics"}, ("bench",), lambda _: None)
    step = pipeline.windows[_INPUT]
    others = hashlib.sha256()
    alarms: set[str] = set()
    taken = step.on_records

    def on_records(records: Records) -> list[Message]:
        messages = taken(records)
        _look(messages, others, alarms)
        return messages

    step.on_records = on_records  # type: ignore[method-assign]
    format = format_of("prometheus-adapter", Identity("bench"))
    began_s, offset = time.perf_counter(), 0
    for bodies in _messages(label_sets):
        offsets = range(offset, offset + len(bodies))
        decoded = format.decode(bodies, offsets, _INPUT)
        rows = identified_by_request(decoded.rows, offsets, [0] * len(bodies))
        offset += len(bodies)
        pipeline.feed(Records("metrics", rows, _INPUT, offset), decoded.letters, decoded.dropped)
    pipeline.end(_INPUT)
    return {
        "label_sets": label_sets,
        "others": others.hexdigest(),
        "alarms": sorted(alarms),
        "crowded": dict(step.crowded),
        "dropped": sum(step.dropped.values()),
        "accepted": step.counts["accepted"],
        "seconds": time.perf_counter() - began_s,
    }


def _look(messages: Sequence[Message], others: Any, alarms: set[str]) -> None:
    """Take the calm series' partials into the hash, and the alarms' metrics into the set."""
    for message in messages:
        partials = message.payload
        if message.stream != FEATURES or not isinstance(partials, pl.DataFrame):
            continue
        exploded = pl.col("indicator").str.starts_with(METRIC)
        alarm = pl.col("indicator").str.starts_with("event.LabelCardinality:")
        alarms.update(partials.filter(alarm)["indicator"].str.split(":").list.last())
        rest = partials.filter(~exploded & ~alarm)
        others.update(repr(rest.rows()).encode())


def _messages(label_sets: int) -> Iterator[list[bytes]]:
    """Yield batches of samples in time order: in each window the calm series twice, and a share of the explosion."""
    share = label_sets // WINDOWS
    for window in range(WINDOWS):
        at_s = _START_MS // 1000 + 60 * window
        yield _calm(at_s, window)
        for start in range(0, share, _BATCH):
            yield [_exploded(at_s + 20, window * share + n) for n in range(start, min(start + _BATCH, share))]
        yield _calm(at_s + 40, window)


def _calm(at_s: int, window: int) -> list[bytes]:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
    return [
        f'{{"timestamp":"{stamp}","value":"{(n * 7 + window * 3) % 101}","name":"memory_used","labels":{{"__name__":'
        f'"memory_used","namespace":"shop","pod":"service{n % 200}-5f6585c9d8-fnmft","part":"p{n // 200}"}}}}'.encode()
        for n in range(CALM_SERIES)
    ]


def _exploded(at_s: int, number: int) -> bytes:
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at_s))
    return (
        f'{{"timestamp":"{stamp}","value":"1","name":"{METRIC}","labels":{{"__name__":"{METRIC}","namespace":"shop",'
        f'"pod":"service7-5f6585c9d8-fnmft","user":"u{number}"}}}}'
    ).encode()


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
