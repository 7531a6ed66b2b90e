"""OTLP over gRPC: the three Export methods as they come off the wire, without generated code.

UNAUTHENTICATED         no token
RESOURCE_EXHAUSTED      too large; or, with RetryInfo, the journal or memory is full: send the same again
UNAVAILABLE             with RetryInfo: the disk or the broker fails, or the message was too slow in coming
UNIMPLEMENTED           no place for this kind

What is too large is refused within gRPC, which tells us no more than that the call is over: it is counted as
UNAVAILABLE, like a call that its sender gave up.

Source: https://opentelemetry.io/docs/specs/otlp/, OTLP/gRPC.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from engine.errors import DataError, Retryable, SourceError
from opsbrain.access import INGEST, Access
from opsbrain.endpoints import GRPC_METHODS
from opsbrain.keep import Keep, NoPlace, TooLarge, Unavailable
from opsbrain.listening import listening
from opsbrain.receive_body import BUSY_S
from opsbrain.receivers import Rules
from opsbrain.replies import rpc_status
from opsbrain.tally import Tally

if TYPE_CHECKING:
    import grpc

    Behaviour = Callable[[Iterator[bytes], grpc.ServicerContext], bytes]

_STATUS_DETAILS: Final = "grpc-status-details-bin"
_WORKERS: Final = (2, 8)  # each holds one message; more senders wait, and their messages with them


class OtlpServer:
    """Takes Export requests, whole, to where they are kept. Nothing is answered before `start`."""

    def __init__(self, host: str, port: int, keep: Keep, formats: tuple[str, ...], rules: Rules, tally: Tally) -> None:
        """Bind `port` (0: a free one); raise SourceError when it cannot be had."""
        import grpc

        if port:  # gRPC would say on standard error, in its own words, that it is taken
            listening(host, port, "receivers.grpc_port (0: off)").close()
        limit = rules.limits.max_bytes
        workers = min(max(rules.budget.max_bytes // 2 // limit, _WORKERS[0]), _WORKERS[1])
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="otlp")
        options = [("grpc.max_receive_message_length", limit), ("grpc.so_reuseport", 0)]
        self._server = grpc.server(self._pool, [_handler(_Exports(keep, formats, rules, tally))], options=options)
        self._host = host
        named = f"[{host.strip('[]')}]" if ":" in host else host
        try:
            self.port = self._server.add_insecure_port(f"{named}:{port}")
        except RuntimeError as error:
            self.stop(0)
            raise SourceError(f"{named}:{port}: cannot listen for gRPC; set receivers.grpc_port (0: off)") from error

    def start(self) -> None:
        """Begin to answer."""
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """Take nothing new, wait so long for what is under way, then cut it off."""
        self._server.stop(grace_s).wait(grace_s + 1)
        self._pool.shutdown(wait=False, cancel_futures=True)


class _Exports:
    """The three Export methods."""

    def __init__(self, keep: Keep, formats: tuple[str, ...], rules: Rules, tally: Tally) -> None:
        self._keep = keep
        self._formats = formats
        self._rules = rules
        self._tally = tally

    @property
    def access(self) -> Access:
        """Return who may call."""
        return self._rules.access

    def stranger(self, method: str, borne: Mapping[str, str]) -> Behaviour:
        """Return what refuses a call that bears no token that fits; its message is never read."""

        def refuse(requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
            import grpc

            what, why = self.access.why_not(INGEST, borne)
            self._tally.add(GRPC_METHODS[method], grpc.StatusCode.UNAUTHENTICATED.name)
            self._tally.stranger(method, what)
            _refuse(context, grpc.StatusCode.UNAUTHENTICATED, why, None)
            return b""

        return refuse

    def export(self, format: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Take one message; ends by an exception of gRPC's when it is not kept."""
        import grpc

        code, why, retry_after_s = grpc.StatusCode.OK, "", None
        try:
            self._take(format, requests, context)
        except Retryable as error:
            away = isinstance(error, Unavailable)
            code = grpc.StatusCode.UNAVAILABLE if away else grpc.StatusCode.RESOURCE_EXHAUSTED
            why, retry_after_s = str(error), error.retry_after_s
        except NoPlace as error:
            code, why = grpc.StatusCode.UNIMPLEMENTED, str(error)
        except TooLarge as error:
            code, why = grpc.StatusCode.RESOURCE_EXHAUSTED, str(error)
        except DataError as error:
            code, why = grpc.StatusCode.INVALID_ARGUMENT, str(error)
        if code is not grpc.StatusCode.OK:
            self._tally.add(format, code.name)
            _refuse(context, code, why, retry_after_s)
        return b""  # an Export*ServiceResponse that says: all of it

    def _take(self, format: str, requests: Iterator[bytes], context: grpc.ServicerContext) -> None:
        if format not in self._formats:
            raise NoPlace(f"format {format} is not known here")
        body = self._message(requests, context)
        with self._rules.budget.holding() as held:
            held.take(len(body))
            if body:
                self._keep.keep(format, body)
                self._tally.add(format, "kept", len(body))

    def _message(self, requests: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        """Return the message, if it comes in time: a worker must not wait for it forever."""
        import grpc

        timer = threading.Timer(self._rules.limits.timeout_s, context.cancel)
        timer.daemon = True
        timer.start()
        try:
            body = next(requests, None)
        except grpc.RpcError as error:
            raise Unavailable("the call was given up before its message was whole", BUSY_S) from error
        finally:
            timer.cancel()
        if body is None:
            raise DataError("the call holds no message")
        return body


def _handler(exports: _Exports) -> Any:
    import grpc

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
            format = GRPC_METHODS.get(details.method)
            if format is None:
                return None
            borne = {name: value for name, value in details.invocation_metadata if isinstance(value, str)}
            opened = exports.access.opens(INGEST, borne)
            behaviour = partial(exports.export, format) if opened else exports.stranger(details.method, borne)
            # as a stream of one: so a stranger's message is never read, and a slow one can be given up
            return grpc.stream_unary_rpc_method_handler(behaviour)

    return Handler()


def _refuse(context: grpc.ServicerContext, code: grpc.StatusCode, why: str, retry_after_s: float | None) -> None:
    if retry_after_s is not None:
        context.set_trailing_metadata(((_STATUS_DETAILS, rpc_status(code.value[0], why, retry_after_s)),))
    context.abort(code, why)
