"""The message types of Prometheus remote-write, as the official protobuf library makes them of their description.

What ours is compared with. Fields and numbers are those of prompb/types.proto, prompb/remote.proto and
prompb/io/prometheus/write/v2/types.proto of Prometheus 3.5. Needs the package `protobuf`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from engine.errors import SourceError

_SPAN: Final = {"offset": "1 sint32", "length": "2 uint32"}
_HISTOGRAM: Final = {
    "count_int": "1 uint64 count",
    "count_float": "2 double count",
    "sum": "3 double",
    "schema": "4 sint32",
    "zero_threshold": "5 double",
    "zero_count_int": "6 uint64 zero_count",
    "zero_count_float": "7 double zero_count",
    "negative_spans": "8 [BucketSpan]",
    "negative_deltas": "9 [sint64]",
    "negative_counts": "10 [double]",
    "positive_spans": "11 [BucketSpan]",
    "positive_deltas": "12 [sint64]",
    "positive_counts": "13 [double]",
    "reset_hint": "14 int32",  # an enum
    "timestamp": "15 int64",
    "custom_values": "16 [double]",
}
_V1: Final[dict[str, dict[str, str]]] = {
    "Label": {"name": "1 string", "value": "2 string"},
    "Sample": {"value": "1 double", "timestamp": "2 int64"},
    "Exemplar": {"labels": "1 [Label]", "value": "2 double", "timestamp": "3 int64"},
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "TimeSeries": {
        "labels": "1 [Label]",
        "samples": "2 [Sample]",
        "exemplars": "3 [Exemplar]",
        "histograms": "4 [Histogram]",
    },
    "MetricMetadata": {"type": "1 int32", "metric_family_name": "2 string", "help": "4 string", "unit": "5 string"},
    "WriteRequest": {"timeseries": "1 [TimeSeries]", "metadata": "3 [MetricMetadata]"},
}
_V2: Final[dict[str, dict[str, str]]] = {
    "Sample": {"value": "1 double", "timestamp": "2 int64", "start_timestamp": "3 int64"},
    "Exemplar": {"labels_refs": "1 [uint32]", "value": "2 double", "timestamp": "3 int64"},
    "BucketSpan": _SPAN,
    "Histogram": _HISTOGRAM,
    "Metadata": {"type": "1 int32", "help_ref": "3 uint32", "unit_ref": "4 uint32"},
    "TimeSeries": {
        "labels_refs": "1 [uint32]",
        "samples": "2 [Sample]",
        "histograms": "3 [Histogram]",
        "exemplars": "4 [Exemplar]",
        "metadata": "5 Metadata",
        "created_timestamp": "6 int64",
    },
    "Request": {"symbols": "4 [string]", "timeseries": "5 [TimeSeries]"},
}


@cache
def write_request() -> Any:
    """Return the class of 1.0's request; raise SourceError when protobuf is not installed."""
    return _class("prometheus.v1", _V1, "WriteRequest")


@cache
def request_v2() -> Any:
    """Return the class of 2.0's request; raise SourceError when protobuf is not installed."""
    return _class("prometheus.v2", _V2, "Request")


def _class(package: str, messages: dict[str, dict[str, str]], name: str) -> Any:
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ImportError as error:
        raise SourceError("the package protobuf is missing; it comes with the extra `dev`") from error
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for message, members in messages.items():
        described = file.message_type.add(name=message)
        for member, text in members.items():
            _add_field(described, member, text, package)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


def _add_field(message: Any, name: str, text: str, package: str) -> None:
    """Add a field as `number type [oneof]`, where a type in brackets repeats and a capital begins a message's name."""
    number, kind, *group = text.split()
    made = message.field.add(name=name, number=int(number), label=3 if kind.startswith("[") else 1)
    kind = kind.strip("[]")
    if kind[0].isupper():
        made.type, made.type_name = made.TYPE_MESSAGE, f".{package}.{kind}"
    else:
        made.type = getattr(made, f"TYPE_{kind.upper()}")
    if group:
        names = [one.name for one in message.oneof_decl]
        if group[0] not in names:
            message.oneof_decl.add(name=group[0])
            names.append(group[0])
        made.oneof_index = names.index(group[0])
