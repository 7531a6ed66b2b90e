"""How playbooks say times and evidence, so that every rationale reads alike."""

from __future__ import annotations

from datetime import UTC, datetime

from autofix.situation import Situation


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


def relative(ts_ms: int, situation: Situation) -> str:
    """Return when something happened, seen from the incident's onset."""
    lead_ms = onset_ms(situation) - ts_ms
    side = "before" if lead_ms >= 0 else "after"
    return f"{span_text(abs(lead_ms))} {side} the first sign"


def onset_ms(situation: Situation) -> int:
    """Return the start of the incident's earliest anomaly, or when it was opened if it has none."""
    return min((one.start_ms for one in situation.incident.anomalies), default=situation.incident.opened_ms)


def strongest_signs(situation: Situation, count: int = 2) -> str:
    """Return the cause's strongest evidence lines as one sentence part."""
    lines = [one.text for one in situation.signs()[:count] if one.text]
    return "; ".join(lines) if lines else "no evidence line beyond the ranking itself"
