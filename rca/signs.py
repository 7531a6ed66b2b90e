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
    def excess(self) -> float:
        """Return how far the value left the middle of its band, in its own unit; NaN when no band is known."""
        return abs(self.observed - (self.expected_lo + self.expected_hi) / 2)


_LATENCY = re.compile(r"latenc|duration|respon|\blat\b|\brt\b|(^|[._ -])p\d\d|elapsed|time(_|$)|delay")
_ERROR = re.compile(r"error|fail|fault|availab|5xx|4xx|exception|severity\.(error|fatal)|success|timeout")
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


def strength_of(tail_p: float, half: float = 4.0) -> float:
    """Return how strong a tail probability is, from 0 to below 1: one half at 10 to the minus `half`.

    Saturating, so that one absurd number cannot drown everything else. NaN and 1 give 0.

    >>> round(strength_of(1e-4), 2), round(strength_of(1e-12), 2)
    (0.5, 0.75)
    """
    if math.isnan(tail_p) or tail_p >= 1.0:
        return 0.0
    digits = -math.log10(max(tail_p, 1e-300))
    return digits / (digits + half)


def of_anomaly(one: Anomaly) -> Sign:
    """Return an anomaly as a sign."""
    return Sign(
        entity=one.entity,
        indicator=one.indicator,
        form=one.form,
        role=role_of(one.indicator, one.text),
        strength=strength_of(one.tail_p),
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
            strength=strength_of(row["tail_p"]),
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


def strongest(signs: Mapping[str, list[Sign]], entity: str, roles: Iterable[Role]) -> float:
    """Return the strength of an entity's strongest sign in one of `roles`, 0.0 when it has none."""
    wanted = set(roles)
    return max((one.strength for one in signs.get(entity, ()) if one.role in wanted), default=0.0)
