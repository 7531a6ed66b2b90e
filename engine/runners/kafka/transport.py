"""Faust's Kafka driver, with what it offers no setting for changed.

- How long a fetch waits for data. A fetch asks for all partitions that have nothing buffered, and returns with the
  first data or after this time; what arrives for a partition that was left out waits for the next one. Faust asks the
  broker to wait 1.5 s, so that a window that passes four steps takes up to six seconds. With 50 ms an idle worker asks
  20 times a second, which is nothing.
- A commit that fails. Faust's ends the application on any error but one, and waits without end while the broker is
  away. Ours says that it did not work: the group's offsets are only a hint, and the next checkpoint commits again.
- Its threads. They keep a process from ending, and print a traceback when they crash; ours do neither. The reason of a
  crash is told by whoever runs the application.
- Its folder. It makes one on disk for tables that we do not have.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import faust

log = logging.getLogger(__name__)

FETCH_WAIT_MS: Final = 50
COMMIT_S: Final = 5.0


def diskless_app(*arguments: Any, **settings: Any) -> faust.App:
    """Return an application of Faust that keeps nothing on disk."""
    import faust

    class App(faust.App):
        def _create_directories(self) -> None:
            pass

    return App(*arguments, **settings)


def quick_transport(app: faust.App) -> Any:
    """Return a transport for `app` with our changes."""
    from faust.transport.drivers import aiokafka as driver
    from mode.threads import WorkerThread

    class Quiet(WorkerThread):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            super().__init__(*arguments, **more)
            self.daemon = True

        def run(self) -> None:
            try:
                super().run()
            except Exception as error:  # noqa: BLE001  (the application has crashed with it, and that is told)
                log.info("faust: %r", error)

    class Thread(driver.AIOKafkaConsumerThread):
        Worker = Quiet

        def _create_worker_consumer(self, transport: Any) -> Any:
            consumer = super()._create_worker_consumer(transport)
            consumer._fetch_max_wait_ms = FETCH_WAIT_MS  # read when it starts
            return consumer

        async def _commit(self, offsets: Mapping[Any, int]) -> bool:
            consumer = self._ensure_consumer()
            mine = {tp: offset for tp, offset in offsets.items() if tp in self.assignment()}
            return await committed(consumer, mine)

        def on_crash(self, text: str, *fmt: Any, **more: Any) -> None:
            log.info(text.format(*fmt))

    class Consumer(driver.Consumer):
        def _new_consumer_thread(self) -> Any:
            return Thread(self, loop=self.loop, beacon=self.beacon)

    class Transport(driver.Transport):
        pass

    Transport.Consumer = Consumer
    return Transport(app.conf.broker_consumer, app)


async def committed(consumer: Any, offsets: Mapping[Any, int]) -> bool:
    """Commit with a consumer of aiokafka; return whether the group took it."""
    from aiokafka.errors import CommitFailedError, KafkaError
    from aiokafka.structs import OffsetAndMetadata, TopicPartition

    wanted = {TopicPartition(tp.topic, tp.partition): OffsetAndMetadata(at, "") for tp, at in offsets.items()}
    try:
        await asyncio.wait_for(consumer.commit(wanted), COMMIT_S)
    except TimeoutError:
        return False
    except KafkaError as error:
        if not (error.retriable or isinstance(error, CommitFailedError)):
            log.warning("kafka: the group does not take offsets: %r", error)
        return False
    return True


def abandon(app: faust.App) -> None:
    """Let an application that does not end be no member of its group any more: nobody sends its heartbeats."""
    thread = getattr(app.consumer, "_thread", None)
    loop = getattr(thread, "thread_loop", None)
    if loop is not None and not loop.is_closed():
        loop.call_soon_threadsafe(loop.stop)
