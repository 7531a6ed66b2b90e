"""Opens OTLP requests: one `Export*ServiceRequest` a message, as protobuf or as JSON (also a line each).

The three signals share one shape, resources that hold scopes that hold items; what items are is the format's matter.
All requests of a batch lie in one stretch of bytes, so that numbers can be read out of it at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from ingest.otlp_json import to_protobuf
from ingest.protobuf import Malformed, fields, length_key, text
from ingest.refused import UNREADABLE, Refused, why
from ingest.split import TooDense, records_of

FIRST: Final = length_key(1)
SECOND: Final = length_key(2)
NOTHING: Final = "OTLP: a request that holds nothing"
_SPACE: Final = b" \t\r\n"
_BOM: Final = b"\xef\xbb\xbf"
_JSON: Final = msgspec.json.Decoder()

Bounds = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Request:
    """Where the protobuf of the message at `position` of the batch lies in the bytes of them all."""

    position: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Items:
    """The items (metrics, spans, log records) that one scope of one resource has in a request."""

    resource: bytes
    scope: str
    bounds: Sequence[Bounds]


def opened(bodies: Sequence[bytes], signal: str, refused: Refused) -> tuple[bytes, list[Request]]:
    """Return the requests of a batch and the bytes that they lie in; refuse what is not JSON and looks like it."""
    contents = [_protobuf(position, body, signal, refused) for position, body in enumerate(bodies)]
    ends = np.cumsum([len(content) for content in contents], dtype=np.int64).tolist()
    requests = [Request(at, end - len(contents[at]), end) for at, end in enumerate(ends)]
    return b"".join(contents), [request for request in requests if request.end > request.start]


def read_each(
    requests: Sequence[Request], refused: Refused, read: Callable[[Request], None], *columns: list[Any]
) -> None:
    """Let `read` add every request to `columns`; one that it says is Malformed, or that adds nothing, is refused."""
    for request in requests:
        before = [len(column) for column in columns]
        try:
            read(request)
        except Malformed as error:
            for column, length in zip(columns, before, strict=True):
                del column[length:]
            refused.add(request.position, str(error))
        else:
            if before == [len(column) for column in columns]:
                refused.add(request.position, NOTHING)


def resources_of(data: bytes, request: Request) -> Iterator[Bounds]:
    """Yield where the resources of a request lie, with all that they hold; raise Malformed where it is none."""
    known = False
    for key, a, b in fields(data, request.start, request.end):
        if key == FIRST:
            known = True
            yield a, b
    if not known:
        raise Malformed("OTLP: a request without any resource")


def items_of(data: bytes, request: Request) -> Iterator[Items]:
    """Yield the items of a request by resource and scope; raise Malformed where it is none."""
    for a, b in resources_of(data, request):
        yield from items_in(data, a, b)


def is_json(body: bytes) -> bool:
    """Return whether a body begins as JSON: with a brace, which no protobuf does.

    A line feed may also be protobuf's first byte, and the brace the length of its first resource.
    """
    head = body[:64].removeprefix(_BOM).lstrip(_SPACE)
    return head[:1] == b"{" and (body[:1] != b"\n" or not _is_protobuf(body))


def items_in(data: bytes, start: int, end: int) -> Iterator[Items]:
    """Yield the items of one resource of a request by scope; raise Malformed where it is none."""
    resource = b""
    scopes: list[Bounds] = []
    for key, a, b in fields(data, start, end):
        if key == SECOND:
            scopes.append((a, b))
        elif key == FIRST:
            resource += data[a:b]  # a message that comes in parts is their concatenation
    for a, b in scopes:
        yield _of_scope(data, resource, a, b)


def _of_scope(data: bytes, resource: bytes, start: int, end: int) -> Items:
    scope = ""
    bounds: list[Bounds] = []
    for key, a, b in fields(data, start, end):
        if key == SECOND:
            bounds.append((a, b))
        elif key == FIRST:
            scope = next((text(data, x, y) for field, x, y in fields(data, a, b) if field == FIRST), scope)
    return Items(resource, scope, bounds)


def _protobuf(position: int, body: bytes, signal: str, refused: Refused) -> bytes:
    """Return a body as protobuf; of JSON with many requests the lines that cannot be read are refused one by one."""
    if not is_json(body):
        return b"" if body.isspace() and not _is_protobuf(body) else body
    try:
        records = records_of(body)
    except TooDense as error:
        refused.add(position, str(error))
        return b""
    parts = []
    for record in records:
        try:
            parts.append(to_protobuf(_JSON.decode(record), signal))
        except (*UNREADABLE, Malformed) as error:
            reason = why(record, error)
            if len(records) == 1:
                refused.add(position, reason)
            else:
                refused.add_rows(position, reason)
    return b"".join(parts)


def _is_protobuf(body: bytes) -> bool:
    try:
        return all(key == FIRST for key, _, _ in fields(body))
    except Malformed:
        return False
