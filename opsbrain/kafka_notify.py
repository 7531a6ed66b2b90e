"""The notify role of a worker: incidents and fixes from Kafka into the store and the outbox, and out to receivers.

It runs without receivers too: the store that it keeps is what `opsbrain incidents` and `opsbrain fixes` work on.

Order, so that a crash at any point loses no notification:
1. keep incidents and fixes in the store
2. compose and enqueue into the outbox (durable)
3. commit the offsets
4. send what is due
What is read again after a crash is recognised: by id and revision in the store, by delivery id in the outbox.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from engine.errors import SourceError
from engine.messages import FIXES, INCIDENTS
from engine.runners.kafka.codec import decode
from engine.runners.kafka.config import KafkaConfig
from engine.runners.meters import COMMITTED, Meters
from engine.types import Fix, Incident
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.meters import NOTIFY, NotifyMeters
from opsbrain.notify.outbox import FILE_NAME, Outbox
from opsbrain.notify.registry import build_notifiers
from opsbrain.settings import Settings
from opsbrain.store import Store

if TYPE_CHECKING:
    from confluent_kafka import Consumer

log = logging.getLogger(__name__)

_POLL_S: Final = 0.2
_BATCH: Final = 500
SETTLE_S: Final = 1.0  # an incident waits this long for the fixes that the same step sent right behind it


class NotifyRole:
    """Runs in a thread of its own, with its own consumer group; workers share its partitions as they share the rest."""

    def __init__(self, settings: Settings, config: KafkaConfig, meters: Meters | None = None) -> None:
        self._settings = settings
        self._config = config
        self._notifiers = build_notifiers(settings.notify)
        self._waiting: list[tuple[float, Incident]] = []
        self._meters = NotifyMeters(meters or Meters(), [one.name for one in self._notifiers])
        self._meters.all.wait(NOTIFY, "the group has not given partitions of incidents yet")
        self._meters.all.owned[NOTIFY] = self.positions
        self._given: frozenset[tuple[str, int]] = frozenset()

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the partitions that the group has given; where it stands in them the group knows."""
        return dict.fromkeys(self._given, COMMITTED)

    def run(self, stopped: Callable[[], bool]) -> None:
        """Run until stopped."""
        from confluent_kafka import Consumer

        folder = self._settings.store.folder
        outbox = Outbox(
            folder / FILE_NAME if self._notifiers else ":memory:", self._settings.notify.give_up_after_s * 1000
        )
        consumer = Consumer(
            self._config.client(
                group_id=self._config.group("notify"),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=int(self._config.session_timeout_s * 1000),
            )
        )
        try:
            with Store(folder) as store:
                self._loop(consumer, store, outbox, stopped)
        finally:
            consumer.close()
            outbox.close()

    def _loop(self, consumer: Consumer, store: Store, outbox: Outbox, stopped: Callable[[], bool]) -> None:
        dispatcher = Dispatcher(outbox, self._notifiers)
        topics = [self._config.topic(stream) for stream in (INCIDENTS, FIXES)]
        consumer.subscribe(topics, on_assign=self._assigned, on_revoke=self._revoked)
        while not stopped():
            self._keep([self._payload(one) for one in consumer.consume(_BATCH, _POLL_S)], store)  # 1
            with self._meters.all.stage(NOTIFY):
                if self._waiting and time.monotonic() - self._waiting[-1][0] >= SETTLE_S:
                    self._enqueue(dispatcher, store)  # 2
                    self._commit(consumer)  # 3
                self._meters.round(outbox, waiting=bool(self._waiting))
                self._send(dispatcher)  # 4

    def _send(self, dispatcher: Dispatcher) -> None:
        now_ms = int(time.time() * 1000)
        dispatcher.refresh(now_ms)
        for entry in dispatcher.run_due(now_ms):
            self._meters.attempted(entry)
            if entry.state == "failed":
                log.warning("notify: %s gave up on %s: %s", entry.delivery.notifier, entry.delivery.id, entry.last)

    def _keep(self, arrived: list[Incident | Fix], store: Store) -> None:
        store.put_fixes([one for one in arrived if isinstance(one, Fix)])
        incidents = [one for one in arrived if isinstance(one, Incident)]
        self._meters.received(len(incidents))
        store.put_incidents(incidents)
        self._waiting += [(time.monotonic(), one) for one in incidents]

    def _enqueue(self, dispatcher: Dispatcher, store: Store) -> None:
        for _, incident in sorted(self._waiting, key=lambda one: (one[1].updated_ms, one[1].id, one[1].revision)):
            fixes = [one for one in store.fixes(incident.id) if one.revision <= incident.revision]
            dispatcher.notify(incident, fixes, int(time.time() * 1000))
        self._waiting = []

    def _commit(self, consumer: Consumer) -> None:
        from confluent_kafka import KafkaException

        try:
            consumer.commit(asynchronous=False)
        except KafkaException as error:
            # somebody else has the partition now and reads these again; the outbox knows them
            log.warning("notify: offsets were not committed: %s", error.args[0].str())
            self._meters.error("commit")

    def _assigned(self, consumer: Consumer, partitions: list[Any]) -> None:
        self._given |= {(one.topic, one.partition) for one in partitions}
        self._meters.all.ready(NOTIFY)

    def _revoked(self, consumer: Consumer, partitions: list[Any]) -> None:
        self._waiting = []  # not committed: whoever has the partition now reads them again
        self._given -= {(one.topic, one.partition) for one in partitions}

    def _payload(self, message: Any) -> Incident | Fix:
        error = message.error()
        if error is not None:
            raise SourceError(f"kafka: incidents cannot be read: {error.str()}")
        stream = message.topic().removeprefix(self._config.topic_prefix)
        payload = decode(stream, message.key(), message.value(), dict(message.headers() or ())).payload
        if not isinstance(payload, Incident | Fix):
            raise SourceError(f"kafka: topic {message.topic()} holds something that is neither an incident nor a fix")
        return payload
