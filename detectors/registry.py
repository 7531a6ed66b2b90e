"""Which detectors there are, by name: a new one is one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final

from detectors.forest import Forest
from detectors.lstm import LSTM
from detectors.prophet import ProphetForecast
from detectors.zscore import ZScore
from engine.errors import ConfigError
from engine.ports import DetectorConfig

DETECTORS: Final[dict[str, Callable[..., DetectorConfig]]] = {
    "zscore": ZScore,
    "forest": Forest,
    "lstm": LSTM,
    "prophet": ProphetForecast,
}


def build(name: str, options: Mapping[str, Any]) -> DetectorConfig:
    """Return the configuration of detector `name` with `options`; raise ConfigError for what it refuses.

    >>> build("zscore", {"min_windows": 20}).name
    'zscore'
    """
    config = DETECTORS.get(name)
    if config is None:
        raise ConfigError(f"there is no detector {name!r}; choose from {', '.join(sorted(DETECTORS))}")
    known = {field.name: field.default for field in fields(config)}  # type: ignore[arg-type]
    for key, value in options.items():
        if key not in known:
            raise ConfigError(f"detectors.options.{name} has no key {key!r}; it has {', '.join(sorted(known))}")
        if not _fits(value, known[key]):
            wanted = type(known[key]).__name__
            raise ConfigError(f"detectors.options.{name}.{key} is {value!r}; it must be of type {wanted}")
    return config(**options)


def _fits(value: Any, default: Any) -> bool:
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)
