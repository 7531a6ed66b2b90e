"""What is done to the workers and the broker in each round of `bench chaos`, and when: all from the seed.

Every kind of fault comes equally often, in an order that the seed decides; every sixth round has two at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from benchmarks.chaos_workers import SESSION_S

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
    """One round: how many workers there are at its beginning, what happens, and how long is rested after it."""

    number: int
    workers: int
    faults: tuple[Fault, ...]
    rest_s: float


def plan(seed: int, rounds: int) -> list[Round]:
    """Return the rounds."""
    random = Random(f"{seed}/plan")
    kinds = _kinds(random)
    return [_round(random, number, kinds) for number in range(1, rounds + 1)]


def _round(random: Random, number: int, kinds: Iterator[str]) -> Round:
    chosen = [OUTAGE if number % _OUTAGE_EVERY == 0 else next(kinds)]
    if number % _BOTH_EVERY == 0:
        chosen.append(random.choice([one for one in KINDS if one not in chosen]))
    faults = tuple(
        Fault(kind, random.uniform(0.2, 2.5), random.uniform(*_LASTS_S[kind]), random.random()) for kind in chosen
    )
    workers = 1 if REBALANCE in chosen else random.randint(1, 2)
    return Round(number, workers, faults, random.uniform(0.5, 4.0))


def _kinds(random: Random) -> Iterator[str]:
    while True:
        yield from random.sample(KINDS, len(KINDS))
