"""`opsbrain worker`: one long-running worker on Kafka."""

from __future__ import annotations

import logging
import os
import signal
import threading

from opsbrain.commands.options import Config, Set
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_notify import NotifyRole
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
    notify = NotifyRole(settings, kafka)
    logging.basicConfig(format="opsbrain worker: %(message)s", level=logging.WARNING)
    run_worker(engine, kafka, stopped, [notify.run])
