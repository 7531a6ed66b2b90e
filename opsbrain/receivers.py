"""The HTTP receivers: `POST /receive/{format}`; the answer 202 means that the messages are on disk.

202 {"received": n}      they are in the journal; what becomes of them, late and dead letters too, is counted later
400, 415                 the body's compression cannot be undone
404                      no such format
413                      larger than `http.max_body_mb`
429, with Retry-After    the journal is full, or its disk fails: nothing was kept, send the same again
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from engine.errors import DataError, Retryable
from opsbrain.journal import Journal
from opsbrain.receive_body import TooLarge, UnknownEncoding, decompressed, messages_of


class Receivers:
    """Takes messages of each format into its journal. `woken` is called when something came."""

    def __init__(
        self,
        journals: Mapping[str, Journal],
        max_body_bytes: int,
        clock: Callable[[], int],
        woken: Callable[[], None] = lambda: None,
    ) -> None:
        self._journals = journals
        self._max_body_bytes = max_body_bytes
        self._clock = clock
        self._woken = woken

    def routes(self) -> list[Route]:
        """Return the routes to mount."""
        return [Route("/receive/{format}", self._receive, methods=["POST"])]

    async def _receive(self, request: Request) -> Response:
        name = request.path_params["format"]
        journal = self._journals.get(name)
        if journal is None:
            return _refused(404, f"format {name[:40]!r} is not known; one of: {', '.join(self._journals)}")
        try:
            raw = await self._body(request)
            received = await run_in_threadpool(self._keep, journal, raw, request.headers)
        except TooLarge as error:
            return _refused(413, str(error))
        except Retryable as error:
            return _refused(429, str(error), {"retry-after": str(math.ceil(error.retry_after_s))})
        except UnknownEncoding as error:
            return _refused(415, str(error))
        except DataError as error:
            return _refused(400, str(error))
        except ClientDisconnect:
            return _refused(400, "the connection was closed before the body was whole")
        self._woken()
        return JSONResponse({"received": received}, 202)

    async def _body(self, request: Request) -> bytes:
        limit = self._max_body_bytes
        told = request.headers.get("content-length", "")
        if told.isdigit() and int(told) > limit:
            raise TooLarge(f"the body is larger than {limit:,} bytes")
        parts: list[bytes] = []
        size = 0
        async for part in request.stream():
            size += len(part)
            if size > limit:
                raise TooLarge(f"the body is larger than {limit:,} bytes")
            parts.append(part)
        return b"".join(parts)

    def _keep(self, journal: Journal, raw: bytes, headers: Mapping[str, str]) -> int:
        """Cut the body into messages and write them down; runs in a thread, since it waits for the disk."""
        encoding = headers.get("content-encoding", "").strip().lower()
        body = decompressed(raw, encoding, self._max_body_bytes)
        messages = messages_of(body, headers.get("content-type", ""))
        if messages:
            journal.append(messages, self._clock())
        return len(messages)


def _refused(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers)
