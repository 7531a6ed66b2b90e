"""Alertmanager's webhook (version 4): one notification of a group a message, a row an alert.

A firing alert is a Warning under its own name at the time it began; a resolved one is Normal, named `...Resolved` so
that it never counts as another occurrence, at the time it ended. Alertmanager notifies of a group again and again: an
alert that was told before has the same fingerprint, start and status, and so repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

import msgspec

from engine.ports import Decoded
from engine.schemas import Kind
from ingest.event_rows import EventRow, Found, Unusable, decode_events, each, sentence
from ingest.identity import Identity
from ingest.refused import Refused
from ingest.scrub import Scrubber

VERSION: Final = "4"
_TOLD: Final = ("summary", "description", "message")


class _Alert(msgspec.Struct):
    labels: dict[str, str]
    status: str = "firing"
    annotations: dict[str, str] | None = None
    startsAt: str | None = None
    endsAt: str | None = None
    fingerprint: str | None = ""


class _Notification(msgspec.Struct):
    alerts: list[msgspec.Raw]
    version: str | None = VERSION


@dataclass(frozen=True, slots=True)
class Alertmanager:
    """Decodes alerts."""

    name: ClassVar[str] = "alertmanager"
    kind: ClassVar[Kind] = "events"
    identity: Identity
    scrubber: Scrubber = field(default_factory=Scrubber, compare=False)

    def decode(
        self, bodies: Sequence[bytes], offsets: Sequence[int], input: str, received_ms: Sequence[int] = ()
    ) -> Decoded:
        """Return one row an alert, and a dead letter for each message or alert that is none."""
        refused = Refused(bodies, offsets, input, self.scrubber)
        return decode_events(refused, self.scrubber, received_ms, _DECODER.decode, self._read)

    def _read(self, told: _Notification) -> Iterator[Found]:
        if told.version not in (VERSION, None):
            yield Unusable(f"version of the webhook is not {VERSION}")
            return
        for alert in each(told.alerts, _ALERTS.decode):
            yield alert if isinstance(alert, Unusable) else self._row(alert)

    def _row(self, alert: _Alert) -> Found:
        if alert.status not in ("firing", "resolved"):
            return Unusable("an alert's status is neither firing nor resolved")
        firing = alert.status == "firing"
        name = alert.labels.get("alertname") or "Alert"
        told = [(alert.annotations or {}).get(one) for one in _TOLD]
        fingerprint = alert.fingerprint or ""
        return EventRow(
            time=alert.startsAt if firing else alert.endsAt,
            entity=self.identity.of_labels(alert.labels),
            reason=name if firing else f"{name}Resolved",
            message=sentence(f"{name} {alert.status}", _severity(alert.labels.get("severity")), *told),
            warning=firing,
            uid=fingerprint,
            facts=(fingerprint, alert.startsAt or "", alert.status) if fingerprint else (),
        )


def _severity(severity: str | None) -> str | None:
    return f"({severity})" if severity else None


_DECODER: Final = msgspec.json.Decoder(_Notification)
_ALERTS: Final = msgspec.json.Decoder(_Alert)
