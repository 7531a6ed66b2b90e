"""The HTTP receivers; a 2xx answer means that the body is durable: in the journal, or acknowledged by Kafka.

POST /api/v1/write              Prometheus remote-write 1.0 and 2.0: 204
POST /v1/{logs,metrics,traces}  OTLP/HTTP, protobuf or JSON: 200
POST /fluentbit, /events, /hooks/{gitlab,github,argocd,alertmanager,terraform,junit,cloudtrail,falco}, /receive/{format}
                                202 {"received": n}, the number of records, or 1 for a body that is large or no JSON;
                                what becomes of them, late and dead letters too, is counted later

What is refused is not kept:
400                             the body cannot be read
401                             GitHub's signature is wrong
404                             no such format, or no place for it
413                             larger than `http.max_body_mb`, or than Kafka takes
415                             a type or an encoding that is not taken
429, 503, with Retry-After      the journal or memory is full, or the disk or the broker fails: send the same again
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from engine.errors import DataError, Retryable
from ingest.split import TooDense, records_of
from opsbrain.access import GITHUB, Access
from opsbrain.endpoints import ENDPOINTS, EVENTS, OTLP, REMOTE_WRITE, events_format
from opsbrain.github_form import FORM, payload_of
from opsbrain.keep import Keep, NoPlace, TooLarge, Unavailable
from opsbrain.receive_body import BodyLimits, Budget, Held, UnknownEncoding, decompressed, read_body
from opsbrain.remote_write_http import PROTO_2, message_of, undone, written
from opsbrain.replies import (
    JSON,
    PROTOBUF,
    OtlpReply,
    OursReply,
    RemoteWriteReply,
    Reply,
    busy_status,
    media_of,
)
from opsbrain.tally import Tally

_GITHUB: Final = "/hooks/github"
_THREADS: Final = 32  # each waits for the disk or the broker; the console has threads of its own
_UNSIGNED_SHARE: Final = 4  # of memory that may hold bodies whose signature is looked at when they are whole
_COUNTED_BYTES: Final = 1 << 18
_JSON_START: Final = (b"{", b"[", b"\xef\xbb\xbf")

Told = Mapping[str, str]


class BadSignature(DataError):
    """A body is not signed by who says so."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What receivers hold requests to."""

    access: Access
    limits: BodyLimits
    budget: Budget


class Receivers:
    """Takes the bodies of requests, whole, to where they are kept."""

    def __init__(self, keep: Keep, formats: Sequence[str], rules: Rules, tally: Tally | None = None) -> None:
        """Take bodies of these `formats`; endpoints of others answer 404."""
        self._keep = keep
        self._formats = tuple(formats)
        self._rules = rules
        self._tally = tally or Tally()
        self._unsigned = Budget(rules.budget.max_bytes // _UNSIGNED_SHARE)
        self._threads: anyio.CapacityLimiter | None = None

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        ours = {path: name for path, name in ENDPOINTS.items() if path not in OTLP and path != REMOTE_WRITE}
        return [
            _post(REMOTE_WRITE, partial(self._take, RemoteWriteReply(), self._remote_write)),
            *(_post(path, partial(self._take, OtlpReply(), partial(self._otlp, name))) for path, name in OTLP.items()),
            *(_post(path, partial(self._take, OursReply(), partial(self._ours, name))) for path, name in ours.items()),
            _post("/receive/{format}", partial(self._take, OursReply(), partial(self._ours, ""))),
        ]

    async def _take(self, reply: Reply, work: Work, request: Request) -> Response:
        """Answer one request; every way in which it may fail is here."""
        retry_after_s: float | None = None
        try:
            with self._rules.budget.holding() as held:
                return reply.accepted(request, await work(request, held))
        except Retryable as error:
            agent = request.headers.get("user-agent", "")
            status = 503 if isinstance(error, Unavailable) else busy_status(agent)
            retry_after_s, why = error.retry_after_s, str(error)
        except (DataError, NoPlace) as error:
            status, why = _STATUS.get(type(error), 400), str(error)
            if isinstance(error, BadSignature):
                self._tally.stranger(request.url.path, "wrong signature")
        except ClientDisconnect:
            status, why = 400, "the connection was closed before the body was whole"
        self._tally.add(self._format_of(request), str(status))
        return reply.refused(request, status, why, retry_after_s)

    async def _remote_write(self, request: Request, held: Held) -> Told:
        proto = message_of(request.headers)
        block = await self._whole(request, held)

        def keep() -> Told:
            message = undone(block, self._rules.limits.max_bytes, held.take)
            told = written(message) if proto == PROTO_2 else {}
            self._kept(ENDPOINTS[REMOTE_WRITE], block, records=len(message))
            return told

        return await self._in_thread(keep)

    async def _otlp(self, name: str, request: Request, held: Held) -> Told:
        if media_of(request.headers) not in (JSON, PROTOBUF):
            raise UnknownEncoding(f"Content-Type: send {PROTOBUF} or {JSON}")
        raw = await self._whole(request, held)

        def keep() -> Told:
            body = self._undone(raw, request, held)
            return self._kept(name, body, records=len(body))

        return await self._in_thread(keep)

    async def _ours(self, name: str, request: Request, held: Held) -> Told:
        name = name or request.path_params["format"]
        self._check_known(name)
        path = request.url.path
        raw = await (self._signed(request, held) if path == _GITHUB else self._whole(request, held))
        if (
            path == _GITHUB and request.headers.get("x-github-event") == "ping"
        ):  # sent once, when a hook is set up; says nothing
            return {"received": "0"}

        def keep() -> Told:
            body = self._undone(raw, request, held)
            if name == GITHUB and media_of(request.headers) == FORM:
                body = payload_of(body, held.take)
            return self._kept(events_format(body) if path == EVENTS else name, body, _records(body))

        return await self._in_thread(keep)

    async def _whole(self, request: Request, held: Held) -> bytes:
        return await read_body(request.stream(), request.headers, self._rules.limits, held)

    async def _signed(self, request: Request, held: Held) -> bytes:
        """Return the body of GitHub's hook, once its signature is right or a token makes it unnecessary."""
        access = self._rules.access
        if access.opens(GITHUB, request.headers):
            return await self._whole(request, held)
        with self._unsigned.holding() as few:
            raw = await self._whole(request, few)
            if not access.is_signed(request.headers, raw):
                raise BadSignature("the signature does not fit: X-Hub-Signature-256 is not that of this body")
            held.take(few.bytes)
            return raw

    def _undone(self, raw: bytes, request: Request, held: Held) -> bytes:
        encoding = request.headers.get("content-encoding", "").strip().lower()
        return decompressed(raw, encoding, self._rules.limits.max_bytes, held.take)

    def _kept(self, name: str, body: bytes, records: int) -> Told:
        """Make the body durable; one without any records says nothing, and is only answered."""
        self._check_known(name)
        if records:
            self._keep.keep(name, body)
            self._tally.add(name, "kept", len(body))
        return {"received": str(records)}

    def _check_known(self, name: str) -> None:
        if name not in self._formats:
            raise NoPlace(f"format {name[:40]!r} is not known; one of: {', '.join(self._formats)}")

    async def _in_thread(self, keep: Callable[[], Told]) -> Told:
        if self._threads is None:
            self._threads = anyio.CapacityLimiter(_THREADS)
        return await anyio.to_thread.run_sync(keep, limiter=self._threads)

    def _format_of(self, request: Request) -> str:
        name = ENDPOINTS.get(request.url.path) or str(request.path_params.get("format", ""))
        return name if name in self._formats else "unknown"


Work = Callable[[Request, Held], Awaitable[Told]]

_STATUS: Final[Mapping[type, int]] = {TooLarge: 413, UnknownEncoding: 415, NoPlace: 404, BadSignature: 401}


def _post(path: str, handler: Callable[[Request], Awaitable[Response]]) -> Route:
    return Route(path, handler, methods=["POST"])


def _records(body: bytes) -> int:
    """Return how many records a body holds: those of JSON are counted where that is cheap, anything else is one."""
    start = body[:_COUNTED_BYTES].lstrip()[:3]
    if not start and len(body) <= _COUNTED_BYTES:
        return 0
    if not start.startswith(_JSON_START) or len(body) > _COUNTED_BYTES:
        return 1
    try:
        return len(records_of(body))
    except TooDense:  # becomes one dead letter
        return 1
