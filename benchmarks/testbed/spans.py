"""Spans of one pod: ids, the trace header between services, and the file that a collector would read."""

import itertools
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SpanContext:
    """Names a span for its children. `span_id` is empty where a trace begins."""

    trace_id: str
    span_id: str

    def header(self) -> str:
        """Return the W3C `traceparent` header."""
        return f"00-{self.trace_id}-{self.span_id}-01"


def parse_header(text: str) -> SpanContext | None:
    """Return the caller's context, or None where the header is absent or malformed."""
    parts = text.split("-")
    if len(parts) != 4 or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    return SpanContext(parts[1], parts[2])


class Tracer:
    """Gives ids and writes finished spans, one JSON object a line, safe for many threads.

    Ids are a prefix of the pod and a counter: unique, and they compress well.
    """

    def __init__(self, path: Path, prefix: str, resource: Mapping[str, str]) -> None:
        self._prefix = prefix[:8]
        self._resource = dict(resource)
        self._counter = itertools.count(1)
        self._lock = threading.Lock()
        self._file = path.open("a", encoding="utf-8", buffering=1)

    def new_trace(self) -> SpanContext:
        """Begin a trace."""
        return SpanContext(f"{self._prefix}{next(self._counter):024x}", "")

    def child(self, parent: SpanContext) -> SpanContext:
        """Return the context of a new span below `parent`."""
        return SpanContext(parent.trace_id, f"{self._prefix}{next(self._counter):08x}")

    def finish(
        self, span: SpanContext, parent: SpanContext, kind: str, name: str, start_ns: int, end_ns: int, ok: bool
    ) -> None:
        """Write one finished span; `kind` is `server` or `client`."""
        line = json.dumps(
            {
                "trace_id": span.trace_id,
                "span_id": span.span_id,
                "parent_span_id": parent.span_id or None,
                "name": name,
                "kind": kind,
                "start_time_unix_nano": start_ns,
                "end_time_unix_nano": end_ns,
                "status": "ok" if ok else "error",
                "resource": self._resource,
            },
            separators=(",", ":"),
        )
        with self._lock:
            self._file.write(line + "\n")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()
