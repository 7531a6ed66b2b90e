"""One notification on its way to one receiver, and what a notifier is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from engine.types import Fix, Incident


@dataclass(frozen=True, slots=True)
class Delivery:
    """One body for one receiver. The same content has the same `id`; deliveries of one `subject` keep their order."""

    id: str
    notifier: str
    subject: str
    kind: str  # "opened", "updated", "resolved"
    body: bytes


class Notifier(Protocol):
    """Knows how to tell one receiver about incidents."""

    @property
    def name(self) -> str: ...

    @property
    def refresh_ms(self) -> int:
        """Return how often an unresolved incident has to be told again, or 0 for once."""

    def compose(self, incident: Incident, fixes: Sequence[Fix], previous: bytes | None) -> Delivery | None:
        """Return what to send for one revision, or None when this receiver does not want it.

        `previous` is the body that was composed last for the same incident. Pure.
        """

    def send(self, delivery: Delivery, now_ms: int) -> str:
        """Send it, and return what the receiver answered; raise Retryable or Permanent."""
