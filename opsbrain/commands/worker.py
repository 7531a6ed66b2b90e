"""`opsbrain worker`: one long-running worker on Kafka."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from engine.runners.meters import BROKER_CONNECTED, MEMORY_LIMIT, PAUSED, Meters
from opsbrain.commands.options import Config, Set
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_notify import NotifyRole
from opsbrain.logs import say, start_logging
from opsbrain.operating import Operating, address_of
from opsbrain.settings import Settings
from opsbrain.settings_load import load_settings
from opsbrain.wiring import engine_config


def worker(config: Config = None, set_: Set = None) -> None:
    """Run a worker on Kafka until interrupted; run as many as you like, they share the work."""
    from engine.runners.kafka.worker import run_worker

    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    settings = load_settings(config, os.environ, set_ or ())
    kafka = kafka_config(settings, needs_telemetry=True)
    engine = engine_config(settings)
    start_logging(settings, "opsbrain worker")
    meters = Meters()
    meters.set(MEMORY_LIMIT, settings.worker.memory_limit_mb << 20)
    meters.set(PAUSED, 0)
    meters.set(BROKER_CONNECTED, 0)
    meters.wait("broker", "starting")
    notify = NotifyRole(settings, kafka, meters)
    with _served(settings, meters):
        run_worker(engine, kafka, stopped, [notify.run], meters)


@contextmanager
def _served(settings: Settings, meters: Meters) -> Iterator[None]:
    """Serve how the worker is, if settings say where."""
    if not settings.worker.listen:
        yield
        return
    with Operating(settings, meters) as operating:
        if address_of(settings.worker.listen)[1] == 0:  # nobody else knows where
            say(f"/metrics, /healthz and /readyz at {operating.address}")
        yield
