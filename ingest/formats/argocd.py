"""Argo CD notifications, as the template in `deploy/argocd` sends them: one message a trigger, a row or two a message.

What happened follows from how the last operation ended and how the application is: an operation that runs is
`SyncRunning`, one that failed `SyncFailed` (and `HealthDegraded`, if the application is that); one that succeeded is
`Deployed` when the application is healthy, `HealthDegraded` when degraded, else `SyncSucceeded`. The entity is the
service that has the application's name, in the namespace it is deployed to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, Unusable, decode_events, sentence
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber

_SHORT_REVISION: Final = 8
_FAILED: Final = ("Failed", "Error")
_HEALTH: Final = ("Healthy", "Degraded", "Missing", "Suspended", "Progressing")


class _Body(msgspec.Struct):
    app: str
    project: str | None = None
    namespace: str | None = None
    repository: str | None = None
    revision: str | None = None
    sync: str | None = None
    health: str | None = None
    phase: str | None = None
    message: str | None = None
    startedAt: str | None = None
    finishedAt: str | None = None
    healthSince: str | None = None


@dataclass(frozen=True, slots=True)
class Argocd:
    """Decodes what became of applications."""

    name: ClassVar[str] = "argocd"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row a message, and a dead letter for each that the template would not send."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        return decode_events(refused, self.scrubber, received_ms, _DECODER.decode, self._read)

    def _read(self, body: _Body) -> Iterator[Found]:
        reasons = _reasons(body) if body.app else ()
        if not reasons:
            yield Unusable("no application, phase or health")
        yield from (self._row(body, reason) for reason in reasons)

    def _row(self, body: _Body, reason: str) -> EventRow:
        time = _time(body, reason) or None
        return EventRow(
            time=time,
            entity=self.identity.service(body.app, body.namespace or ""),
            reason=reason,
            message=_message(body, reason),
            warning=reason in ("SyncFailed", "HealthDegraded"),
            facts=("argocd", body.app, body.namespace or "", body.revision or "", reason) if time else (),
        )


def _reasons(body: _Body) -> tuple[str, ...]:
    degraded = ("HealthDegraded",) if body.health == "Degraded" else ()
    if body.phase in _FAILED:
        return ("SyncFailed", *degraded)
    if body.phase in ("Running", "Terminating"):
        return (f"Sync{body.phase}",)
    if body.phase == "Succeeded":
        return degraded or (("Deployed",) if body.health == "Healthy" else ("SyncSucceeded",))
    return (f"Health{body.health}",) if body.health in _HEALTH else ()


def _time(body: _Body, reason: str) -> str | None:
    """Return when it happened: health has a time of its own, and where Argo CD does not tell it, nobody knows it."""
    if reason.startswith("Health"):
        return body.healthSince
    return body.startedAt if reason == "SyncRunning" else body.finishedAt or body.startedAt


def _message(body: _Body, reason: str) -> str:
    revision = f"at {body.revision[:_SHORT_REVISION]}" if body.revision else None
    source = f"of {body.repository}" if body.repository else None
    said = f"{reason}: {body.app}"
    return sentence(said, revision, source, _state(body), body.message)


def _state(body: _Body) -> str | None:
    state = ", ".join(one for one in (body.sync, body.health) if one)
    return f"({state})" if state else None


_DECODER: Final = msgspec.json.Decoder(_Body)
