"""One worker: the decode role in a thread, the stateful roles in the main loop, and whatever runs beside them.

Any number of workers share the work; each is the same. A worker stops within seconds when asked, and as a whole when
one of its roles cannot go on: what it did not commit is done again by whoever takes its partitions.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from engine.errors import ConfigError
from engine.flow import EngineConfig
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.decode import DecodeLoop
from engine.runners.kafka.stateful import Stateful
from engine.runners.kafka.topics import create_topics, wait_for_telemetry
from engine.runners.kafka.watch import BROKER, Watch
from engine.runners.meters import Meters
from engine.types import Inputs

log = logging.getLogger(__name__)

Stopped = Callable[[], bool]
Role = Callable[[Stopped], None]
"""Something that runs in a thread of its own until it is told to stop."""

_POLL_S: Final = 0.1


def run_worker(
    engine: EngineConfig,
    config: KafkaConfig,
    stopped: threading.Event,
    beside: Sequence[Role] = (),
    meters: Meters | None = None,
) -> None:
    """Work until `stopped` is set; raise an OpsBrainError when one of the roles cannot go on.

    Waits for the broker and for the telemetry topics, saying so once; then creates our own topics. `beside` are further
    roles (notifications). `meters` tell others how it goes.
    """
    meters = meters or Meters()
    meters.wait(BROKER, f"waiting for the broker at {config.bootstrap}")
    if config.partitions > engine.window.shards:
        raise ConfigError(
            f"kafka.partitions is {config.partitions}, more than pipeline.shards ({engine.window.shards}); lower it"
        )
    inputs = wait_for_telemetry(config, engine.window, stopped.is_set, lambda why: meters.wait(BROKER, why))
    if inputs is None:
        return
    create_topics(config)
    log.warning("working on %d inputs of %s", len(inputs.inputs), config.bootstrap)
    asyncio.run(_run(engine, config, inputs, stopped, beside, meters))
    log.warning("stopped")


async def _run(
    engine: EngineConfig,
    config: KafkaConfig,
    inputs: Inputs,
    stopped: threading.Event,
    beside: Sequence[Role],
    meters: Meters,
) -> None:
    over = threading.Event()
    steps = Stateful(engine, config, meters)
    decode = DecodeLoop(config, engine.window, inputs, steps.furthest_ms, over.is_set, meters)
    Watch(config, meters).start(over)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1 + len(beside), "opsbrain") as threads:
        running = [
            asyncio.ensure_future(steps.run(over.is_set)),
            loop.run_in_executor(threads, decode.run),
            *(loop.run_in_executor(threads, role, over.is_set) for role in beside),
        ]
        try:
            while not stopped.is_set() and not any(one.done() for one in running):
                await asyncio.wait(running, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.set()
        done = await asyncio.gather(*running, return_exceptions=True)
    for one in done:
        if isinstance(one, BaseException):
            raise one
