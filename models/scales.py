"""The scale on which each form of series is close to symmetric with a stable spread, and how small a spread may be.

counts              2·sqrt(x + 3/8): variance 1 whatever the rate (Anscombe, 1948, Biometrika 35, "The transformation
                    of Poisson, binomial and negative-binomial data")
rates, durations,   sign(x)·log(1 + |x|): they differ by factors
money
gauges, ratios      as they are
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from engine.types import Bools, Floats, Series

FORMS: Final = ("gauge", "rate", "count", "ratio", "duration", "money")
"""Forms by code; an unknown form is read as a gauge."""

COUNT: Final = FORMS.index("count")
GAUGE: Final = FORMS.index("gauge")
_LOGARITHMIC: Final = np.array([form in ("rate", "duration", "money") for form in FORMS])

# The smallest standard deviation that is believed, on the form's own scale. A level that never moved has spread zero,
# and every hair would then be infinitely strange. Gauges: 1 % of the level, plus 0.01 since zero has no percent; logs:
# a change by 5 % is nothing; ratios: one percent point; counts: Poisson noise.
_ABSOLUTE: Final = np.array([0.01, 0.05, 1.0, 0.01, 0.05, 0.05])
_RELATIVE: Final = np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0])

Codes = NDArray[np.int8]

_CODE: Final = {form: code for code, form in enumerate(FORMS)}


def codes(series: Sequence[Series]) -> Codes:
    """Return the code of each series' form, (N,)."""
    return np.array([_CODE.get(one.form, 0) for one in series], dtype=np.int8)


def forward(values: Floats, forms: Codes) -> Floats:
    """Return `values` on their forms' scales, (N,); NaN stays NaN, and so becomes what is not finite."""
    scaled = np.where(np.isfinite(values), values, np.nan)
    log = np.flatnonzero(_LOGARITHMIC[forms])
    scaled[log] = np.copysign(np.log1p(np.abs(scaled[log])), scaled[log])
    count = np.flatnonzero(forms == COUNT)
    scaled[count] = 2.0 * np.sqrt(np.maximum(scaled[count], 0.0) + 0.375)
    return scaled


def backward(scaled: Floats, forms: Codes) -> Floats:
    """Return the values whose scaled form is `scaled`, (N,); counts and ratios stay in their range."""
    values = scaled.copy()
    log = np.flatnonzero(_LOGARITHMIC[forms])
    values[log] = np.copysign(np.expm1(np.minimum(np.abs(values[log]), 700.0)), values[log])
    count = np.flatnonzero(forms == COUNT)
    values[count] = np.maximum((np.maximum(values[count], 0.0) / 2.0) ** 2 - 0.375, 0.0)
    ratio = np.flatnonzero(forms == FORMS.index("ratio"))
    values[ratio] = np.clip(values[ratio], 0.0, 1.0)
    return values


def floor(level: Floats, forms: Codes, whole: Bools) -> Floats:
    """Return the smallest believable spread around `level` (both scaled), (N,), above 0.

    `whole` marks gauges that have only ever shown whole numbers of things (threads, connections, waiting requests): how
    many there are varies by chance as a Poisson count does, however long it has been the same.
    """
    smallest: Floats = np.maximum(_ABSOLUTE[forms], _RELATIVE[forms] * np.abs(level))
    things = whole & (forms == GAUGE)
    return np.where(things, np.maximum(smallest, np.sqrt(np.maximum(level, 0.0) + 0.375)), smallest)


def looks_whole(values: Floats) -> Bools:
    """Return whether each value can be a number of things, or the mean of up to six (or 10, 12, 15 ...) of them, (N,).

    True too where there is no value: nothing speaks against it.
    """
    sixtieths = values * 60.0
    near = np.abs(sixtieths - np.round(sixtieths)) <= 1e-6 * np.maximum(1.0, np.abs(values))
    whole: Bools = (near & (values >= 0)) | ~np.isfinite(values)
    return whole
