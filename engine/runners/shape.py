"""What saved state depends on: a run goes on only with the settings and the data that it was begun with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from engine.errors import StateMismatch
from engine.flow import EngineConfig
from engine.ports import Source
from engine.types import State

_REMEDY: Final = "use another --state folder"


def shape_of(config: EngineConfig, source: Source) -> State:
    """Return what the state of a replay depends on, as plain values.

    A source may say what it reads by an attribute `identity`, made of the content; without one it is not compared.
    """
    window, detect = config.window, config.detect
    return {
        "version": 1,
        "inputs": sorted(source.partitions()),
        "data": str(getattr(source, "identity", "")),
        "shards": window.shards,
        "resolution_ms": window.resolution_ms,
        "lateness_ms": window.lateness_ms,
        "detectors": [one.name for one in detect.detectors],
        "detector settings": [repr(one) for one in detect.detectors],
        "seed": detect.seed,
    }


def check_shape(saved: Mapping[str, object], now: Mapping[str, object]) -> None:
    """Raise StateMismatch, in one line that names what differs, when the state is not of this shape."""
    for name, value in now.items():
        then = saved.get(name)
        if then == value:
            continue
        if name == "data":
            raise StateMismatch(f"the state was written from other data than these; {_REMEDY}")
        raise StateMismatch(
            f"the state was written with {name} {_listed(then)}, these settings say {_listed(value)}; {_REMEDY}"
        )


def _listed(value: object) -> str:
    return ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else str(value)
