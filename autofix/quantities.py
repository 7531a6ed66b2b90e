"""Kubernetes quantities (`512Mi`, `1.5G`, `250m`) as exact numbers."""

from __future__ import annotations

import re
from fractions import Fraction

from engine.errors import DataError

_SUFFIXES = {
    "": Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)},
}
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,2}))?$")


def parse_quantity(text: object) -> Fraction:
    """Return a quantity as an exact number of units (bytes, cores); raise DataError when it is none.

    >>> int(parse_quantity("512Mi"))
    536870912
    """
    match = _QUANTITY.match(str(text)) if isinstance(text, str | int | float) else None
    if match is None:
        raise DataError(f"not a Kubernetes quantity: {text!r}")
    number, suffix, exponent = match.groups()
    return Fraction(number) * (Fraction(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""])


def format_mebibytes(amount_bytes: Fraction) -> str:
    """Return an amount of memory in whole MiB, rounded up.

    >>> format_mebibytes(Fraction(100 * 2**20 + 1))
    '101Mi'
    """
    return f"{-(-amount_bytes // 2**20)}Mi"
