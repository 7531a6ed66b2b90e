"""Faust's queues of messages for one step, bounded by bytes: a few hundred messages may be kilobytes or gigabytes.

Under pressure Faust takes the partition out of its fetches; what was fetched by then is still put in (about a megabyte
a partition). It never blocks: Faust delivers with one task for all steps, and a step that is busy (a fit takes minutes)
must not hold up the others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import faust

_HIGH: Final = 0.8
_LOW: Final = 0.4


def bounded_in_bytes(app: faust.App, limit_bytes: int) -> None:
    """Let the queues of `app` ask for no more than about `limit_bytes` each."""
    made = queue_class()

    def make(maxsize: int | None = None, *, clear_on_resume: bool = False) -> Any:
        queue = made(maxsize=maxsize, flow_control=app.flow_control, clear_on_resume=clear_on_resume)
        queue.limit_bytes = limit_bytes
        return queue

    app.FlowControlQueue = make


def queue_class() -> type[Any]:
    """Return Faust's queue with a bound in bytes."""
    from mode.utils.queues import ThrowableQueue

    class ByteQueue(ThrowableQueue):
        limit_bytes = 1 << 24
        waiting_bytes = 0

        def full(self) -> bool:
            return False

        def clear(self) -> None:
            super().clear()
            self.waiting_bytes = 0

        def _put(self, item: Any) -> None:
            self.waiting_bytes += _bytes(item)
            super()._put(item)

        def _get(self) -> Any:
            item = super()._get()
            self.waiting_bytes -= _bytes(item)
            return item

        def in_pressure_high_state(self, callback: Callable[[], None]) -> bool:
            pending = self._pending_pressure_drop_callbacks
            many = self.qsize() >= self.pressure_high_size or self.waiting_bytes >= _HIGH * self.limit_bytes
            if callback in pending or not many:
                return False
            pending.add(callback)
            self.on_pressure_high()
            return True

        def maybe_endorse_pressure_drop(self) -> None:
            if self.waiting_bytes <= _LOW * self.limit_bytes:
                super().maybe_endorse_pressure_drop()

    return ByteQueue


def _bytes(item: Any) -> int:
    message = getattr(item, "message", None)
    return len(getattr(message, "value", None) or b"")
