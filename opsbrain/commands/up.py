"""`opsbrain up`: receivers, pipeline and console in one process."""

from __future__ import annotations

import logging
import os
import signal
from types import FrameType

import typer

from opsbrain.commands.options import Config, Set
from opsbrain.service import Service
from opsbrain.settings_load import load_settings


def up(config: Config = None, set_: Set = None) -> None:
    """Run receivers, pipeline and console in one process until interrupted."""
    settings = load_settings(config, os.environ, set_ or ())
    logging.basicConfig(level=logging.WARNING, format="opsbrain: %(message)s")
    with Service(settings) as service:
        _stop_on_signals(service)
        grpc = f" OTLP over gRPC: port {service.grpc_port}." if service.grpc_port else ""
        typer.echo(f"OpsBrain listens on {service.address}: POST telemetry to /receive/FORMAT.{grpc} Ctrl-C stops it.")
        service.run()
    typer.echo("stopped; everything that was answered for is on disk")


def _stop_on_signals(service: Service) -> None:
    """Stop at the first signal; a second one ends the process where it stands, which loses nothing either."""

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        service.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
