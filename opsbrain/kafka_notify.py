"""The notify role of a worker: incidents and fixes from Kafka into the store, and out to receivers.

It runs without receivers too: the store that it keeps is what `opsbrain incidents` and `opsbrain fixes` work on.

Order, so that a crash at any point loses no notification, also of a worker that never comes back:
1. compose and enqueue into the outbox, which lives as long as this worker
2. keep incidents and fixes in the store
3. receivers are told, each by a thread of its own
4. commit offsets up to the first that is owed to somebody, with who is owed what (`opsbrain.notify.ledger`)
What is read again after a crash or a rebalance is told again with the same body and key, or recognised: by id and
revision in the store, by delivery id in the outbox. While the store cannot be written (a full disk) people are told all
the same, and nothing is committed.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from engine.errors import OpsBrainError, Retryable, SourceError
from engine.messages import FIXES, INCIDENTS
from engine.notice import Notice
from engine.runners.kafka.codec import decode
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.waiting import RETRY_S, passes, raised
from engine.runners.meters import COMMITTED, Meters
from engine.types import Fix, Incident
from opsbrain.notify.deliverer import Deliverer
from opsbrain.notify.delivery import Delivery
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.lease import Lease
from opsbrain.notify.ledger import Ledger
from opsbrain.notify.meters import NOTIFY, NotifyMeters
from opsbrain.notify.outbox import SCRATCH, Outbox
from opsbrain.notify.registry import build_notifiers
from opsbrain.notify.trouble import Trouble, reason
from opsbrain.settings import Settings
from opsbrain.shelf import Shelf

if TYPE_CHECKING:
    from confluent_kafka import Consumer

log = logging.getLogger(__name__)

_POLL_S: Final = 0.1  # returns with the first message
_BATCH: Final = 500
_ANSWER_S: Final = 5.0
_COMMIT_EVERY_S: Final = 0.5
_REMEMBER_MS: Final = 3_600_000  # how long a delivery that has ended is recognised when it is read again
_MANY: Final = 10_000  # incidents of a partition; the outbox has forgotten most by then
_STOP_S: Final = 3.0

Partition = tuple[str, int]


class NotifyRole:
    """Runs in a thread of its own, with its own consumer group; workers share its partitions as they share the rest."""

    def __init__(self, settings: Settings, config: KafkaConfig, meters: Meters | None = None) -> None:
        self._settings = settings
        self._config = config
        self._notifiers = build_notifiers(settings.notify)
        self._receivers = [one.name for one in self._notifiers]
        self._refreshing = [one.name for one in self._notifiers if one.refresh_ms]
        self._ledgers: dict[Partition, Ledger] = {}
        self._committed: dict[Partition, tuple[int, str]] = {}
        self._commit_s = 0.0
        self._uncertain = False  # a commit is under way, or has failed
        self._paused = False
        self._broken: Retryable | None = None
        self._arrived: list[Any] = []  # messages in the broker's client's own form, not enqueued yet
        self._trouble = Trouble(log, "notify: the outbox cannot be written")
        self._shelf = Shelf(settings.store.folder)
        self._lease = Lease(config.session_timeout_s)
        self._meters = NotifyMeters(meters or Meters(), self._receivers)
        self._meters.all.wait(NOTIFY, "the group has not given partitions of incidents yet")
        self._meters.all.owned[NOTIFY] = self.positions
        self._given: frozenset[Partition] = frozenset()

    def positions(self) -> dict[Partition, int]:
        """Return where it stands in the partitions that the group has given; what is owed lies before."""
        ledgers = dict(self._ledgers)  # asked from another thread
        return {key: ledgers[key].position if key in ledgers else COMMITTED for key in self._given}

    def run(self, stopped: Callable[[], bool]) -> None:
        """Run until stopped; nothing that an earlier run has read or been given is left."""
        self._ledgers, self._committed, self._arrived, self._given = {}, {}, [], frozenset()
        self._uncertain = self._paused = False
        self._broken = None
        self._outbox = Outbox(SCRATCH, self._settings.notify.give_up_after_s * 1000)
        self._dispatcher = Dispatcher(self._outbox, self._notifiers)
        self._deliverer = Deliverer(
            self._outbox,
            self._notifiers,
            _now_ms,
            self._settings.notify.stale_after_s * 1000,
            self._meters,
            _REMEMBER_MS,
            self._lease.holds,
        )
        self._consumer = self._subscribed()
        self._deliverer.start()
        try:
            while not stopped():
                self._round()
            self._deliverer.stop(_STOP_S)
            self._commit(self._ledgers)
        finally:
            self._deliverer.stop(0)
            self._consumer.close()
            self._shelf.close()
            self._outbox.close()

    def _round(self) -> None:
        self._lease.renew()
        self._poll()
        with self._meters.all.stage(NOTIFY):
            self._enqueue()  # 1
            self._shelf.save(self._meters)  # 2
        if time.monotonic() >= self._commit_s:
            self._commit_all()  # 4
        self._meters.round(self._outbox, waiting=self._uncertain or bool(self._shelf.unsaved))
        if not self._deliverer.alive:
            raise SourceError("notify: a thread that delivers notifications ended by itself; the log says why")

    def _subscribed(self) -> Consumer:
        from confluent_kafka import Consumer

        consumer = Consumer(
            self._config.client(
                group_id=self._config.group("notify"),
                enable_auto_commit=False,
                auto_offset_reset="earliest",
                session_timeout_ms=int(self._config.session_timeout_s * 1000),
                partition_assignment_strategy="cooperative-sticky",
            )
            | {"on_commit": self._on_commit}
        )
        topics = [self._config.topic(stream) for stream in (INCIDENTS, FIXES)]
        consumer.subscribe(
            topics, on_assign=self._assigned, on_revoke=self._kept(self._revoked), on_lost=self._kept(self._lost)
        )
        return consumer

    def _kept(self, told: Callable[[Consumer, list[Any]], None]) -> Callable[[Consumer, list[Any]], None]:
        """Keep what a callback raises until the client has returned: it must not pass through the client."""

        def call(consumer: Consumer, partitions: list[Any]) -> None:
            try:
                told(consumer, partitions)
            except (OpsBrainError, sqlite3.Error) as error:  # a new outbox owes nothing of what is somebody else's now
                self._broken = Retryable(f"notify: the outbox cannot be written: {reason(error)}", RETRY_S)

        return call

    def _poll(self) -> None:
        """Take what there is; returns as soon as there is something."""
        if self._shelf.full or self._trouble.waits:
            self._consumer.pause(self._consumer.assignment())  # the group still hears from us
            self._paused = True
        elif self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        for most, wait_s in ((1, _POLL_S), (_BATCH, 0)):  # between them, partitions may be taken away (`_lost`)
            arrived = self._consumer.consume(most, wait_s)
            if self._broken is not None:
                raise self._broken
            self._arrived += [one for one in arrived if _is_message(one)]
            if not arrived:
                return

    def _enqueue(self) -> None:
        from confluent_kafka import KafkaException

        if self._trouble.waits or not self._arrived:
            return
        try:
            while self._arrived:
                self._take(self._arrived[0])
                del self._arrived[0]
        except KafkaException as error:  # what the group has committed is not known yet: the next round asks again
            log.info("notify: %s", error.args[0].str())
        except sqlite3.Error as error:
            self._trouble.began(error)
        else:
            self._trouble.over()
        self._deliverer.wake()

    def _take(self, raw: Any) -> None:
        payload, notice = self._read(raw)
        ledger = self._ledger((raw.topic(), raw.partition()), raw.offset())
        deliveries: Sequence[Delivery] = ()
        if isinstance(payload, Incident):
            self._meters.received(1)
            wanted = partial(ledger.wants, offset=raw.offset())
            deliveries = self._dispatcher.notify(payload, notice, _now_ms(), wanted)
        ledger.took(raw.offset(), deliveries)
        self._shelf.add(payload)

    def _ledger(self, key: Partition, offset: int) -> Ledger:
        from confluent_kafka import TopicPartition

        if key not in self._ledgers:
            (found,) = self._consumer.committed([TopicPartition(*key)], timeout=_ANSWER_S)
            receivers = self._receivers if key[0] == self._config.topic(INCIDENTS) else []
            self._ledgers[key] = Ledger(receivers, offset, found.metadata if found.offset >= 0 else None)
        return self._ledgers[key]

    def _commit_all(self) -> None:
        began_s = time.monotonic()
        self._commit(self._ledgers)
        ended_s = time.monotonic()
        # rarer when very much is owed, so that looking through it stays a small part of the time
        self._commit_s = ended_s + max(_COMMIT_EVERY_S, 10 * (ended_s - began_s))

    def _commit(self, ledgers: Mapping[Partition, Ledger]) -> None:
        """Commit how far these partitions have been told, if the store has all of it; the answer comes later."""
        from confluent_kafka import KafkaException, TopicPartition

        if self._shelf.unsaved or not ledgers:
            return
        owed = self._outbox.owed(self._refreshing)
        for ledger in ledgers.values():
            ledger.settle(owed)
            if len(ledger.subjects) > _MANY:
                ledger.subjects &= self._outbox.subjects()
        places = {key: place for key, one in ledgers.items() if self._committed.get(key) != (place := one.place())}
        if not places:
            return
        try:
            self._consumer.commit(offsets=[TopicPartition(*key, *place) for key, place in places.items()])
            self._committed |= places
            self._uncertain = True
        except KafkaException as error:
            self._uncommitted(error.args[0].str())

    def _on_commit(self, error: Any, partitions: list[Any]) -> None:
        self._uncertain = error is not None
        if error is not None:
            for one in partitions:
                self._committed.pop((one.topic, one.partition), None)
            self._uncommitted(error.str())

    def _uncommitted(self, why: str) -> None:
        # tried again; or somebody else has the partition now, and tells it again with the same keys
        log.info("notify: offsets were not committed: %s", why)
        self._meters.error("commit")

    def _assigned(self, consumer: Consumer, partitions: list[Any]) -> None:
        self._given |= {(one.topic, one.partition) for one in partitions}
        self._meters.all.ready(NOTIFY)

    def _revoked(self, consumer: Consumer, partitions: list[Any]) -> None:
        keys = {(one.topic, one.partition) for one in partitions}
        self._commit({key: ledger for key, ledger in self._ledgers.items() if key in keys})
        self._lost(consumer, partitions)

    def _lost(self, consumer: Consumer, partitions: list[Any]) -> None:
        """Let go of partitions: what is owed of them is told by who has them now, never by two who may disagree."""
        keys = {(one.topic, one.partition) for one in partitions}
        self._given -= keys
        self._arrived = [one for one in self._arrived if (one.topic(), one.partition()) not in keys]
        for key in keys & self._ledgers.keys():
            self._outbox.drop(self._ledgers.pop(key).subjects, self._refreshing)
            self._committed.pop(key, None)

    def _read(self, raw: Any) -> tuple[Incident | Fix, Notice]:
        stream = raw.topic().removeprefix(self._config.topic_prefix)
        message = decode(stream, raw.key(), raw.value(), dict(raw.headers() or ()))
        if not isinstance(message.payload, Incident | Fix):
            raise SourceError(f"kafka: topic {raw.topic()} holds something that is neither an incident nor a fix")
        return message.payload, message.notice or Notice()


def _is_message(raw: Any) -> bool:
    """Return whether something that arrived is a message; raise for an error that does not pass by waiting."""
    error = raw.error()
    if error is None:
        return True
    if error.fatal() or (raw.topic() is not None and not passes(error)):
        raise raised(error, "incidents cannot be read")
    return False  # a broker that is away for a while


def _now_ms() -> int:
    return int(time.time() * 1000)
