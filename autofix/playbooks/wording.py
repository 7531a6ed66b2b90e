"""How playbooks say times and evidence, so that every rationale reads alike."""

from __future__ import annotations

from datetime import UTC, datetime

from autofix.situation import Situation
from engine.types import Change


def clock(ts_ms: int) -> str:
    """Return event time as `HH:MM:SS` (UTC).

    >>> clock(43_390_000)
    '12:03:10'
    """
    return datetime.fromtimestamp(ts_ms / 1000, tz=UTC).strftime("%H:%M:%S")


def stamp(ts_ms: int) -> str:
    """Return event time as an RFC 3339 timestamp in whole seconds (UTC), as kubectl writes it."""
    return datetime.fromtimestamp(ts_ms / 1000, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "action"), counted(2, "action")
    ('1 action', '2 actions')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def short(entity: str) -> str:
    """Return the last part of an entity's id, its name."""
    return entity.rpartition("/")[2]


def span_text(duration_ms: int) -> str:
    """Return a duration in the unit people use.

    >>> span_text(90_000), span_text(480_000)
    ('90 s', '8 min')
    """
    seconds = round(duration_ms / 1000)
    return f"{seconds} s" if seconds < 120 else f"{round(seconds / 60)} min"


def first_sign_after(change: Change, situation: Situation, lookback_ms: int, grace_ms: int) -> int | None:
    """Return when the first sign began that a change may have caused, or None.

    A sign may begin up to `grace_ms` before the change is stamped (its window does) and `lookback_ms` after. The
    cause's own signs decide; the incident's where it has none. In a long incident a change is judged by what began
    after it.
    """
    signs = situation.anomalies() or list(situation.incident.anomalies)
    starts = [one.start_ms for one in signs if -grace_ms <= one.start_ms - change.ts_ms <= lookback_ms]
    return min([at for at in starts if at >= change.ts_ms] or starts, default=None)


def relative(change: Change, sign_ms: int) -> str:
    """Return when a change happened, seen from the first sign that it may have caused."""
    lead_ms = sign_ms - change.ts_ms
    if lead_ms >= 0:
        return f"{span_text(lead_ms)} before the first sign"
    return f"{span_text(-lead_ms)} after the start of the first sign's window"


def onset_ms(situation: Situation) -> int:
    """Return the start of the incident's earliest anomaly, or when it was opened if it has none."""
    return min((one.start_ms for one in situation.incident.anomalies), default=situation.incident.opened_ms)


def strongest_signs(situation: Situation, count: int = 2) -> str:
    """Return the cause's strongest evidence lines as one sentence part."""
    lines = [one.text for one in situation.signs()[:count] if one.text]
    return "; ".join(lines) if lines else "no evidence line beyond the ranking itself"


def recent_deployment(situation: Situation, recent_ms: int, grace_ms: int = 60_000) -> Change | None:
    """Return the newest deployment of the cause after which signs began within `recent_ms`, or None.

    Playbooks that add or restart stand aside for it: more of a bad version is no remedy.
    """
    for one in situation.changes("deployment"):
        if one.entity == situation.entity and first_sign_after(one, situation, recent_ms, grace_ms) is not None:
            return one
    return None
