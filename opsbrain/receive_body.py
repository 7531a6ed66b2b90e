"""From the body of a request to messages: decompressed within a limit, and cut at the seams that shippers use.

Nothing is parsed further than to find the seams, and nothing is refused for what it says: a body that is no JSON is one
message, which becomes a dead letter where formats are known.
"""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from engine.errors import DataError

MAX_MESSAGES: Final = 100_000  # of one body: `[1,1,1,...]` must not cost a hundred times its size
LINE_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines", "application/json-lines")

_ANY: Final = msgspec.json.Decoder(msgspec.Raw)
_ARRAY: Final = msgspec.json.Decoder(list[msgspec.Raw])
_UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class TooLarge(DataError):
    """A body is larger than is taken; the sender should send smaller ones."""


class UnknownEncoding(DataError):
    """A body is compressed in a way that we do not undo."""


def decompressed(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return a body as it was before its Content-Encoding; raise TooLarge, or DataError when it cannot be undone."""
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "x-gzip"):
        raise UnknownEncoding(f"Content-Encoding {encoding[:40]!r} is not understood; send gzip or none")
    parts: list[bytes] = []
    left = max_bytes
    while body:  # a gzip body may be several members, one after another
        inflate = zlib.decompressobj(wbits=31)
        try:
            parts.append(inflate.decompress(body, left + 1))
        except zlib.error as error:
            raise DataError("the body is not gzip, or damaged") from error
        left -= len(parts[-1])
        if left < 0:
            raise TooLarge(f"the body is larger than {max_bytes:,} bytes when decompressed")
        if not inflate.eof:
            raise DataError("the gzip body is cut off")
        body = inflate.unused_data
    return b"".join(parts)


def messages_of(body: bytes, content_type: str) -> list[bytes]:
    """Return the messages of a body: of JSON lines, of a JSON array, or the one JSON value that it is.

    A body that is neither is one message. Raises TooLarge when there are more than MAX_MESSAGES.
    """
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if not body:
        return []
    if content_type.partition(";")[0].strip().lower() in LINE_TYPES:
        return _lines(body)
    if body[:1] == b"[":
        return _elements(body)
    if b"\n{" not in body and b"\n {" not in body:
        return [body]
    return [body] if _is_json(body) else _lines(body)


def _elements(body: bytes) -> list[bytes]:
    try:
        elements = _ARRAY.decode(body)
    except _UNREADABLE:
        return [body]
    return _limited([bytes(one) for one in elements])


def _lines(body: bytes) -> list[bytes]:
    return _limited([line for line in (one.strip() for one in body.split(b"\n")) if line])


def _is_json(body: bytes) -> bool:
    try:
        _ANY.decode(body)
    except _UNREADABLE:
        return False
    return True


def _limited(messages: list[bytes]) -> list[bytes]:
    if len(messages) > MAX_MESSAGES:
        raise TooLarge(f"the body holds {len(messages):,} messages; send at most {MAX_MESSAGES:,} at once")
    return messages
