"""Headers that every notification carries: what makes a repeat recognisable, and whether it is old news.

Whether something is old depends on when it is sent, so it is said beside the body: the body of a repeat is the same to
the byte, and a signature over it holds.
"""

from __future__ import annotations

from typing import Final

from opsbrain.notify.delivery import Delivery

IDEMPOTENCY_KEY: Final = "idempotency-key"
STALE: Final = "opsbrain-stale"
STALE_AFTER_S: Final = 900


def marks(delivery: Delivery, now_ms: int, stale_after_ms: int) -> dict[str, str]:
    """Return the headers of a notification that is sent now.

    >>> told = Delivery("inc-1.1", "on-call", "inc-1", "opened", b"", at_ms=0)
    >>> marks(told, 900_000, 900_000), STALE in marks(told, 900_001, 900_000)
    ({'idempotency-key': 'ntf-4271d3afaab6aa1c'}, True)
    """
    key = {IDEMPOTENCY_KEY: delivery.key}
    return {**key, STALE: "true"} if now_ms - delivery.at_ms > stale_after_ms else key
