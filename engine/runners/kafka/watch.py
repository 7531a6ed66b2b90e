"""Looks every few seconds at where topics end: how far behind this worker is, and whether a broker answers.

It runs in a thread and with a client of its own, so that it sees a broker come and go whatever the roles are doing, and
that nobody who asks for /metrics waits for it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.topics import admin
from engine.runners.meters import ASSIGNED, BROKER_CONNECTED, COMMITTED, LAG, Meters

if TYPE_CHECKING:
    from confluent_kafka import Consumer
    from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

BROKER: Final = "broker"
WATCH: Final = "watch"
EVERY_S: Final = 3.0
_TIMEOUT_S: Final = 5.0
_LATEST: Final = -1  # as a time: the end of a topic
_EARLIEST: Final = -2
_SAID_AFTER: Final = 2


class Watch:
    """Reports the lag of every role that says what it owns, its partitions, and the broker."""

    def __init__(self, config: KafkaConfig, meters: Meters) -> None:
        self._config = config
        self._meters = meters
        self._lag: dict[tuple[str, ...], float] = {}
        self._given: dict[tuple[str, ...], float] = {}
        self._client: AdminClient | None = None
        self._consumers: dict[str, Consumer] = {}
        self._followed: dict[str, tuple[str, list[tuple[str, int]]]] = {}
        self._stood: dict[str, dict[tuple[str, int], tuple[int, int]]] = {}
        self._away = 0
        meters.set(BROKER_CONNECTED, 0)
        meters.gauge(LAG, ("role", "topic", "partition"), lambda: self._lag)
        meters.gauge(ASSIGNED, ("role",), lambda: self._given)

    def start(self, stopped: threading.Event) -> None:
        """Look until `stopped`, in a thread that holds up no end: an answer may be long in coming."""
        threading.Thread(target=self._run, args=(stopped,), name="opsbrain-watch", daemon=True).start()

    def follow(self, role: str, topic: str, partitions: int) -> None:
        """Know the ends of a whole topic, and how far a role's group has committed it, whoever owns what."""
        self._followed[topic] = role, [(topic, number) for number in range(partitions)]

    def ends_of(self, topic: str) -> dict[tuple[str, int], tuple[int, int]]:
        """Return end and committed offset of each partition of a topic that is followed, as of the last look."""
        return self._stood.get(topic, {})

    def look(self) -> None:
        """Look once; blocks until the broker answers or five seconds are over."""
        from confluent_kafka import KafkaException

        try:
            owned = {role: self._known(role, ask()) for role, ask in list(self._meters.owned.items())}
            ends = self._ends({key for keys in owned.values() for key in keys})
            begins = self._begins({key for keys in owned.values() for key, at in keys.items() if at < 0})
            stood = {topic: self._standing(*followed) for topic, followed in self._followed.items()}
        except KafkaException as error:
            self._meters.set(BROKER_CONNECTED, 0)
            why = error.args[0].str()
            self._meters.wait(BROKER, f"waiting for the broker at {self._config.bootstrap}: {why}")
            self._say_away()
            return
        self._stood = stood
        self._given = {(role,): len(positions) for role, positions in owned.items()}
        self._lag = {
            (role, topic, str(number)): max(ends[topic, number] - begins.get((topic, number), position), 0)
            for role, positions in owned.items()
            for (topic, number), position in positions.items()
            if (topic, number) in ends
        }
        self._meters.set(BROKER_CONNECTED, 1)
        self._meters.ready(BROKER)
        if self._away >= _SAID_AFTER:
            log.warning("kafka: the broker at %s answers again; going on", self._config.bootstrap)
        self._away = 0

    def _say_away(self) -> None:
        """Say once that nobody answers; not after one look, since a broker that restarts is no news."""
        self._away += 1
        if self._away == _SAID_AFTER:
            log.warning("kafka: no broker answers at %s; waiting", self._config.bootstrap)

    def _standing(self, role: str, keys: list[tuple[str, int]]) -> dict[tuple[str, int], tuple[int, int]]:
        ends = self._asked(keys, _LATEST)
        committed = self._known(role, dict.fromkeys(keys, COMMITTED))
        # where nothing is committed yet, what waits is not known; nothing is better than all there ever was
        return {key: (end, at if (at := committed[key]) >= 0 else end) for key, end in ends.items()}

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            self.look()
            stopped.wait(EVERY_S)

    def _known(self, role: str, positions: Mapping[tuple[str, int], int]) -> dict[tuple[str, int], int]:
        """Return positions with those of the group where they stand for them; still negative where it has none."""
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(*key) for key, at in sorted(positions.items()) if at == COMMITTED]
        if not asked:
            return dict(positions)
        # not by the Admin API: its ListConsumerGroupOffsets aborts the process when a broker goes away meanwhile
        # (librdkafka issue 3663, seen)
        answer = self._consumer(role).committed(asked, timeout=_TIMEOUT_S)
        return dict(positions) | {(one.topic, one.partition): int(one.offset) for one in answer}

    def _ends(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the offset behind the last message of each; raise KafkaException when no broker answers."""
        if not keys:
            self._admin().list_topics(timeout=_TIMEOUT_S)  # does a broker answer?
        return self._asked(keys, _LATEST)

    def _begins(self, keys: Collection[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return self._asked(keys, _EARLIEST)

    def _asked(self, keys: Collection[tuple[str, int]], what: int) -> dict[tuple[str, int], int]:
        from confluent_kafka import KafkaException, TopicPartition

        asked = [TopicPartition(topic, number, what) for topic, number in sorted(keys)]
        # not by the Admin API either: it is the same machinery
        answers = self._consumer(WATCH).offsets_for_times(asked, timeout=_TIMEOUT_S) if asked else []
        if wrong := [one.error for one in answers if one.error is not None]:
            raise KafkaException(wrong[0])
        return {(one.topic, one.partition): int(one.offset) for one in answers}

    def _consumer(self, role: str) -> Consumer:
        """Return a consumer that asks what a role's group has committed, and never joins it."""
        from confluent_kafka import Consumer

        if role not in self._consumers:
            settings = self._config.client(group_id=self._config.group(role), enable_auto_commit=False)
            self._consumers[role] = Consumer(settings)
        return self._consumers[role]

    def _admin(self) -> AdminClient:
        if self._client is None:
            self._client = admin(self._config)
        return self._client
