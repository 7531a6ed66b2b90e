"""The six kinds of Records and the polars schema of each.

Every kind begins with the same three columns:

- `ts_ms`   event time, Unix milliseconds, as the sender stamped it (spans: their end; costs: when they became known)
- `offset`  position of the row's message in its input partition (several rows of one message share it)
- `entity`  `scope/kind/namespace/name` of what the row is about (see `ingest.identity`)

and ends with

- `identity`  what makes a row itself, together with its `ts_ms`, as a hash (`engine.ids.identity_of`): a metric's whole
  label set, a span's ids, an event's UID and count; 0 where it has nothing of the kind
"""

from __future__ import annotations

from typing import Final, Literal

import polars as pl

from engine.errors import DataError

Kind = Literal["metrics", "logs", "events", "spans", "costs", "objects"]
KINDS: Final[tuple[Kind, ...]] = ("metrics", "logs", "events", "spans", "costs", "objects")

_COMMON: Final[dict[str, type[pl.DataType]]] = {"ts_ms": pl.Int64, "offset": pl.Int64, "entity": pl.String}
_LAST: Final[dict[str, type[pl.DataType]]] = {"identity": pl.UInt64}

SCHEMAS: Final[dict[Kind, pl.Schema]] = {
    # form: "gauge" (a level), "counter" (only grows, resets to 0) or "delta" (how much a counter grew since its row
    # before); value may be NaN (missing), never null;
    # instance: which replica said it (a pod, a host:port), "" if there is only one: counters of replicas must not mix
    "metrics": pl.Schema(
        _COMMON | {"indicator": pl.String, "instance": pl.String, "form": pl.String, "value": pl.Float64} | _LAST
    ),
    # severity: trace, debug, info, warn, error, fatal; body is scrubbed; signature is body with its variables masked
    "logs": pl.Schema(_COMMON | {"severity": pl.String, "body": pl.String, "signature": pl.String} | _LAST),
    # reason in the sender's words (BackOff); type: Normal or Warning; count: occurrences this row stands for
    "events": pl.Schema(
        _COMMON
        | {"reason": pl.String, "type": pl.String, "message": pl.String, "count": pl.Int64, "uid": pl.String}
        | _LAST
    ),
    # parent_span_id is null for a root; error is the span's own status
    "spans": pl.Schema(
        _COMMON
        | {
            "trace_id": pl.String,
            "span_id": pl.String,
            "parent_span_id": pl.String,
            "operation": pl.String,
            "duration_ms": pl.Float64,
            "error": pl.Boolean,
        }
        | _LAST
    ),
    # what was spent on `entity` in [period_start_ms, period_end_ms); the same period with another amount is a revision
    "costs": pl.Schema(
        _COMMON
        | {"period_start_ms": pl.Int64, "period_end_ms": pl.Int64, "amount_usd": pl.Float64, "estimated": pl.Boolean}
        | _LAST
    ),
    # one Kubernetes object as it was at ts_ms; manifest is canonical JSON without secret values
    "objects": pl.Schema(
        _COMMON
        | {
            "api_version": pl.String,
            "object_kind": pl.String,
            "namespace": pl.String,
            "name": pl.String,
            "manifest": pl.String,
            "deleted": pl.Boolean,
        }
        | _LAST
    ),
}


def empty(kind: Kind) -> pl.DataFrame:
    """Return a frame of `kind` without rows."""
    return pl.DataFrame(schema=SCHEMAS[kind])


def conform(kind: Kind, frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` with the columns of `kind` in their order, or raise DataError naming what does not fit.

    A frame without `identity` holds rows that have none.
    """
    schema = SCHEMAS[kind]
    if "identity" not in frame.columns:
        frame = frame.with_columns(identity=pl.lit(0, pl.UInt64))
    missing = [name for name in schema if name not in frame.columns]
    if missing:
        raise DataError(f"{kind}: missing columns {', '.join(missing)}")
    try:
        return frame.select(pl.col(name).cast(dtype) for name, dtype in schema.items())
    except pl.exceptions.InvalidOperationError as error:
        raise DataError(f"{kind}: {error}") from error
