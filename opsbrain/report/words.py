"""Numbers, times and entities as a tired person reads them. Times are UTC."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from engine.types import Fix, Outcome

_UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def clock(ms: int) -> str:
    """Return the time of day.

    >>> clock(1_700_000_000_000)
    '22:13:20'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%H:%M:%S")


def day(ms: int) -> str:
    """Return the date.

    >>> day(1_700_000_000_000)
    '2023-11-14'
    """
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d")


def moment(ms: int) -> str:
    """Return date and time of day.

    >>> moment(1_700_000_000_000)
    '2023-11-14 22:13:20'
    """
    return f"{day(ms)} {clock(ms)}"


def duration(ms: int) -> str:
    """Return how long something took, in its two largest units.

    >>> duration(100_000), duration(45_000), duration(7_200_000), duration(90_061_000), duration(-5000), duration(400)
    ('1 min 40 s', '45 s', '2 h', '1 d 1 h', '5 s', '0 s')
    """
    left = abs(ms) // 1000
    parts: list[str] = []
    for name, seconds in _UNITS:
        count, left = divmod(left, seconds)
        if count:
            parts.append(f"{count} {name}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def lead(at_ms: int, opened_ms: int) -> str:
    """Return where a time lies relative to the opening of an incident.

    >>> lead(0, 60_000), lead(90_000, 60_000), lead(5, 5)
    ('1 min before it opened', '30 s after it opened', 'as it opened')
    """
    if abs(at_ms - opened_ms) < 1000:
        return "as it opened"
    return f"{duration(at_ms - opened_ms)} {'before' if at_ms < opened_ms else 'after'} it opened"


def number(value: float) -> str:
    """Return a number in at most four characters of digits, with k, M and G above a thousand.

    >>> [number(one) for one in (0.0, 0.01234, 3.14159, 412.0, 1234.0, 5.6e7, float("nan"))]
    ['0', '0.0123', '3.14', '412', '1.23k', '56M', '–']
    """
    if not math.isfinite(value):
        return "–"
    for suffix, size in (("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"


def amount(value: float, form: str) -> str:
    """Return a value of a series with its unit.

    >>> amount(412.0, "duration"), amount(83_000.0, "duration"), amount(0.031, "ratio"), amount(12.5, "money")
    ('412 ms', '83 s', '3.1 %', '$12.5')
    """
    if not math.isfinite(value):
        return "–"
    if form == "ratio":
        return f"{number(value * 100)} %"
    if form == "duration":
        return (
            f"{number(value / 1000)} s"
            if abs(value) >= 10_000
            else f"{value:.3g} ms"
            if abs(value) < 1000
            else f"{value:,.0f} ms"
        )
    if form == "money":
        return f"${number(value)}"
    return number(value) + ("/s" if form == "rate" else "")


def expected(lo: float, hi: float, form: str, observed: float = math.nan, never_below: bool = False) -> str:
    """Return a band in words; what cannot be negative is not said to be expected below zero.

    >>> expected(-0.2, 0.3, "rate"), expected(-5.0, 5.0, "gauge"), expected(float("nan"), 1.0, "rate")
    ('0/s to 0.3/s', '-5 to 5', 'unknown')

    A gauge that shows a whole number, not below zero, is taken for a count; so is one that was `never_below` zero:

    >>> expected(-5.0, 5.0, "gauge", 40.0), expected(-5.0, 5.0, "gauge", 40.5)
    ('0 to 5', '-5 to 5')
    """
    if not (math.isfinite(lo) and math.isfinite(hi)):
        return "unknown"
    if form != "gauge" or never_below or (observed >= 0 and observed.is_integer()):
        lo, hi = max(lo, 0.0), max(hi, 0.0)
    return f"{amount(lo, form)} to {amount(hi, form)}"


def short(entity: str) -> str:
    """Return an entity's name.

    >>> short("demo/service/shop/payments")
    'payments'
    """
    return entity.split("/", 3)[-1]


def home(entity: str) -> str:
    """Return what an entity is and where, without its name.

    >>> home("demo/service/shop/payments"), home("demo/node/-/n1")
    ('service in shop, demo', 'node in demo')
    """
    parts = entity.split("/", 3)
    if len(parts) < 4:
        return ""
    scope, kind, namespace, _ = parts
    return f"{kind} in {scope}" if namespace in ("-", "") else f"{kind} in {namespace}, {scope}"


def direction(sign: int) -> str:
    """Return an arrow for a direction."""
    return {1: "↑", -1: "↓"}.get(sign, "")


def checks(fix: Fix) -> str:
    """Return what was proven of a fix, in one phrase, as "4 of 5 checks passed, 1 inconclusive"."""
    outcomes = [one.outcome for one in fix.verdicts]
    passed = f"{outcomes.count(Outcome.PASSED)} of {len(outcomes)} checks passed"
    rest = [f"{count} {one.value}" for one in (Outcome.FAILED, Outcome.INCONCLUSIVE) if (count := outcomes.count(one))]
    return ", ".join([passed, *rest])


def plural(count: int, one: str, many: str = "") -> str:
    """Return a count with its noun.

    >>> plural(1, "fix", "fixes"), plural(2, "cause")
    ('1 fix', '2 causes')
    """
    return f"{count:,} {one if count == 1 else many or one + 's'}"
