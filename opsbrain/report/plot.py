"""Plots as small inline SVG: the expected band, what was seen, and marks in time.

The drawing stretches to any width; labels are HTML around it, so that they stay readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from markupsafe import Markup

from engine.types import Floats
from opsbrain.report.view import Plotted
from opsbrain.report.words import amount, clock

WIDTH: Final = 1000.0
HEIGHT: Final = 100.0
MAX_POINTS: Final = 360
_LARGEST: Final = 1e300  # differences of larger numbers overflow
_CLIP_BAND: Final = 3.0  # a band many times higher than anything seen would press the line flat


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment in time; `kind` ("change", "sign", "opened", "resolved") is also its CSS class."""

    at_ms: int
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A mark with its place, in percent from the left; `flip` says that its label goes to the left of it."""

    mark: Mark
    left: float
    flip: bool


@dataclass(frozen=True, slots=True)
class Plot:
    """What the template needs: the drawing, labels of both axes, and the marks."""

    svg: Markup
    top: str
    bottom: str
    ticks: tuple[str, ...]
    marks: tuple[Placed, ...]
    described: str


def draw(series: Plotted, marks: Sequence[Mark], from_ms: int, until_ms: int, described: str) -> Plot | None:
    """Return the plot of `series` in [from_ms, until_ms), or None when there is nothing to see in it."""
    inside = (series.start_ms >= from_ms) & (series.start_ms < until_ms)
    if not np.isfinite(series.value[inside]).any():
        return None
    shown = _thinned(_slice(series, inside))
    bottom, top = _range(shown)
    x = (shown.start_ms - from_ms) / max(until_ms - from_ms, 1) * WIDTH
    scaled = [_scale(part, bottom, top) for part in (shown.value, shown.lo, shown.hi)]
    drawing = Markup('<svg viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">{}{}{}</svg>').format(
        int(WIDTH), int(HEIGHT), _band(x, scaled[1], scaled[2]), _lines(marks, from_ms, until_ms), _line(x, scaled[0])
    )
    return Plot(
        svg=drawing,
        top=amount(top, series.form),
        bottom=amount(bottom, series.form),
        ticks=tuple(clock(from_ms + (until_ms - from_ms) * part // 3) for part in range(4)),
        marks=tuple(_placed(marks, from_ms, until_ms)),
        described=described,
    )


def _slice(series: Plotted, inside: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Plotted:
    value, lo, hi = (np.clip(part[inside], -_LARGEST, _LARGEST) for part in (series.value, series.lo, series.hi))
    return Plotted(series.start_ms[inside], value, lo, hi, series.form)


def _thinned(series: Plotted) -> Plotted:
    """Keep of every few neighbours the one furthest from the middle, so that spikes survive."""
    step = math.ceil(len(series.value) / MAX_POINTS)
    if step <= 1:
        return series
    middle = float(np.nanmedian(series.value))
    distance = np.nan_to_num(np.abs(series.value - middle), nan=-1.0, posinf=0.0)
    kept = np.array([at + int(np.argmax(distance[at : at + step])) for at in range(0, len(distance), step)])
    return Plotted(series.start_ms[kept], series.value[kept], series.lo[kept], series.hi[kept], series.form)


def _range(series: Plotted) -> tuple[float, float]:
    """Return the lowest and highest value shown: counts and the like from 0, gauges close around what they did."""
    seen = series.value[np.isfinite(series.value)]
    low, high = float(seen.min()), float(seen.max())
    span = max(high - low, abs(high) * 0.05, 1e-9)
    band = np.concatenate([series.lo, series.hi])
    near = band[np.isfinite(band) & (band >= low - _CLIP_BAND * span) & (band <= high + _CLIP_BAND * span)]
    low, high = min([low, *near.tolist()]), max([high, *near.tolist()])
    if series.form != "gauge" or (low >= 0 and low < 0.5 * high):
        low = min(low, 0.0)
    room = max(high - low, abs(high) * 0.05, 1e-9) * 0.06
    bottom = low if low == 0 else low - room
    return (max(bottom, 0.0) if float(seen.min()) >= 0 else bottom), high + room


def _scale(values: Floats, bottom: float, top: float) -> Floats:
    clipped = np.clip(values, bottom, top)  # keeps NaN
    return HEIGHT - (clipped - bottom) / (top - bottom) * HEIGHT


def _runs(ok: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Iterator[slice]:
    """Yield the stretches without a gap."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], ok, [False]]).astype(np.int8)))
    for begin, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        yield slice(begin, end)


def _points(x: Floats, y: Floats) -> str:
    return " ".join(f"{left:.1f},{top:.1f}" for left, top in zip(x.tolist(), y.tolist(), strict=True))


def _band(x: Floats, lo: Floats, hi: Floats) -> Markup:
    parts = []
    for run in _runs(np.isfinite(lo) & np.isfinite(hi)):
        ring = _points(np.concatenate([x[run], x[run][::-1]]), np.concatenate([hi[run], lo[run][::-1]]))
        parts.append(Markup('<polygon class="band" points="{}"/>').format(ring))
    return Markup("").join(parts)


def _line(x: Floats, y: Floats) -> Markup:
    parts = []
    for run in _runs(np.isfinite(y)):
        points = _points(x[run], y[run])
        if run.stop - run.start == 1:
            points = f"{points} {points}"  # a line of no length is drawn as a dot
        parts.append(Markup('<polyline class="seen" points="{}"/>').format(points))
    return Markup("").join(parts)


def _lines(marks: Sequence[Mark], from_ms: int, until_ms: int) -> Markup:
    drawn = [
        Markup('<line class="mark {}" x1="{x}" x2="{x}" y1="0" y2="{}"/>').format(
            one.mark.kind, int(HEIGHT), x=f"{one.left * WIDTH / 100:.1f}"
        )
        for one in _placed(marks, from_ms, until_ms)
    ]
    return Markup("").join(drawn)


def _placed(marks: Sequence[Mark], from_ms: int, until_ms: int) -> Iterator[Placed]:
    for mark in marks:
        left = (mark.at_ms - from_ms) / max(until_ms - from_ms, 1) * 100
        if 0 <= left <= 100:
            yield Placed(mark, round(left, 2), left > (85 if mark.kind == "resolved" else 14))
