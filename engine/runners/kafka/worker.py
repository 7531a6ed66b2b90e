"""One worker: the decode role in a thread, the stateful roles in the main loop, and whatever runs beside them.

Any number of workers share the work; each is the same. Nothing that passes ends a worker: while the broker is away it
waits, and a role that could not go on begins anew (`supervise.py`). A worker ends when it is asked to, within ten
seconds whatever the broker does; and as a whole, with one line, when one of its roles cannot go on at all: what it did
not commit is done again by whoever takes its partitions.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import os
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from engine.errors import ConfigError, Retryable
from engine.flow import EngineConfig
from engine.messages import FEATURES
from engine.runners.kafka.brake import Brake
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.decode import DecodeLoop
from engine.runners.kafka.stateful import ROLE, Stateful
from engine.runners.kafka.supervise import Lives, supervise, supervise_async
from engine.runners.kafka.topics import create_topics, wait_for_telemetry
from engine.runners.kafka.waiting import Stopping
from engine.runners.kafka.watch import BROKER, Watch
from engine.runners.meters import Meters
from engine.types import Inputs

log = logging.getLogger(__name__)

Stopped = Callable[[], bool]
Role = Callable[[Stopped], None]
"""Something that runs in a thread of its own until it is told to stop. Run again when it raises Retryable."""

END_S: Final = 8.5  # of the ten seconds within which a worker ends
_POLL_S: Final = 0.1
_TIDY_S: Final = 2.0
_OLD, _ALL = 15, 300  # turns: half a minute, ten minutes
_YOUNG_OBJECTS: Final = 200_000
"""New objects before the garbage collector looks for cycles: a batch of messages is some 20,000 that are in none, and
every look at them, and at the names of all series, costs as much as consuming them."""


def run_worker(
    engine: EngineConfig,
    config: KafkaConfig,
    stopped: threading.Event,
    beside: Sequence[Role] = (),
    meters: Meters | None = None,
) -> None:
    """Work until `stopped` is set; raise an OpsBrainError when one of the roles cannot go on at all.

    Waits for the broker and for the telemetry topics, saying so once; then creates our own topics. `beside` are further
    roles (notifications). `meters` tell others how it goes. A client that cannot end because its broker is away is not
    waited for: then the process is ended, with status 0.
    """
    gc.set_threshold(_YOUNG_OBJECTS, 20, 1_000)
    meters = meters or Meters()
    meters.wait(BROKER, f"waiting for the broker at {config.bootstrap}")
    if config.partitions > engine.window.shards:
        raise ConfigError(
            f"kafka.partitions is {config.partitions}, more than pipeline.shards ({engine.window.shards}); lower it"
        )
    stopping, ended = Stopping(stopped), threading.Event()
    threading.Thread(target=_end_in_time, args=(stopping, ended), name="opsbrain-end", daemon=True).start()
    inputs = _prepared(engine, config, stopping, meters)
    if inputs is not None:
        log.warning("working on %d inputs of %s", len(inputs.inputs), config.bootstrap)
        asyncio.run(_run(engine, config, inputs, stopping, beside, meters))
        log.warning("stopped")
    ended.set()


def _prepared(engine: EngineConfig, config: KafkaConfig, stopping: Stopping, meters: Meters) -> Inputs | None:
    """Return the inputs when all topics are there, None when asked to stop before."""
    lives = Lives("topics", stopping.seconds)
    while not stopping():
        inputs = wait_for_telemetry(config, engine.window, stopping, lambda why: meters.wait(BROKER, why))
        if inputs is None:
            return None
        try:
            create_topics(config)
        except Retryable as error:
            stopping.pause(lives.failed(error))
        else:
            return inputs
    return None


async def _run(
    engine: EngineConfig,
    config: KafkaConfig,
    inputs: Inputs,
    stopping: Stopping,
    beside: Sequence[Role],
    meters: Meters,
) -> None:
    over = threading.Event()
    watch = Watch(config, meters)
    watch.follow(ROLE, config.topic(FEATURES), config.partitions)
    steps = Stateful(engine, config, stopping, meters)
    brake = Brake(config.memory_limit_bytes, lambda: _backlog(config, steps, watch), meters)
    decode = DecodeLoop(config, engine.window, inputs, steps.furthest_ms, stopping, meters, brake.holds)
    watch.start(over)
    roles: list[tuple[str, Callable[[], None]]] = [
        ("decode", decode.run),
        *(("notify", partial(one, stopping)) for one in beside),
    ]
    tidying = asyncio.ensure_future(_tidy())
    running = [
        asyncio.ensure_future(supervise_async(ROLE, steps.run, stopping)),
        *(_in_thread(name, partial(supervise, name, run, stopping)) for name, run in roles),
    ]
    try:
        while not stopping() and not any(one.done() for one in running):
            await asyncio.wait(running, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tidying.cancel()
        stopping.ask()
    done = await asyncio.gather(*running, return_exceptions=True)
    over.set()
    for one in done:
        if isinstance(one, BaseException):
            raise one


async def _tidy() -> None:
    """Collect garbage by time: what is in cycles may hold messages of any size, and there are few of them."""
    for turn in itertools.count(1):
        await asyncio.sleep(_TIDY_S)
        gc.collect(2 if turn % _ALL == 0 else 1 if turn % _OLD == 0 else 0)


def _backlog(config: KafkaConfig, steps: Stateful, watch: Watch) -> tuple[int, int, int]:
    """Return what waits for detection: messages here, their bytes (about), and the most on another worker."""
    topic, positions = config.topic(FEATURES), steps.positions()
    here = elsewhere = 0
    for (one, partition), (end, committed) in watch.ends_of(topic).items():
        if (one, partition) in positions:
            here += max(end - positions[one, partition], 0)
        else:
            elsewhere = max(elsewhere, end - committed)
    return here, int(here * steps.mean_bytes()), elsewhere


def _in_thread(name: str, work: Callable[[], None]) -> asyncio.Future[None]:
    """Run `work` in a thread that does not keep the process from ending; return when and how it ended."""
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_result(None) if error is None else ended.set_exception(error)

    def run() -> None:
        error: BaseException | None = None
        try:
            work()
        except BaseException as raised:  # noqa: BLE001  (the main thread raises it)
            error = raised
        if not loop.is_closed():
            loop.call_soon_threadsafe(tell, error)

    threading.Thread(target=run, name=f"opsbrain-{name}", daemon=True).start()
    return ended


def _end_in_time(stopping: Stopping, ended: threading.Event, leave: Callable[[int], Any] = os._exit) -> None:
    """End the process when something does not: a client of a broker that is away may take minutes to give up."""
    while not ended.wait(_POLL_S):
        if stopping.for_s() >= END_S:
            log.warning("stopped without waiting any longer for the broker: what is not committed is done again")
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            leave(1 if stopping.failed else 0)
            return
