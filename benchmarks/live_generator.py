"""Sends a fleet's samples to Kafka as time passes, with faults: the load of `bench latency` and `bench soak`.

    python -m benchmarks.live_generator PLAN.json

Every series is sampled once a second; the messages of a second go out in even ticks over that second, whatever the
broker or the workers do (open loop). Beside the plan two files are written: `delivered.jsonl`, when the broker had
acknowledged the first message of each second and partition, and `sent.json` at the end.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

import msgspec
import numpy as np

from benchmarks.fill import Filler
from benchmarks.load import POD_SERIES, PODS_A_SERVICE, SHAPES, Fleet
from engine.types import Floats

TICKS: Final = 20
_HARDER: Final = {
    "log_messages_total": 40.0,
    "request_latency_seconds": 20.0,
    "http_requests_in_flight": 15.0,
    "queue_depth": 12.0,
    "db_pool_connections": 6.0,
}
"""What a fault multiplies, and by how much: work piles up, answers are slow, errors are logged."""


class Plan(msgspec.Struct, frozen=True):
    """What is sent. Faults begin after `calm_s`, one every `fault_every_s`, each in another service for `fault_s`."""

    bootstrap: str
    topic: str
    partitions: int
    series: int
    seconds: int
    begin_s: int  # Unix seconds of the first sample
    calm_s: int = 60
    fault_every_s: int = 5
    fault_s: int = 8
    end_marks: bool = True


class Sent(msgspec.Struct, frozen=True):
    """What was sent, and how true the generator was to its times."""

    samples: int
    messages: int
    seconds: int
    cpu_s: float
    behind_s: float  # the worst tick


@dataclass(slots=True)
class Faults:
    """Which rows of a scrape suffer when."""

    plan: Plan
    fleet: Fleet

    def factor(self, second: int) -> Floats | None:
        """Return (N,) what multiplies every series in that second, or None in calm ones."""
        services = [self._service(number) for number in self._running(second)]
        if not services:
            return None
        shapes = np.array([_HARDER.get(one.name, 1.0) for one in SHAPES] + [1.0] * (POD_SERIES - len(SHAPES)))
        hit = np.isin(self.fleet.pods // PODS_A_SERVICE, services)
        return np.where(hit, shapes[self.fleet.numbers % POD_SERIES], 1.0)

    def _running(self, second: int) -> Iterator[int]:
        since = second - self.plan.calm_s
        first = max(0, -(-(since - self.plan.fault_s + 1) // self.plan.fault_every_s))
        yield from range(first, since // self.plan.fault_every_s + 1) if since >= 0 else ()

    def _service(self, number: int) -> int:
        services = max(self.plan.series // (POD_SERIES * PODS_A_SERVICE), 1)
        return number * 37 % services


def send(plan: Plan, folder: Path) -> Sent:
    """Send the plan, from its first second to its last or until SIGTERM."""
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: _note(stopping, number, _frame))
    fleet = Fleet(plan.series, plan.partitions, scrape_s=1, start_ms=plan.begin_s * 1_000)
    faults, filler = Faults(plan, fleet), Filler(plan.bootstrap, plan.topic, plan.partitions, linger_ms=5)
    behind_s, second = 0.0, 0
    with open(folder / "delivered.jsonl", "w", buffering=1) as delivered:
        while second < plan.seconds and not stopping:
            bodies = {one.partition: one.bodies for one in fleet.adapter_json(second, faults.factor(second))}
            for tick in range(TICKS):
                behind_s = max(behind_s, _wait_until(plan.begin_s + second + tick / TICKS, filler))
                for partition, all_of_it in bodies.items():
                    part = all_of_it[len(all_of_it) * tick // TICKS : len(all_of_it) * (tick + 1) // TICKS]
                    if tick == 0:
                        filler.put_watched(partition, part[0], _writer(delivered, plan.begin_s + second, partition))
                        part = part[1:]
                    filler.put(partition, part)
            second += 1
        samples = filler.filled.items
        filled = filler.end(marks=plan.end_marks)
    return Sent(samples, filled.sent, second, filled.cpu_s, behind_s)


def _note(stopping: list[int], number: int, _frame: FrameType | None) -> None:
    stopping.append(number)


def _writer(file: Any, second: int, partition: int) -> Any:
    def delivered(error: Any, _message: Any) -> None:
        if error is None:
            file.write(f"[{second},{partition},{time.monotonic()}]\n")

    return delivered


def _wait_until(at_s: float, filler: Filler) -> float:
    """Wait until a time, serving delivery reports; return how late it is."""
    while (left := at_s - time.time()) > 0:
        filler.poll(min(left, 0.01))
    return -left


if __name__ == "__main__":
    path = Path(sys.argv[1])
    done = send(msgspec.json.decode(path.read_bytes(), type=Plan), path.parent)
    (path.parent / "sent.json").write_bytes(msgspec.json.encode(done))
