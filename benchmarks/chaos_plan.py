"""What is done to the workers and the broker in each round of `bench chaos`, and when: all from the seed.

Every kind of fault comes equally often, in an order that the seed decides; every sixth round has two at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.chaos_workers import SESSION_S
from engine.errors import ConfigError

KILL: Final = "worker killed"
BROKER: Final = "broker killed"
FREEZE: Final = "worker frozen"
REBALANCE: Final = "rebalance"
DISK: Final = "disk full"
POISON: Final = "poison"
OUTAGE: Final = "long outage"
KINDS: Final = (KILL, BROKER, FREEZE, REBALANCE, DISK, POISON)
_LASTS_S: Final = {
    KILL: (0.0, 4.0),
    BROKER: (0.5, 7.0),
    FREEZE: (SESSION_S + 1.5, SESSION_S + 5.0),
    REBALANCE: (3.0, 8.0),
    DISK: (3.0, 8.0),
    POISON: (0.0, 0.5),
    OUTAGE: (35.0, 45.0),
}
_SETTLE_S: Final = 8.0  # a worker needs some three seconds to start and join: most get them
_BOTH_EVERY: Final = 6
_OUTAGE_EVERY: Final = 25  # longer than clients wait for a broker by default, and dear: once in a while


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it begins `at_s` into the round and lasts `for_s`; `which` in [0, 1) chooses among the workers."""

    kind: str
    at_s: float
    for_s: float
    which: float


@dataclass(frozen=True, slots=True)
class Round:
    """One round: its workers, how long new ones get to settle (or not), what happens, and the rest after it."""

    number: int
    workers: int
    settle_s: float
    faults: tuple[Fault, ...]
    rest_s: float


def plan(seed: int, rounds: int, only: Sequence[str] = KINDS) -> list[Round]:
    """Return the rounds, with faults of the kinds `only`; raise ConfigError where there is no such kind."""
    for one in only:
        if one not in _LASTS_S:
            raise ConfigError(f"chaos: no fault {one!r}; there are: {', '.join(_LASTS_S)}")
    random = Random(f"{seed}/plan")
    kinds = _kinds(random, only)
    return [_round(random, number, kinds, only) for number in range(1, rounds + 1)]


def _round(random: Random, number: int, kinds: Iterator[str], only: Sequence[str]) -> Round:
    chosen = [OUTAGE if number % _OUTAGE_EVERY == 0 else next(kinds)]
    others = [one for one in only if one not in chosen]
    if number % _BOTH_EVERY == 0 and others:
        chosen.append(random.choice(others))
    faults = tuple(
        Fault(kind, random.uniform(0.2, 2.5), random.uniform(*_LASTS_S[kind]), random.random()) for kind in chosen
    )
    workers = 1 if REBALANCE in chosen else random.randint(1, 2)
    return Round(number, workers, random.uniform(0.0, _SETTLE_S), faults, random.uniform(0.5, 4.0))


def _kinds(random: Random, only: Sequence[str]) -> Iterator[str]:
    while True:
        yield from random.sample(only, len(only))
