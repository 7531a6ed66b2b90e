"""Signs: what an entity's series showed around an incident, and how each kind of sign travels through a system.

Latency and errors travel from callee to caller, so a caller's may be explained by its callees'. Load travels from
caller to callee, so more of it blames nobody. What an entity shows of itself (CPU, restarts, events, its own log lines)
stays where it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

import polars as pl

from engine.types import Anomaly


class Role(StrEnum):
    """How a sign travels."""

    LATENCY = "latency"
    ERROR = "error"
    LOAD = "load"
    OWN = "own"


_MAX_REACH = 1e4
TRAVELLING = (Role.LATENCY, Role.ERROR)


@dataclass(frozen=True, slots=True)
class Sign:
    """One series of one entity that left what was expected; `strength` in [0, 1)."""

    entity: str
    indicator: str
    form: str
    role: Role
    strength: float
    start_ms: int
    direction: int
    observed: float
    expected_lo: float
    expected_hi: float
    text: str = ""

    @property
    def bad(self) -> bool:
        """Return whether the sign points the way trouble does: slower, more errors, less available."""
        if self.role is Role.LATENCY:
            return self.direction >= 0
        if self.role is Role.ERROR:
            return self.direction * (-1 if _GOOD.search(self.indicator.lower()) else 1) >= 0
        return True

    @property
    def excess(self) -> float:
        """Return how far the value left the middle of its band, in its own unit; NaN when no band is known."""
        return abs(self.observed - (self.expected_lo + self.expected_hi) / 2)


_LATENCY = re.compile(r"latenc|duration|respon|\blat\b|\brt\b|(^|[._ -])p\d\d|elapsed|time(_|$)|delay")
_ERROR = re.compile(r"error|fail|fault|availab|5xx|4xx|exception|severity\.(error|fatal)|success|timeout")
_GOOD = re.compile(r"availab|success")  # more of these is better
_LOAD = re.compile(r"request|throughput|\brate\b|qps|rps|workload|\bload$|invocation|network|receive|transmit|calls")
_ERROR_TEXT = re.compile(r"error|fail|exception|timeout|timed out|refused|unavailable|deadline", re.IGNORECASE)


def role_of(indicator: str, text: str = "") -> Role:
    """Return how an indicator's anomalies travel, judged by its name (and a log template's text).

    >>> [role_of(name).value for name in ("span.p99_ms", "span.error_ratio", "span.rate", "cpu_usage", "event.BackOff")]
    ['latency', 'error', 'load', 'own', 'own']
    """
    name = indicator.lower()
    if name.startswith("event."):
        return Role.OWN
    if name.startswith("log.template."):
        return Role.ERROR if _ERROR_TEXT.search(text) else Role.OWN
    if name.startswith("span."):
        return Role.ERROR if "error" in name else Role.LOAD if name.startswith("span.rate") else Role.LATENCY
    for role, pattern in ((Role.ERROR, _ERROR), (Role.LATENCY, _LATENCY), (Role.LOAD, _LOAD)):
        if pattern.search(name):
            return role
    return Role.OWN


def strength_of(tail_p: float, reach: float = 1.0) -> float:
    """Return how strong a sign is, from 0 to below 1: the digits of its tail probability and of its reach.

    `reach` says how many half widths of its band a value lies from the middle. It counts because tail probabilities end
    where the detector's history does, while 14 waiting threads where there never was one are more than the strangest of
    a few hundred windows. Saturating, so that one absurd number cannot drown everything else: half of 1 at six digits.
    NaN and a probability of 1 give 0.

    >>> round(strength_of(1e-6), 2), round(strength_of(1e-6, reach=1000.0), 2)
    (0.5, 0.6)
    """
    if math.isnan(tail_p) or tail_p >= 1.0:
        return 0.0
    digits = -math.log10(max(tail_p, 1e-300)) + math.log10(min(max(reach, 1.0), _MAX_REACH))
    return digits / (digits + 6.0)


def reach_of(observed: float, lo: float, hi: float) -> float:
    """Return how many half widths of its band a value lies from the middle; 1.0 where no band is known."""
    excess, half = abs(observed - (lo + hi) / 2), (hi - lo) / 2
    if math.isnan(excess) or math.isnan(half) or excess == 0:
        return 1.0
    return excess / half if half > excess / _MAX_REACH else _MAX_REACH


def of_anomaly(one: Anomaly) -> Sign:
    """Return an anomaly as a sign."""
    return Sign(
        entity=one.entity,
        indicator=one.indicator,
        form=one.form,
        role=role_of(one.indicator, one.text),
        strength=strength_of(one.tail_p, reach_of(one.observed, one.expected_lo, one.expected_hi)),
        start_ms=one.start_ms,
        direction=one.direction,
        observed=one.observed,
        expected_lo=one.expected_lo,
        expected_hi=one.expected_hi,
        text=one.text,
    )


def of_context(frame: pl.DataFrame, entities: Iterable[str], since_ms: int, tail_p: float) -> list[Sign]:
    """Return weak signs from recent windows: the strangest window of each series of `entities` at or below `tail_p`.

    `frame` is that of the ranker's `features`; an empty one, or one without scores, holds no signs.
    """
    if frame.is_empty() or "tail_p" not in frame.columns:
        return []
    rows = (
        frame.filter(
            pl.col("start_ms") >= since_ms, pl.col("tail_p") <= tail_p, pl.col("entity").is_in(sorted(set(entities)))
        )
        .sort("entity", "indicator", "tail_p", "start_ms")
        .group_by("entity", "indicator", maintain_order=True)
        .agg(
            pl.col("form", "tail_p", "direction", "value", "expected_lo", "expected_hi").first(),
            pl.col("start_ms").min(),
        )
    )
    return [
        Sign(
            entity=row["entity"],
            indicator=row["indicator"],
            form=row["form"],
            role=role_of(row["indicator"]),
            strength=strength_of(row["tail_p"], reach_of(row["value"], row["expected_lo"], row["expected_hi"])),
            start_ms=int(row["start_ms"]),
            direction=int(row["direction"]),
            observed=float(row["value"]),
            expected_lo=float(row["expected_lo"]),
            expected_hi=float(row["expected_hi"]),
        )
        for row in rows.iter_rows(named=True)
    ]


def by_entity(signs: Iterable[Sign]) -> dict[str, list[Sign]]:
    """Return signs grouped by entity (names sorted), strongest first, one a series: the strongest."""
    best: dict[tuple[str, str], Sign] = {}
    for one in sorted(signs, key=_order):
        best.setdefault((one.entity, one.indicator), one)
    grouped: dict[str, list[Sign]] = {}
    for one in sorted(best.values(), key=lambda one: (one.entity, *_order(one))):
        grouped.setdefault(one.entity, []).append(one)
    return grouped


def _order(one: Sign) -> tuple[float, int, str]:
    return (-one.strength, one.start_ms, one.indicator)


def trouble_of(signs: Mapping[str, list[Sign]], entity: str) -> list[Sign]:
    """Return an entity's signs of trouble that travels: slower, more errors, less available."""
    return [one for one in signs.get(entity, ()) if one.role in TRAVELLING and one.bad]


def trouble(signs: Mapping[str, list[Sign]], entity: str) -> float:
    """Return the strength of an entity's strongest sign of trouble that travels, 0.0 when it has none."""
    return max((one.strength for one in trouble_of(signs, entity)), default=0.0)


def volumes_of(frame: pl.DataFrame) -> dict[str, dict[str, float]]:
    """Return the mean of every load series in the ranker's `features`, {entity: {indicator: mean}}; NaN is left out."""
    if frame.is_empty():
        return {}
    names = [name for name in frame["indicator"].unique().sort() if role_of(name) is Role.LOAD]
    known = frame.filter(pl.col("indicator").is_in(names), pl.col("value").is_not_nan())
    return _by_series(known, pl.col("value").mean())


def rises_of(signs: Mapping[str, list[Sign]], frame: pl.DataFrame, since_ms: int) -> dict[str, dict[str, float]]:
    """Return how far each series rose towards trouble, {entity: {indicator: rise in its own unit}}.

    Taken from the sign where there is one, else from the largest rise in `features` since `since_ms`, 0.0 if it went
    the other way. Series without a band are left out.
    """
    found: dict[str, dict[str, float]] = {}
    if not frame.is_empty() and "expected_lo" in frame.columns:
        middle = (pl.col("expected_lo") + pl.col("expected_hi")) / 2
        good = [name for name in frame["indicator"].unique().sort() if _GOOD.search(name.lower())]
        rise = (pl.col("value") - middle) * pl.when(pl.col("indicator").is_in(good)).then(-1.0).otherwise(1.0)
        known = frame.filter(pl.col("start_ms") >= since_ms).with_columns(rise=rise).filter(pl.col("rise").is_not_nan())
        found = _by_series(known, pl.col("rise").max().clip(lower_bound=0.0))
    for entity in sorted(signs):
        for one in signs[entity]:
            if not math.isnan(one.excess):
                found.setdefault(entity, {})[one.indicator] = one.excess if one.bad else 0.0
    return found


def _by_series(frame: pl.DataFrame, number: pl.Expr) -> dict[str, dict[str, float]]:
    rows = (
        frame.sort("entity", "indicator", "start_ms")
        .group_by("entity", "indicator", maintain_order=True)
        .agg(number.alias("number"))
    )
    found: dict[str, dict[str, float]] = {}
    for entity, indicator, value in rows.iter_rows():
        found.setdefault(entity, {})[indicator] = float(value)
    return found
