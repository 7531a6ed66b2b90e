"""Inventory 2.3.1: as 2.3.0, with the words of one log line changed. A deployment that harms nobody."""

from benchmarks.testbed.runtime import App, Runtime
from benchmarks.testbed.services.inventory import Inventory


def build(runtime: Runtime) -> App:
    """Build the inventory service."""
    return App({"POST /reserve": _Inventory(runtime).reserve})


class _Inventory(Inventory):
    def _say(self, sku: str, quantity: int, left: int) -> None:
        self._runtime.log.say("stock", f"reservation sku={sku} quantity={quantity} on_hand={left}")
