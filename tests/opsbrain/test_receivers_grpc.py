"""OTLP over gRPC: what the SDK sends is kept as it came, and refusals say whether to come again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from engine.errors import Retryable, SourceError
from opsbrain.endpoints import GRPC_METHODS
from opsbrain.keep import NoPlace, Unavailable
from opsbrain.otlp_grpc import OtlpServer
from opsbrain.receive_body import BodyLimits, Budget
from opsbrain.secrets import Secret
from opsbrain.settings import Http
from opsbrain.settings import Receivers as ReceiverSettings
from tests.opsbrain.doors import Doors

LOGS, METRICS, TRACES = GRPC_METHODS
Call = Callable[..., bytes]


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def caller(doors: Doors, stack: ExitStack) -> Call:
    """Return a function that calls a method with bytes."""
    channel = stack.enter_context(closing(grpc.insecure_channel(doors.grpc(stack))))
    return lambda method, body, **how: channel.unary_unary(method)(body, timeout=10, **how)


def refusal(call: Call, *arguments: object, **how: object) -> grpc.RpcError:
    with pytest.raises(grpc.RpcError) as refused:
        call(*arguments, **how)
    return refused.value


def retry_delay_s(error: grpc.RpcError) -> float | None:
    details = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if details is None:
        return None
    info = RetryInfo()
    assert Status.FromString(details).details[0].Unpack(info)
    return info.retry_delay.seconds + info.retry_delay.nanos / 1e9


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_messages_are_kept_as_they_came(stack: ExitStack, compression: grpc.Compression) -> None:
    doors = Doors()
    call = caller(doors, stack)
    for method in GRPC_METHODS:
        assert call(method, method.encode(), compression=compression) == b""
    assert doors.kept.bodies == [(format, method.encode()) for method, format in GRPC_METHODS.items()]
    assert call(LOGS, b"") == b"" and len(doors.kept.bodies) == 3
    assert doors.budget.taken_bytes == 0


def test_what_the_sdk_sends_is_what_is_kept(stack: ExitStack) -> None:
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    doors = Doors()
    exporter = OTLPSpanExporter(doors.grpc(stack), insecure=True)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("checkout").end()
    provider.shutdown()
    ((format, body),) = doors.kept.bodies
    spans = ExportTraceServiceRequest.FromString(body).resource_spans[0].scope_spans[0].spans
    assert (format, [one.name for one in spans]) == ("otlp-spans", ["checkout"])


def test_refusals_say_whether_and_when_to_come_again(stack: ExitStack) -> None:
    doors = Doors()
    call = caller(doors, stack)
    said = []
    for error in (Retryable("full", 2.5), Unavailable("away", 5.0), NoPlace("no topic")):
        doors.kept.refusal = error
        refused = refusal(call, LOGS, b"x")
        said.append((refused.code().name, refused.details(), retry_delay_s(refused)))
    assert said == [
        ("RESOURCE_EXHAUSTED", "full", 2.5),
        ("UNAVAILABLE", "away", 5.0),
        ("UNIMPLEMENTED", "no topic", None),
    ]
    assert doors.budget.taken_bytes == 0
    assert doors.tally.counts()["otlp-logs"]["UNAVAILABLE"] == 1


def test_only_who_bears_a_token_is_heard(stack: ExitStack) -> None:
    doors = Doors(Http(token=Secret("console")), ReceiverSettings(ingest_token=Secret("shipper")))
    call = caller(doors, stack)
    for metadata in (None, [("authorization", "Bearer wrong")], [("x-gitlab-token", "shipper")]):
        assert refusal(call, LOGS, b"x", metadata=metadata).code() is grpc.StatusCode.UNAUTHENTICATED
    assert doors.tally.counts()["otlp-logs"]["UNAUTHENTICATED"] == 3
    for metadata in ([("authorization", "Bearer shipper")], [("authorization", "Bearer console")]):
        assert call(LOGS, b"x", metadata=metadata) == b""
    assert len(doors.kept.bodies) == 2


def test_what_is_too_large_is_refused_however_small_it_comes(stack: ExitStack) -> None:
    doors = Doors()
    call = caller(doors, stack)
    for compression in (grpc.Compression.NoCompression, grpc.Compression.Gzip):
        refused = refusal(call, LOGS, b" " * 20_000, compression=compression)
        assert (refused.code(), retry_delay_s(refused)) == (grpc.StatusCode.RESOURCE_EXHAUSTED, None)
    assert doors.kept.bodies == []


def test_unknown_methods_and_formats_without_a_place_are_unimplemented(stack: ExitStack) -> None:
    call = caller(Doors(formats=("otlp-logs",)), stack)
    assert refusal(call, "/a.B/C", b"x").code() is grpc.StatusCode.UNIMPLEMENTED
    assert refusal(call, TRACES, b"x").code() is grpc.StatusCode.UNIMPLEMENTED


def test_too_much_at_once_may_come_again(stack: ExitStack) -> None:
    refused = refusal(caller(Doors(budget=Budget(100)), stack), LOGS, b"x" * 101)
    assert (refused.code().name, retry_delay_s(refused)) == ("RESOURCE_EXHAUSTED", 1.0)


def test_messages_that_do_not_come_hold_nobody_up(stack: ExitStack) -> None:
    doors = Doors(limits=BodyLimits(10_000, 0.2))
    address = doors.grpc(stack)
    over = threading.Event()
    stack.callback(over.set)

    def nothing() -> Iterator[bytes]:
        over.wait(30)
        yield from ()

    channel = stack.enter_context(closing(grpc.insecure_channel(address)))
    held = [channel.stream_unary(LOGS).future(nothing(), timeout=20) for _ in range(12)]
    begun = time.monotonic()
    assert channel.unary_unary(LOGS)(b"x", timeout=10) == b""
    assert time.monotonic() - begun < 8
    codes = {one.exception(timeout=10).code().name for one in held}
    assert codes <= {"CANCELLED", "UNAVAILABLE"}


def test_a_port_in_use_is_said(stack: ExitStack) -> None:
    doors = Doors()
    port = int(doors.grpc(stack).rpartition(":")[2])
    with pytest.raises(SourceError, match=r"receivers\.grpc_port"):
        OtlpServer("127.0.0.1", port, doors.kept, (), doors.rules, doors.tally)
