"""`opsbrain bench chaos`: crashes, freezes, rebalances, a full disk, poison. Is the result still the same to the byte?

Two shops send metrics, logs, spans, events and objects without a break, in event time that runs faster than the clock.
Meanwhile a real broker and up to three workers go through rounds of faults with random timing, from a printed seed. At
the end one undisturbed worker reads the same topics under names of its own, and everything that both concluded and told
is compared. Wanted: lost 0, repeated 0, changed 0.

Environment: OPSBRAIN_CHAOS_SEED (else taken from the clock and printed), OPSBRAIN_CHAOS_ROUNDS (50),
OPSBRAIN_CHAOS_FAULTS (only these kinds, as `broker killed,disk full`), OPSBRAIN_CHAOS_WINDOWS_PER_S (1.5: how many
windows of ten seconds are sent in a second), OPSBRAIN_CHAOS_KEEP (folder for logs and exports of a run in which
something differs; else one is made and named).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from random import Random
from typing import Any, Final

import typer

from benchmarks.asked import number, whole
from benchmarks.chaos_broker import Broker
from benchmarks.chaos_compare import (
    Difference,
    compare_exports,
    compare_notified,
    compare_topics,
    compare_windows,
    event_id,
)
from benchmarks.chaos_disk import Disk
from benchmarks.chaos_feeder import AHEAD_WINDOWS, Feeder
from benchmarks.chaos_guard import Guard
from benchmarks.chaos_plan import KINDS, Round, plan
from benchmarks.chaos_round import Scene
from benchmarks.chaos_workers import PLACES, Workers, group
from engine.errors import OpsBrainError, Retryable, SourceError
from engine.runners.kafka.lag import lag
from opsbrain.export import read_export
from opsbrain.kafka_config import kafka_config
from opsbrain.notify.receiver import Receiver
from opsbrain.settings_load import load_settings

ROUNDS: Final = 50
PACE: Final = 1.5  # windows a second
_DONE_S: Final = 600.0
_TOLD_S: Final = 60.0
_EXPORT_S: Final = 120.0
_REFUSALS: Final = 12  # of the first deliveries, some of which the receiver does not take at once


@dataclass(frozen=True, slots=True)
class Concluded:
    """What a run came to: its workers, its export, and the receiver that was told."""

    workers: Workers
    export: Path
    receiver: Receiver


def run(data: Path | None = None) -> dict[str, Any]:
    """Return what the faults changed. `data` is not used."""
    seed = whole("OPSBRAIN_CHAOS_SEED", time.time_ns() % 1_000_000)
    only = [one.strip() for one in os.environ.get("OPSBRAIN_CHAOS_FAULTS", "").split(",") if one.strip()]
    rounds = plan(seed, whole("OPSBRAIN_CHAOS_ROUNDS", ROUNDS, 1), only or KINDS)
    _say(f"seed {seed}, {len(rounds)} rounds")
    began_s = time.monotonic()
    with ExitStack() as stack:
        stack.enter_context(_interruptible())
        folder = Path(tempfile.mkdtemp(prefix="opsbrain-chaos-"))
        stack.callback(_remove, folder)
        stack.enter_context(Guard(folder))
        trial = _Trial(folder, seed, stack)
        try:
            result = trial.run(rounds)
        except OpsBrainError:
            _keep(folder, seed)
            raise
        if trial.difference.lines() or result["metrics"]["ended_by_themselves"]:
            result["data"]["kept"] = _keep(folder, seed)
    result["metrics"]["minutes"] = round((time.monotonic() - began_s) / 60, 1)
    return result


class _Trial:
    """One run of the benchmark in a folder; what it starts is ended by the stack that it is given."""

    def __init__(self, folder: Path, seed: int, stack: ExitStack) -> None:
        self.difference = Difference()
        self._folder, self._seed, self._stack = folder, seed, stack
        self._rounds_began: list[tuple[int, Round]] = []

    def run(self, rounds: Sequence[Round]) -> dict[str, Any]:
        disk = Disk(self._folder / "disk")
        self._stack.callback(disk.end)
        broker = Broker(self._folder / "kafka")
        self._stack.callback(broker.end)
        broker.start()
        broker.ready()
        feeder = Feeder(broker.bootstrap, self._seed, number("OPSBRAIN_CHAOS_WINDOWS_PER_S", PACE, 0.01))
        feeder.start()
        self._stack.callback(feeder.stop)
        disturbed = self._disturbed(rounds, broker, disk, feeder)
        calm = self._calm(broker, feeder)
        return self._result(rounds, calm, disturbed, disk, feeder)

    def _disturbed(self, rounds: Sequence[Round], broker: Broker, disk: Disk, feeder: Feeder) -> Concluded:
        random = Random(f"{self._seed}/receiver")
        refusals = [(random.choice((204, 503)), {"retry-after": "1"}) for _ in range(_REFUSALS)]
        receiver = self._stack.enter_context(Receiver(answers=refusals))
        workers = self._workers("disturbed", broker, disk.folder, feeder, receiver)
        scene = Scene(broker, workers, disk, feeder, Random(f"{self._seed}/scene"))
        _until(lambda: feeder.window >= AHEAD_WINDOWS, _DONE_S, "the first windows to be sent")
        for one in rounds:
            _say(f"round {one.number} at window {feeder.window}: {_described(one)}")
            self._rounds_began.append((feeder.window, one))
            scene.play(one)
        feeder.finish()
        for place in range(PLACES):  # whoever still has something in its outbox gets to send it
            workers.start(place)
        return self._concluded(workers, receiver)

    def _calm(self, broker: Broker, feeder: Feeder) -> Concluded:
        receiver = self._stack.enter_context(Receiver())
        workers = self._workers("undisturbed", broker, self._folder / "undisturbed-state", feeder, receiver)
        workers.start(0)
        return self._concluded(workers, receiver)

    def _workers(self, name: str, broker: Broker, state: Path, feeder: Feeder, receiver: Receiver) -> Workers:
        made = group(self._folder / name, state, name, broker.bootstrap, feeder.topics(), receiver.url)
        workers = Workers(made)
        self._stack.callback(workers.kill_all)
        return workers

    def _concluded(self, workers: Workers, receiver: Receiver) -> Concluded:
        """Return what a group has concluded, once everything that was sent is in it and everybody was told."""
        name, began_s = workers.group.folder.name, time.monotonic()
        config = kafka_config(load_settings(workers.group.settings, {}))

        def done() -> bool:
            for place in set(range(PLACES if name == "disturbed" else 1)) - set(workers.running()):
                workers.start(place)  # as a supervisor would
            try:
                # twice: topics are asked one after the other, and what is done in between makes more
                return not any(lag(config).values()) and not any(lag(config).values())
            except Retryable:
                return False

        _until(done, _DONE_S, f"the {name} workers to be done")
        export = _export(workers)
        wanted = {f"{one.id}.{one.revision}" for one in read_export(export).incidents}
        told = time.monotonic() + _TOLD_S
        while not wanted <= _told(receiver) and time.monotonic() < told:
            time.sleep(0.2)
        workers.stop(workers.running())
        _say(
            f"{name}: {len(wanted)} revisions of incidents; done {time.monotonic() - began_s:.0f} s after the last row"
        )
        return Concluded(workers, export, receiver)

    def _result(
        self, rounds: Sequence[Round], calm: Concluded, disturbed: Concluded, disk: Disk, feeder: Feeder
    ) -> dict[str, Any]:
        found = compare_exports(calm.export, disturbed.export, self.difference)
        incidents = read_export(calm.export).incidents
        told = compare_notified(
            calm.receiver.received,
            disturbed.receiver.received,
            [(one.id, one.revision) for one in incidents],
            self.difference,
        )
        configs = [kafka_config(load_settings(one.workers.group.settings, {})) for one in (calm, disturbed)]
        again = compare_topics(configs[1], self.difference)
        compare_windows(configs[0], configs[1], self.difference)
        ended = [line for one in (disturbed, calm) for line in one.workers.ended]
        tracebacks = [line for one in (disturbed, calm) for line in one.workers.lines("Traceback")]
        for line in (*self.difference.lines(), *ended):
            _say(line)
        faults = Counter(fault.kind for one in rounds for fault in one.faults)
        return {
            "name": "chaos",
            "version": version("opsbrain"),
            "data": {"seed": self._seed, "disk": disk.how, "windows": feeder.window, "messages": feeder.sent},
            "metrics": {
                "rounds": len(rounds),
                "lost": len(self.difference.lost),
                "repeated": len(self.difference.repeated),
                "changed": len(self.difference.changed),
                "ended_by_themselves": len(ended),
                "slow_stops": len(disturbed.workers.slow_s),
                "tracebacks": len(tracebacks),
                "workers_started": disturbed.workers.started,
                "windows": feeder.window,
                "messages": feeder.sent,
                "poisonous": feeder.poisoned,
                "faults": {kind.replace(" ", "_"): n for kind, n in sorted(faults.items())},
                "found": {**found, **told, "topic_repeats": again},
                "seed": self._seed,
            },
            "cases": [
                *(
                    {"round": one.number, "window": window, "what": _described(one)}
                    for window, one in self._rounds_began
                ),
                *({"difference": line} for line in self.difference.lines()),
                *({"ended": line} for line in ended),
            ],
        }


def _described(one: Round) -> str:
    faults = " and ".join(f"{fault.kind} at {fault.at_s:.1f} s for {fault.for_s:.1f} s" for fault in one.faults)
    return f"{faults}, of {one.workers}, rest {one.rest_s:.1f} s"


def _told(receiver: Receiver) -> set[str]:
    return {event_id(one.body) for one in receiver.received}


def _export(workers: Workers) -> Path:
    out = workers.group.folder / "export"
    command = [sys.executable, "-m", "opsbrain", "export", "--config", str(workers.group.settings), "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_EXPORT_S, check=False)
    if done.returncode != 0:
        raise SourceError(f"chaos: export: {done.stderr.strip()}")
    return out


def _until(reached: Callable[[], bool], timeout_s: float, what: str) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not reached():
        if time.monotonic() > deadline_s:
            raise SourceError(f"chaos: waited {timeout_s:g} s for {what}")
        time.sleep(0.3)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the benchmark as ctrl-c does, so that everything is cleaned up."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _keep(folder: Path, seed: int) -> str:
    """Copy logs and exports away from what is about to be removed; return where they are."""
    kept = Path(os.environ.get("OPSBRAIN_CHAOS_KEEP") or tempfile.mkdtemp(prefix=f"opsbrain-chaos-{seed}-kept-"))
    for name in ("disturbed", "undisturbed"):
        if (folder / name).is_dir():
            shutil.copytree(folder / name, kept / name, dirs_exist_ok=True)
    _say(f"logs and exports are in {kept}")
    return str(kept)


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)


def _say(text: str) -> None:
    typer.echo(f"chaos: {text}", err=True)
