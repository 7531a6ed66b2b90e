"""Looks every few seconds at where topics end: how far behind this worker is, and whether a broker answers.

It runs in a thread and with a client of its own, so that it sees a broker come and go whatever the roles are doing, and
that nobody who asks for /metrics waits for it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from engine.errors import SourceError
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.topics import admin
from engine.runners.meters import ASSIGNED, BROKER_CONNECTED, LAG, Meters

if TYPE_CHECKING:
    from confluent_kafka.admin import AdminClient

BROKER: Final = "broker"
EVERY_S: Final = 3.0
_TIMEOUT_S: Final = 5.0


class Watch:
    """Reports the lag of every role that says what it owns, its partitions, and the broker."""

    def __init__(self, config: KafkaConfig, meters: Meters) -> None:
        self._config = config
        self._meters = meters
        self._lag: dict[tuple[str, ...], float] = {}
        self._client: AdminClient | None = None
        meters.set(BROKER_CONNECTED, 0)
        meters.gauge(LAG, ("role", "topic", "partition"), lambda: self._lag)
        meters.gauge(ASSIGNED, ("role",), self._assigned)

    def start(self, stopped: threading.Event) -> None:
        """Look until `stopped`, in a thread that holds up no end: an answer may be long in coming."""
        threading.Thread(target=self._run, args=(stopped,), name="opsbrain-watch", daemon=True).start()

    def look(self) -> None:
        """Look once; blocks until the broker answers or five seconds are over."""
        owned = {role: dict(ask()) for role, ask in list(self._meters.owned.items())}
        try:
            ends = self._ends(sorted({key for keys in owned.values() for key in keys}))
        except SourceError as error:
            self._meters.set(BROKER_CONNECTED, 0)
            self._meters.wait(BROKER, str(error))
            return
        self._lag = {
            (role, topic, str(number)): max(ends[topic, number] - position, 0)
            for role, positions in owned.items()
            for (topic, number), position in positions.items()
            if (topic, number) in ends
        }
        self._meters.set(BROKER_CONNECTED, 1)
        self._meters.ready(BROKER)

    def _run(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            self.look()
            stopped.wait(EVERY_S)

    def _assigned(self) -> dict[tuple[str, ...], float]:
        return {(role,): len(ask()) for role, ask in list(self._meters.owned.items())}

    def _ends(self, keys: list[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Return the offset behind the last message of each; raise SourceError when no broker answers."""
        from confluent_kafka import KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec

        if self._client is None:
            self._client = admin(self._config)
        try:
            if not keys:
                self._client.list_topics(timeout=_TIMEOUT_S)
                return {}
            asked = {TopicPartition(topic, number): OffsetSpec.latest() for topic, number in keys}
            answers = self._client.list_offsets(asked, request_timeout=_TIMEOUT_S)
            return {(one.topic, one.partition): int(answer.result().offset) for one, answer in answers.items()}
        except KafkaException as error:
            raise SourceError(f"waiting for the broker at {self._config.bootstrap}: {error.args[0].str()}") from error
