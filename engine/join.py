"""The join step: spans meet their parents, and who called whom comes out.

Spans are routed by trace, so both ends of a call are in one place. A parent usually ends after its child, often in a
later window: spans wait for `span_wait_ms`; a child whose parent never came is counted as an orphan.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from engine.messages import TOPOLOGY, Message
from engine.types import Inputs, Mark, State
from engine.watermark import Completeness


@dataclass(frozen=True, slots=True)
class JoinConfig:
    """How long spans wait for their other end."""

    resolution_ms: int = 60_000
    span_wait_ms: int = 60_000


_SPAN = pl.Schema(
    {
        "start_ms": pl.Int64,
        "trace_id": pl.String,
        "span_id": pl.String,
        "parent_span_id": pl.String,
        "entity": pl.String,
        "new": pl.Boolean,
    }
)


class JoinStep:
    """Joins the spans of the trace shards it owns. State: the spans of the last `span_wait_ms`."""

    def __init__(self, config: JoinConfig, shards: Sequence[int], resume: State | None = None) -> None:
        self._config = config
        self._shards = tuple(sorted(shards))
        self._complete = Completeness(resume["complete"] if resume else None)
        self._open: dict[int, dict[str, pl.DataFrame]] = {}
        self._waiting: pl.DataFrame = resume["waiting"] if resume else _SPAN.to_frame()
        self._closed = int(resume["closed"]) if resume else 0
        self.counts: Counter[str] = Counter(resume["counts"] if resume else {})
        for one in resume["open"] if resume else ():
            self._open.setdefault(one["start_ms"], {})[one["input"]] = one["frame"]

    def on_message(self, message: Message) -> list[Message]:
        """Take spans, a mark or the declared inputs; return the edges of the windows that can now close."""
        payload = message.payload
        if isinstance(payload, pl.DataFrame):
            start = int(payload["start_ms"][0])
            if start + self._config.resolution_ms > self._closed:
                mine = payload.filter(pl.col("shard").is_in(self._shards))
                self._open.setdefault(start, {})[message.key.rpartition("/")[0]] = mine
            return []
        if isinstance(payload, Inputs):
            self._complete.await_producers(n for n, res in payload.inputs.items() if res == self._config.resolution_ms)
        elif isinstance(payload, Mark) and payload.resolution_ms == self._config.resolution_ms:
            self._complete.advance(payload.producers, payload.watermark_ms)
        return self._advance()

    def snapshot(self) -> State:
        """Return all state."""
        return {
            "version": 1,
            "complete": self._complete.snapshot(),
            "open": [
                {"start_ms": start, "input": input, "frame": frame}
                for start, parts in sorted(self._open.items())
                for input, frame in sorted(parts.items())
            ],
            "waiting": self._waiting,
            "closed": self._closed,
            "counts": dict(sorted(self.counts.items())),
        }

    def _advance(self) -> list[Message]:
        complete = self._complete.complete_up_to()
        if complete is None or complete <= self._closed:
            return []
        messages: list[Message] = []
        for start in sorted(start for start in self._open if start + self._config.resolution_ms <= complete):
            parts = self._open.pop(start)
            messages += self._close(start, pl.concat([parts[input] for input in sorted(parts)]))
        self._closed = complete
        producers = tuple(f"join/{shard}" for shard in self._shards)
        mark = Mark(producers, self._config.resolution_ms, complete)
        return [*messages, Message(TOPOLOGY, f"{producers[0]}+{len(producers)}/{complete}", mark)]

    def _close(self, start: int, spans: pl.DataFrame) -> list[Message]:
        # a window of spans waits until `span_wait_ms` after its end; a span that comes again is known
        end = pl.col("start_ms") + self._config.resolution_ms
        waits = end + self._config.span_wait_ms > start
        kept, gone = self._waiting.filter(waits), self._waiting.filter(~waits)
        self.counts["orphans"] += gone.filter(pl.col("new") & pl.col("parent_span_id").is_not_null()).height
        ids = ["trace_id", "span_id"]
        new = spans.unique(ids, keep="first", maintain_order=True).with_columns(new=pl.lit(True))
        new = new.join(kept, on=ids, how="anti", maintain_order="left")
        together = pl.concat([kept, new.select(_SPAN.names())])
        parents = together.select("trace_id", parent_span_id="span_id", parent="entity")
        joined = together.join(parents, on=["trace_id", "parent_span_id"], how="left", maintain_order="left")
        met = joined["parent"].is_not_null() & joined["new"]
        # a child that met its parent is kept as a parent for others, but makes its edge only once
        self._waiting = joined.with_columns(new=pl.col("new") & ~met).select(_SPAN.names())
        calls = joined.filter(met & (joined["parent"] != joined["entity"]))
        edges = calls.group_by(source="parent", target="entity").agg(n=pl.len().cast(pl.Int64)).sort("source", "target")
        edges = edges.with_columns(
            scope=pl.col("source").str.split("/").list.first(), start_ms=pl.lit(start, pl.Int64), kind=pl.lit("calls")
        )
        return [
            Message(TOPOLOGY, f"{scope}/{start}/{self._shards[0]}", part, scope=str(scope))
            for (scope,), part in sorted(edges.partition_by("scope", as_dict=True, maintain_order=True).items())
        ]
