"""`opsbrain up`: receivers, pipeline and console in one process."""

from __future__ import annotations

import os
import signal
from types import FrameType

from opsbrain.commands.options import Config, Set
from opsbrain.logs import start_logging, tell
from opsbrain.service import Service
from opsbrain.settings_load import load_settings


def up(config: Config = None, set_: Set = None) -> None:
    """Run receivers, pipeline and console in one process until interrupted."""
    settings = load_settings(config, os.environ, set_ or ())
    start_logging(settings, "opsbrain")
    with Service(settings) as service:
        _stop_on_signals(service)
        grpc = f" OTLP over gRPC: port {service.grpc_port}." if service.grpc_port else ""
        where = f"{service.address}: POST telemetry to /receive/FORMAT.{grpc}"
        tell(settings, f"OpsBrain listens on {where} Ctrl-C stops it.")
        service.run()
    tell(settings, "stopped; everything that was answered for is on disk")


def _stop_on_signals(service: Service) -> None:
    """Stop at the first signal; a second one ends the process where it stands, which loses nothing either."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
