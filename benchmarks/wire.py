"""Writes rows as shippers would send them, so that recorded data can take the way of live telemetry.

`decode(encode(rows)) == rows` for rows that the format can carry (offsets are the broker's to give): logs whose
severity and signature follow from their text, gauges at whole seconds, spans that end at whole milliseconds. What a
format cannot carry is a DataError, never another row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final

import polars as pl

from engine.errors import DataError
from engine.schemas import Kind

FORMAT_OF: Final[dict[Kind, str]] = {"logs": "fluentbit", "metrics": "prometheus-adapter", "spans": "spans"}
"""The wire format in which `encode` writes each kind."""

_POD_SUFFIX: Final = "-5b67c48447-mv5hb"  # rows name the service, shippers a pod: any pod of that service will do
_LABEL: Final = re.compile(r'([^=,{}"]+)="((?:[^"\\]|\\.)*)",?')
_ESCAPED: Final = re.compile(r"\\(.)")


def encode(kind: Kind, rows: pl.DataFrame) -> list[bytes]:
    """Return one message a row, in order; raise DataError when a row does not fit the wire format of its kind."""
    if kind not in _ENCODERS:
        raise DataError(f"{kind}: there is no wire format to write them in; choose {', '.join(sorted(_ENCODERS))}")
    return _ENCODERS[kind](rows)


def fluentbit(rows: pl.DataFrame) -> list[bytes]:
    """Return log rows as Fluent Bit's `kafka` output writes them."""
    senders = {entity: _json(_kubernetes(entity)) for entity in rows["entity"].unique()}
    return [
        f'{{"@timestamp":{ts_ms / 1000!r},"stream":"stdout","log":{_json(body)},"kubernetes":{sender}}}'.encode()
        for ts_ms, body, sender in zip(rows["ts_ms"], rows["body"], map(senders.get, rows["entity"]), strict=True)
    ]


def prometheus_adapter(rows: pl.DataFrame) -> list[bytes]:
    """Return samples as prometheus-kafka-adapter writes them."""
    if rows.select((pl.col("ts_ms") % 1000 != 0).any()).item():
        raise DataError("metrics: the adapter writes whole seconds; round the times first")
    names = ("entity", "indicator", "instance", "form")
    series = {one: _series(*one) for one in rows.select(names).unique().iter_rows()}
    time = pl.from_epoch("ts_ms", time_unit="ms").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        f'{{"timestamp":"{stamp}","value":"{_number(value)}",{series[tuple(one)]}}}'.encode()
        for stamp, value, *one in rows.select(time, "value", *names).iter_rows()
    ]


def spans(rows: pl.DataFrame) -> list[bytes]:
    """Return spans as the `spans` format has them."""
    resources = {entity: _resource(entity) for entity in rows["entity"].unique()}
    encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
    return [
        encoder.encode(
            {
                "trace_id": row["trace_id"],
                "span_id": row["span_id"],
                "parent_span_id": row["parent_span_id"],
                "name": row["operation"],
                "kind": "internal",
                "start_time_unix_nano": row["ts_ms"] * 1_000_000 - round(row["duration_ms"] * 1e6),
                "end_time_unix_nano": row["ts_ms"] * 1_000_000,
                "status": "error" if row["error"] else "ok",
                "resource": resources[row["entity"]],
            }
        ).encode()
        for row in rows.iter_rows(named=True)
    ]


_ENCODERS: Final[dict[Kind, Callable[[pl.DataFrame], list[bytes]]]] = {
    "logs": fluentbit,
    "metrics": prometheus_adapter,
    "spans": spans,
}


def _kubernetes(entity: str) -> dict[str, str]:
    namespace, name = _service(entity)
    return {"pod_name": name + _POD_SUFFIX, "namespace_name": namespace}


def _resource(entity: str) -> dict[str, str]:
    namespace, name = _service(entity)
    return {"service.name": name, "k8s.namespace.name": namespace}


def _series(entity: str, indicator: str, instance: str, form: str) -> str:
    """Return the name and labels of a series, as JSON members."""
    if form != "gauge":
        raise DataError(f"metrics: {indicator} of {entity} is a {form}; only gauges are written")
    metric, brace, inside = indicator.partition("{")
    own = {key: _ESCAPED.sub(_unescaped, value) for key, value in _LABEL.findall(inside)} if brace else {}
    labels = {"__name__": metric, **_who(entity, instance), **own}
    return f'"name":{_json(metric)},"labels":{_json(labels)}'


def _who(entity: str, instance: str) -> dict[str, str]:
    kind = entity.split("/")[1]
    if kind == "node" and not instance:
        return {"node": entity.split("/", 3)[3]}
    namespace, name = _service(entity)
    return {"pod": instance, "namespace": namespace} if instance else {"service": name, "namespace": namespace}


def _service(entity: str) -> tuple[str, str]:
    _, kind, namespace, name = entity.split("/", 3)
    if kind != "service":
        raise DataError(f"{entity}: only services have a sender in this format")
    return namespace, name


def _number(value: float) -> str:
    return "NaN" if value != value else repr(value)


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else found[1]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
