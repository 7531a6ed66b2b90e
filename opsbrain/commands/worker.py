"""`opsbrain worker`: one long-running worker on Kafka."""

from __future__ import annotations

from opsbrain.commands.options import Config, Set
from opsbrain.commands.stub import unwired


def worker(config: Config = None, set_: Set = None) -> None:
    """Run a worker on Kafka until interrupted."""
    unwired("worker")
