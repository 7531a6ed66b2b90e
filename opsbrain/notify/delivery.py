"""One notification on its way to one receiver, and what a notifier is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from engine.ids import content_id
from engine.notice import Notice
from engine.types import Incident


@dataclass(frozen=True, slots=True)
class Delivery:
    """One body for one receiver. The same content has the same `id`; deliveries of one `subject` keep their order.

    `at_ms` is event time: when what it tells was so.
    """

    id: str
    notifier: str
    subject: str
    kind: str  # "opened", "updated", "resolved"
    body: bytes
    at_ms: int

    @property
    def first_id(self) -> str:
        """Return the id of the delivery that this one says again, its own if it is the first."""
        return self.id.partition("+")[0]

    @property
    def key(self) -> str:
        """Return the idempotency key: of incident, revision and receiver; the same from any worker, at any time."""
        return content_id("ntf", self.first_id, self.notifier)

    def again(self) -> Delivery:
        """Return the next repeat, for a receiver that wants to hear it as long as it lasts."""
        count = int(self.id.partition("+")[2] or 0)
        return replace(self, id=f"{self.first_id}+{count + 1}")


class Notifier(Protocol):
    """Knows how to tell one receiver about incidents."""

    @property
    def name(self) -> str: ...

    @property
    def refresh_ms(self) -> int:
        """Return how often an unresolved incident has to be told again, or 0 for once."""

    def compose(self, incident: Incident, notice: Notice) -> Delivery | None:
        """Return what to send for one revision, or None when this receiver does not want it.

        Pure, and of its arguments alone: whoever tells it again says the same, to the byte.
        """

    def send(self, delivery: Delivery, marks: Mapping[str, str], now_ms: int) -> str:
        """Send it with `marks` as headers; return what the receiver answered; raise Retryable or Permanent."""
