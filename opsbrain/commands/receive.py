"""`opsbrain receive`: the receivers alone, into Kafka."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType

from opsbrain.commands.options import Config, Set
from opsbrain.logs import start_logging, tell
from opsbrain.receiving import Receiving
from opsbrain.settings_load import load_settings


def receive(config: Config = None, set_: Set = None) -> None:
    """Run the receivers alone, into the topics of kafka.telemetry, until interrupted; run as many as you like."""
    settings = load_settings(config, os.environ, set_ or ())
    start_logging(settings, "opsbrain receive")
    stopped = _stopped_by_signals()
    with Receiving(settings) as receiving:
        grpc = f", gRPC on port {receiving.grpc_port}" if receiving.grpc_port else ""
        where = f"{receiving.address}{grpc}, into {settings.kafka.bootstrap}"
        tell(settings, f"OpsBrain receives on {where}. Ctrl-C stops it.")
        receiving.run(stopped)
    tell(settings, "stopped; everything that was answered for is in Kafka")


def _stopped_by_signals() -> threading.Event:
    """Return what the first signal sets; a second one ends the process where it stands, which loses nothing either."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stopped.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    return stopped
