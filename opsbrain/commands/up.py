"""`opsbrain up`: receivers, pipeline and console in one process."""

from __future__ import annotations

from opsbrain.commands.options import Config, Set
from opsbrain.commands.stub import unwired


def up(config: Config = None, set_: Set = None) -> None:
    """Run receivers, pipeline and console in one process until interrupted."""
    unwired("up")
