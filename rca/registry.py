"""The rankers there are, by name."""

from __future__ import annotations

from engine.errors import ConfigError
from engine.ports import Ranker
from rca.ranker import RankerConfig

RANKERS: dict[str, type[RankerConfig]] = {"shares": RankerConfig}


def build(name: str) -> Ranker:
    """Return a ranker with its default configuration; raise ConfigError naming the known ones."""
    if name not in RANKERS:
        raise ConfigError(f"no ranker '{name}'; there are {', '.join(sorted(RANKERS))}")
    return RANKERS[name]().build()
