"""Faust's Kafka driver, with one number changed that it offers no setting for: how long a fetch waits for data.

A fetch asks for all partitions that have nothing buffered, and returns with the first data or after this time; what
arrives for a partition that was left out waits for the next one. Faust asks the broker to wait 1.5 s, so that a window
that passes four steps takes up to six seconds. With 50 ms an idle worker asks 20 times a second, which is nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import faust

FETCH_WAIT_MS: Final = 50


def quick_transport(app: faust.App) -> Any:
    """Return a transport for `app` that does not wait long for data."""
    from faust.transport.drivers import aiokafka as driver

    class Thread(driver.AIOKafkaConsumerThread):
        def _create_worker_consumer(self, transport: Any) -> Any:
            consumer = super()._create_worker_consumer(transport)
            consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # read when it starts
            return consumer

    class Consumer(driver.Consumer):
        def _new_consumer_thread(self) -> Any:
            return Thread(self, loop=self.loop, beacon=self.beacon)

    class Transport(driver.Transport):
        pass

    Transport.Consumer = Consumer
    return Transport(app.conf.broker_consumer, app)
