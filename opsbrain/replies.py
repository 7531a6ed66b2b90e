"""How each protocol wants its answers: ours, OTLP's, and remote-write's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

PROTOBUF: Final = "application/x-protobuf"
JSON: Final = "application/json"

# google.rpc.Code, by HTTP status (https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto)
_CODES: Final = {400: 3, 401: 16, 403: 7, 404: 5, 413: 3, 415: 3, 429: 8, 503: 14}
_RETRY_INFO: Final = b"type.googleapis.com/google.rpc.RetryInfo"

# Senders that drop, by default, what is answered 429, and send again what is answered 503: Prometheus (unless
# `retry_on_http_429`), the OpenTelemetry SDK for Python before 1.45, and Alertmanager.
_DROP_429: Final = ("Prometheus/", "OTel-OTLP-Exporter-Python/", "Alertmanager/")


class Reply(Protocol):
    """The answers of one protocol."""

    def accepted(self, request: Request, told: Mapping[str, str]) -> Response:
        """Return the answer to what is durable now; `told` are headers that the protocol wants."""

    def refused(self, request: Request, status: int, why: str, retry_after_s: float | None) -> Response:
        """Return the answer to what was not kept, and when to come again."""


class OursReply:
    """202 {"received": n}, or {"error": why}."""

    def accepted(self, request: Request, told: Mapping[str, str]) -> Response:
        """Return 202."""
        return JSONResponse({"received": int(told.get("received", 1))}, 202)

    def refused(self, request: Request, status: int, why: str, retry_after_s: float | None) -> Response:
        """Return the status with the reason as JSON."""
        return JSONResponse({"error": why}, status, retry_header(retry_after_s))


class RemoteWriteReply:
    """204 with what was written, or the reason as text, which Prometheus logs."""

    def accepted(self, request: Request, told: Mapping[str, str]) -> Response:
        """Return 204."""
        return Response(status_code=204, headers=dict(told))

    def refused(self, request: Request, status: int, why: str, retry_after_s: float | None) -> Response:
        """Return the status with the reason as one line of text."""
        return PlainTextResponse(f"{why}\n", status, retry_header(retry_after_s))


class OtlpReply:
    """An Export*ServiceResponse, all of which are empty where all was taken, or a google.rpc.Status."""

    def accepted(self, request: Request, told: Mapping[str, str]) -> Response:
        """Return 200 in the encoding of the request."""
        encoding = media_of(request.headers)
        return Response(b"{}" if encoding == JSON else b"", 200, media_type=encoding)

    def refused(self, request: Request, status: int, why: str, retry_after_s: float | None) -> Response:
        """Return the status with a Status in the encoding of the request."""
        code = _CODES.get(status, 2)
        if media_of(request.headers) == JSON:
            body, media = json.dumps({"code": code, "message": why}).encode(), JSON
        else:
            body, media = rpc_status(code, why), PROTOBUF
        return Response(body, status, retry_header(retry_after_s), media)


def media_of(headers: Mapping[str, str]) -> str:
    """Return the media type of a request without its parameters."""
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def busy_status(user_agent: str) -> int:
    """Return the status that makes a sender come again: 429, or 503 for those who drop what gets 429."""
    return 503 if user_agent.startswith(_DROP_429) else 429


def retry_header(retry_after_s: float | None) -> dict[str, str]:
    """Return the Retry-After header, in whole seconds."""
    return {} if retry_after_s is None else {"retry-after": str(math.ceil(retry_after_s))}


def rpc_status(code: int, message: str, retry_after_s: float | None = None) -> bytes:
    """Return a google.rpc.Status in protobuf, with a RetryInfo where a time is given."""
    body = _varint_field(1, code) + _field(2, message.encode())
    if retry_after_s is None:
        return body
    seconds, nanos = divmod(round(retry_after_s * 1e9), 1_000_000_000)
    delay = _varint_field(1, seconds) + _varint_field(2, nanos)
    return body + _field(3, _field(1, _RETRY_INFO) + _field(2, _field(1, delay)))


def _field(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value) if value else b""


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
