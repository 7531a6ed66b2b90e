"""Carries out one round of `bench chaos`: its faults begin and end at their times, and all is well again at its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from benchmarks import chaos_plan as plan
from benchmarks.chaos_broker import Broker
from benchmarks.chaos_disk import Disk
from benchmarks.chaos_feeder import Feeder
from benchmarks.chaos_plan import Fault, Round
from benchmarks.chaos_workers import PLACES, Workers

Action = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Scene:
    """What a round is done to."""

    broker: Broker
    workers: Workers
    disk: Disk
    feeder: Feeder
    random: Random

    def play(self, round: Round) -> None:
        """Carry out a round. At its end the broker answers, the disk has room and nobody is frozen."""
        if self._have(round.workers):
            time.sleep(round.settle_s)
        began_s = time.monotonic()
        for at_s, _, action in sorted(self._actions(round), key=lambda one: one[:2]):
            time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            action()
        self.workers.thaw()
        self.disk.free()
        self.broker.ready()
        time.sleep(round.rest_s)

    def _have(self, wanted: int) -> bool:
        """Bring the number of workers to `wanted`, as a supervisor does; return whether any had to be started."""
        running = self.workers.running()
        self.workers.stop(running[wanted:])
        free = [place for place in range(PLACES) if place not in running]
        missing = free[: max(0, wanted - len(running))]
        for place in missing:
            self.workers.start(place)
        return bool(missing)

    def _bring(self, wanted: int) -> None:
        self._have(wanted)

    def _actions(self, round: Round) -> list[tuple[float, int, Action]]:
        """Return what to do and when, ends behind beginnings of the same moment."""
        found: list[tuple[float, int, Action]] = []
        for fault in round.faults:
            begin, end = self._fault(fault)
            found += [(fault.at_s, 2 * len(found), begin), (fault.at_s + fault.for_s, 2 * len(found) + 1, end)]
        return found

    def _fault(self, fault: Fault) -> tuple[Action, Action]:
        if fault.kind == plan.KILL:
            return self._kill(fault)
        if fault.kind == plan.FREEZE:
            return lambda: self.workers.freeze(self._one(fault)), self.workers.thaw
        if fault.kind == plan.REBALANCE:
            return lambda: self._bring(PLACES), lambda: self._bring(1)
        if fault.kind == plan.DISK:
            return lambda: self.disk.fill(self.workers.pids()), self.disk.free
        if fault.kind == plan.POISON:
            return lambda: self.feeder.poison(self.random.randint(5, 40)), lambda: None
        return self.broker.kill, self.broker.start

    def _kill(self, fault: Fault) -> tuple[Action, Action]:
        killed: list[int] = []

        def begin() -> None:
            killed.append(self._one(fault))
            self.workers.kill(killed[0])

        return begin, lambda: self.workers.start(killed[0])

    def _one(self, fault: Fault) -> int:
        running = self.workers.running()
        return running[int(fault.which * len(running))] if running else 0
