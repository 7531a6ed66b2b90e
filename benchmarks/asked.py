"""Numbers that the environment asks of a benchmark, or one line that says what is wrong with them."""

from __future__ import annotations

import os

from engine.errors import SourceError


def whole(key: str, default: int, least: int = 0) -> int:
    """Return the whole number that the environment variable `key` holds; raise SourceError that names it."""
    text = os.environ.get(key, "")
    try:
        value = int(text) if text else default
    except ValueError:
        value = least - 1
    if value < least:
        raise SourceError(f"bench: {key} is {text!r}; give a whole number, at least {least}")
    return value


def number(key: str, default: float, least: float = 0.0) -> float:
    """Return the number that the environment variable `key` holds; raise SourceError that names it."""
    text = os.environ.get(key, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = float("nan")
    if not least <= value < float("inf"):
        raise SourceError(f"bench: {key} is {text!r}; give a number, at least {least:g}")
    return value
