"""`GET /healthz` and `GET /readyz`: whether a process is alive, and whether it can work now.

/healthz   200 while it can still make progress; 503 with the reason when only a restart would help
/readyz    200 when it has what it needs; 503 with what it waits for, as a broker that is away

A broker that is away ends nothing: while we wait for it we are alive and not ready, however long it takes. Neither asks
for a token, and neither says more than what an operator may see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from engine.runners.meters import Meters

HEALTHZ: Final = "/healthz"
READYZ: Final = "/readyz"
STUCK_S: Final = 300.0  # the longest that a loop may take to come round: large state being restored

Ask = Callable[[], Sequence[str]]
"""Asked on a worker thread for each request; returns what is wrong, nothing when all is well."""


def what_is_stuck(meters: Meters) -> list[str]:
    """Return the roles that have not come round for too long though nobody keeps them waiting."""
    if meters.waiting.get("broker"):
        return []
    now_s = meters.seconds()
    late = {role: now_s - at_s for role, at_s in sorted(dict(meters.beats).items()) if now_s - at_s > STUCK_S}
    return [f"{role} has made no progress for {age_s:.0f} s" for role, age_s in late.items()]


def what_is_awaited(meters: Meters) -> list[str]:
    """Return what the process waits for before it can work, and what is stuck."""
    return [f"{role}: {why}" for role, why in sorted(dict(meters.waiting).items())] + what_is_stuck(meters)


def health_routes(alive: Ask, ready: Ask) -> list[Route]:
    """Return both routes."""
    return [Route(HEALTHZ, lambda request: _answer(alive)), Route(READYZ, lambda request: _answer(ready))]


def _answer(ask: Ask) -> Response:
    wrong = ask()
    text = "".join(f"{one}\n" for one in wrong) or "ok\n"
    return PlainTextResponse(text, 503 if wrong else 200, headers={"cache-control": "no-store"})
