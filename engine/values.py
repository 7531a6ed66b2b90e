"""The values of `engine.types` as plain data and as canonical JSON, and back."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_JSON = msgspec.json.Encoder(order="deterministic")


def plain(value: Any) -> Any:
    """Return a value of `engine.types` as dicts, lists, text and numbers."""
    return msgspec.to_builtins(value)


def value(data: Any, kind: type[T]) -> T:
    """Return the value of type `kind` that `plain` made plain; raise msgspec.ValidationError if it is not one.

    NaN travels through JSON as null and comes back as NaN.
    """
    return msgspec.convert(_restore(data), kind)


def to_json(value: Any) -> bytes:
    """Return the canonical JSON of a value: sorted keys, NaN as null."""
    return _JSON.encode(value)


def from_json(data: bytes, kind: type[T]) -> T:
    """Return the value of type `kind` written by `to_json`."""
    return value(msgspec.json.decode(data), kind)


_MAY_BE_NAN = frozenset({"expected_lo", "expected_hi", "observed", "tail_p", "strength"})


def _restore(data: Any) -> Any:
    if isinstance(data, dict):
        return {
            key: float("nan") if item is None and key in _MAY_BE_NAN else _restore(item) for key, item in data.items()
        }
    if isinstance(data, list | tuple):
        return [_restore(item) for item in data]
    return data
