"""Evidence in plain words: what was expected, what was seen, since when."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from engine.types import Change, Evidence
from rca.signs import Sign

_KINDS = {"span": "span", "log": "log", "event": "event", "cost": "cost"}
_UNITS = {"duration": " ms", "rate": "/s", "money": " USD"}


def clock(ts_ms: int) -> str:
    """Return event time as `HH:MM:SS` (UTC)."""
    return datetime.fromtimestamp(ts_ms / 1000, tz=UTC).strftime("%H:%M:%S")


def short(entity: str) -> str:
    """Return the name of an entity whose id is `scope/kind/namespace/name`, else all of it."""
    parts = entity.split("/", 3)
    return parts[3] if len(parts) == 4 else entity


def number(value: float) -> str:
    """Return a number as people write it, to three digits.

    >>> number(1900.4), number(0.03812), number(1234567.0)
    ('1,900', '0.0381', '1,230,000')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    rounded = round(value, digits)
    return f"{rounded:,.0f}" if digits <= 0 or rounded == int(rounded) else f"{rounded:.{max(digits, 0)}f}".rstrip("0")


def _amount(value: float, form: str) -> str:
    return f"{number(value * 100)} %" if form == "ratio" else f"{number(value)}{_UNITS.get(form, '')}"


def of_sign(one: Sign) -> Evidence:
    """Return a sign as a line such as `span.p99_ms of payments 38 -> 1,900 ms, 12:03:10`."""
    middle = (one.expected_lo + one.expected_hi) / 2
    values = _amount(one.observed, one.form)
    if math.isfinite(middle):
        plain = number(middle * 100 if one.form == "ratio" else middle)
        values = f"{plain} -> {values}"
    what = f"{one.indicator} ('{one.text[:80]}')" if one.text else one.indicator
    return Evidence(
        entity=one.entity,
        indicator=one.indicator,
        kind=_KINDS.get(one.indicator.partition(".")[0], "metric"),
        direction=one.direction,
        strength=round(one.strength, 6),
        at_ms=one.start_ms,
        text=f"{what} of {short(one.entity)} {values}, {clock(one.start_ms)}",
        expected_lo=one.expected_lo,
        expected_hi=one.expected_hi,
        observed=one.observed,
    )


def of_change(one: Change, weight: float, sign_ms: int) -> Evidence:
    """Return a change as a line such as `payments: image 1.4.2 -> 1.5.0, 40 s before the first sign, 12:02:30`.

    `sign_ms` is when the first sign began that the change may have caused.
    """
    lead_s = round((sign_ms - one.ts_ms) / 1000)
    when = f"{lead_s} s before the first sign"
    if lead_s < 0:
        when = f"{-lead_s} s after the start of the first sign's window"
    return Evidence(
        entity=one.entity,
        indicator=f"change.{one.kind}",
        kind="change",
        direction=0,
        strength=round(weight, 6),
        at_ms=one.ts_ms,
        text=f"{one.summary}, {when}, {clock(one.ts_ms)}",
    )


def of_share(entity: str, share: float, explained: list[str], troubled: int, at_ms: int) -> Evidence:
    """Return how many of the troubled others depend on an entity, as a line."""
    names = ", ".join(short(one) for one in explained[:5]) + (" and more" if len(explained) > 5 else "")
    return Evidence(
        entity=entity,
        indicator="dependents",
        kind="topology",
        direction=0,
        strength=round(share, 6),
        at_ms=at_ms,
        text=f"{len(explained)} of {troubled} others in trouble depend on {short(entity)}: {names}",
    )
