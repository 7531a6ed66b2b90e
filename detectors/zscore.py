"""A robust, exponentially weighted z-score: how many usual deviations from its usual level is each series?

Finds spikes, drops and steps of single series within one window; cheap enough for every series. Blind to what is only
strange in combination, to slow drifts (they are followed) and to seasons longer than its half-life (they widen it).

>>> from detectors.checks import spike
>>> f"{spike(ZScore()):.0e}"  # ten deviations, 72 windows into a shard of 24 series: little is known of tails yet
'3e-05'
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from detectors.calibration import TailCalibration
from detectors.columns import Columns, Field
from engine.errors import ConfigError, StateMismatch
from engine.ports import Fitter
from engine.types import Bools, Fit, Floats, Scores, State, Tick
from models import scales

VERSION: Final = 2
BAND_P: Final = 1e-3
"""The expected band leaves this probability outside."""

_NORMAL_PER_MEAN: Final = 1.2533  # standard deviation over mean absolute deviation, for a normal
_NORMAL_PER_MEDIAN: Final = 1.4826  # and over the median absolute deviation
_SMALL_SAMPLE: Final = 1.09  # n / (n - 0.8) at n = 10 (Croux & Rousseeuw, 1992, for the median absolute deviation)
_MANY: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class ZScore:
    """Builds z-score detectors.

    half_life_windows
        After this many windows half of what is known is newer. Longer: steadier, and a change of regime stays anomalous
        for longer. A step of ten deviations is taken for normal after about one half-life.
    min_windows
        Windows of a series before it is scored; a count's windows before its first appearance are known to be zero and
        count as well.
    clip
        A deviation teaches at most this many usual ones (Huber, 1964), so that an incident does not pass for normal.
    """

    half_life_windows: float = 60.0
    min_windows: int = 10
    clip: float = 3.0

    def __post_init__(self) -> None:
        if self.half_life_windows < 1:
            raise ConfigError(f"zscore.half_life_windows is {self.half_life_windows}; it must be at least 1")
        if not 4 <= self.min_windows <= 1_000:
            raise ConfigError(f"zscore.min_windows is {self.min_windows}; it must be from 4 to 1000")
        if self.clip < 1:
            raise ConfigError(f"zscore.clip is {self.clip}; it must be at least 1")

    @property
    def name(self) -> str:
        return "zscore"

    def build(self, seed: int, resume: State | None = None) -> ZScoreDetector:
        """Return a detector for one shard; nothing in it is random, so `seed` decides nothing."""
        return ZScoreDetector(self, resume)

    def fitter(self) -> Fitter | None:
        """Return None: it learns as it goes."""
        return None


class _Normal(NamedTuple):
    """What is known of each row's series before the tick, on the form's scale; all (N,)."""

    forms: scales.Codes
    seen: Floats  # windows, those known to be zero included
    level: Floats
    spread: Floats  # as learned, not floored
    believed: Floats  # floored
    value: Floats
    z: Floats  # signed; NaN where not ready or missing


class ZScoreDetector:
    """Scores one shard: about 0.4 µs and 85 bytes a series and window (`min_windows` × 4 bytes of them for the start).

    Level and spread are exponentially weighted means of clipped deviations, begun with the median and the median
    absolute deviation of the first windows. tail_p is two-sided and comes from `TailCalibration`, grouped by form.
    """

    def __init__(self, config: ZScore, resume: State | None = None) -> None:
        if resume is not None and resume.get("version") != VERSION:
            raise StateMismatch(f"zscore state has version {resume.get('version')}, this program writes {VERSION}")
        self._config = config
        self._gain = 1.0 - 0.5 ** (1.0 / config.half_life_windows)
        fields: dict[str, Field] = {
            "form": ("int8", 0, 0),
            "seen": ("int32", 0, 0),
            "level": ("float64", np.nan, 0),
            "spread": ("float64", np.nan, 0),
            "first": ("float32", np.nan, config.min_windows),
            "whole": ("int8", 1, 0),
        }
        self._columns = Columns(fields, None if resume is None else resume["series"])
        self._tails = TailCalibration(len(scales.FORMS), None if resume is None else resume["tails"])
        self._scored: tuple[Tick, _Normal] | None = None  # the tick scored last: it is learned next

    def score(self, tick: Tick) -> Scores:
        """Return |z| as `raw`, its two-sided tail probability, and the band that leaves one in a thousand outside."""
        normal = self._normal(tick)
        self._scored = (tick, normal)
        raw = np.abs(normal.z)
        forms = normal.forms.astype(np.int64)
        half = self._tails.score_at(BAND_P, tick.series, forms) * normal.believed
        ready = np.where(normal.seen >= self._config.min_windows, 1.0, np.nan)
        return Scores(
            raw=raw,
            tail_p=self._tails.tail_p(tick.series, forms, raw),
            direction=np.nan_to_num(np.sign(normal.z)).astype(np.int8),
            expected_lo=scales.backward(normal.level - half, normal.forms) * ready,
            expected_hi=scales.backward(normal.level + half, normal.forms) * ready,
        )

    def learn(self, tick: Tick) -> None:
        """Take the tick into level, spread and tails; rows without a number teach nothing."""
        normal = self._scored[1] if self._scored is not None and self._scored[0] is tick else self._normal(tick)
        self._scored = None
        self._claim(tick)
        self._columns["whole"][tick.series] &= scales.looks_whole(tick.values).astype(np.int8)
        usable = np.isfinite(normal.value)
        ready = usable & (normal.seen >= self._config.min_windows)
        # A series at its floor looks calmer than its group is.
        lively = normal.spread >= normal.believed
        self._tails.learn(tick.series, normal.forms.astype(np.int64), np.abs(normal.z), ready & lively)
        self._follow(tick, normal, ready)
        self._begin(tick, normal, usable & ~ready)

    def adopt(self, fit: Fit) -> None:
        """Ignore `fit`: this detector learns as it goes."""

    def snapshot(self) -> State:
        """Return a copy of all state."""
        return {"version": VERSION, "series": self._columns.snapshot(), "tails": self._tails.snapshot()}

    def _normal(self, tick: Tick) -> _Normal:
        columns = self._columns
        columns.room(len(tick.index))
        forms = self._forms(tick)
        seen = columns["seen"][tick.series].astype(np.float64)
        level = columns["level"][tick.series]
        spread = columns["spread"][tick.series]
        fresh = (seen == 0) & (tick.zeros > 0)
        if fresh.any():
            seen = np.where(fresh, tick.zeros, seen)
            silent = fresh & (tick.zeros >= self._config.min_windows)
            level, spread = np.where(silent, _scaled_zero(), level), np.where(silent, 0.0, spread)
        value = scales.forward(tick.values, forms)
        # How many things there are varies by chance, but that none is left is never chance: `up` going to 0.
        gone = (value == 0.0) & (level >= 0.5)
        things = (columns["whole"][tick.series] > 0) & ~gone
        believed = np.maximum(spread, scales.floor(level, forms, things))
        # Level and spread are estimates themselves: early on their own error widens what is usual.
        z = (value - level) / (believed * (1.0 + 3.0 / np.maximum(seen, 1.0)))
        return _Normal(forms, seen, level, spread, believed, value, z)

    def _forms(self, tick: Tick) -> scales.Codes:
        forms = self._columns["form"]
        known = self._columns.size
        if len(tick.index) > known:
            # Beyond `size` nothing is state: what stands there follows from the index alone.
            forms[known : len(tick.index)] = scales.codes(tick.index.all()[known:])
        codes: scales.Codes = forms[tick.series]
        return codes

    def _claim(self, tick: Tick) -> None:
        self._columns.claim(len(tick.index))

    def _follow(self, tick: Tick, normal: _Normal, rows: Bools) -> None:
        """Move level and spread of the series that have begun, by at most `clip` usual deviations."""
        at = np.flatnonzero(rows)
        series, limit = tick.series[at], self._config.clip * normal.believed[at]
        deviation = np.clip(normal.value[at] - normal.level[at], -limit, limit)
        gain = np.maximum(self._gain, 1.0 / (normal.seen[at] + 1.0))
        spread = normal.spread[at]
        self._columns["level"][series] = normal.level[at] + gain * deviation
        self._columns["spread"][series] = spread + gain * (_NORMAL_PER_MEAN * np.abs(deviation) - spread)
        self._columns["seen"][series] = np.minimum(normal.seen[at] + 1.0, _MANY)

    def _begin(self, tick: Tick, normal: _Normal, rows: Bools) -> None:
        """Collect the first windows of new series, and begin with their medians when there are enough."""
        at = np.flatnonzero(rows)
        if not at.size:
            return
        series, seen = tick.series[at], normal.seen[at].astype(np.int64)
        first = self._columns["first"]
        known_zero = np.flatnonzero((self._columns["seen"][series] == 0) & (seen > 0))
        for row in known_zero:  # only series that appear in this window
            first[series[row], : seen[row]] = _scaled_zero()
        first[series, seen] = normal.value[at]
        self._columns["seen"][series] = seen + 1
        full = series[seen + 1 >= self._config.min_windows]
        level, spread = _robust(first[full].astype(np.float64))
        self._columns["level"][full] = level
        self._columns["spread"][full] = spread


def _scaled_zero() -> float:
    return float(scales.forward(np.zeros(1), np.array([scales.COUNT], dtype=np.int8))[0])


def _robust(values: Floats) -> tuple[Floats, Floats]:
    """Return the median and a robust standard deviation of each row of (N, windows)."""
    level = np.median(values, axis=1)
    deviation = np.abs(values - level[:, None])
    # A series that mostly rests and sometimes jumps has a median deviation of zero; half its mean one is believed.
    spread = np.maximum(
        _NORMAL_PER_MEDIAN * _SMALL_SAMPLE * np.median(deviation, axis=1),
        0.5 * _NORMAL_PER_MEAN * deviation.mean(axis=1),
    )
    return level, spread
