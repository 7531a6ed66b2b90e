"""The decode role: the firehose from telemetry topics to partials, with confluent-kafka (rows: `decoder.py`).

It keeps no state of its own. What it commits for an input partition is the lowest offset of any row in an open window,
and in the offset's metadata the watermark that is out, the latest time seen and the position read up to. After a crash
rows are read again from that offset: those before the position in windows that are out are skipped, and the others make
the same partials again, with the same keys and bytes.

Order of a commit:
1. flush the producer: everything up to the position is in the broker
2. commit the offsets with their metadata
An idle mark is committed (as `idle_ms`) before it is emitted, so that it is emitted again after a crash in between.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from engine.errors import SourceError
from engine.flow import INPUTS_GO_TO
from engine.messages import Message
from engine.repeats import request_hash
from engine.runners.kafka.accounts import DECODE, DecodeAccounts
from engine.runners.kafka.config import END, MARK_HEADER, RECORDED, REQUEST_HEADER, KafkaConfig
from engine.runners.kafka.decoder import Decoder, Input, committed_of, committed_text
from engine.runners.kafka.reader import patiently
from engine.runners.kafka.sender import Sender
from engine.runners.kafka.topics import input_name
from engine.runners.meters import Meters
from engine.types import END_MS, Inputs
from engine.window import WindowConfig

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition
    from confluent_kafka import Message as KafkaMessage

log = logging.getLogger(__name__)

BATCH: Final = 5_000
POLL_S: Final = 0.2


class DecodeLoop:
    """Runs the decode role until stopped: consume, decode, produce, commit."""

    def __init__(
        self,
        config: KafkaConfig,
        window: WindowConfig,
        inputs: Inputs,
        furthest_ms: Callable[[], int | None],
        stopped: Callable[[], bool],
        meters: Meters | None = None,
    ) -> None:
        from confluent_kafka import Consumer

        self._config = config
        self._meters = meters or Meters()
        self.accounts = DecodeAccounts(self._meters)
        self._decoder = Decoder(window, self._meters)
        self._declared = inputs
        self._furthest_ms = furthest_ms
        self._stopped = stopped
        self._by_topic = {one.topic: one for one in config.telemetry}
        self._inputs: dict[tuple[str, int], Input] = {}
        self._sender = Sender(config, self._meters)
        self._consumer: Consumer = Consumer(
            config.client(
                group_id=config.group("decode"),
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="earliest",
                session_timeout_ms=int(config.session_timeout_s * 1000),
                partition_assignment_strategy="cooperative-sticky",
            )
        )

    def run(self) -> None:
        """Run until stopped; a last commit on the way out."""
        self._consumer.subscribe(
            sorted(self._by_topic), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._lost
        )
        self._produce([Message(stream, "inputs", self._declared) for stream in INPUTS_GO_TO])
        self._meters.checkpointed(DECODE)
        committed_s = time.monotonic()
        try:
            while not self._stopped():
                self._meters.beat(DECODE)
                self._poll()
                if time.monotonic() - committed_s >= self._config.checkpoint_every_s:
                    self._commit(self._inputs.values())
                    self._idle()
                    committed_s = time.monotonic()
            self._commit(self._inputs.values())
        finally:
            self._consumer.close()

    def _poll(self) -> None:
        arrived: dict[tuple[str, int], list[KafkaMessage]] = {}
        with self._meters.stage("consume"):
            consumed = self._consumer.consume(BATCH, POLL_S)
        for message in consumed:
            if message.topic() is not None:
                arrived.setdefault((message.topic(), message.partition()), []).append(message)
            elif (error := message.error()) is not None and error.fatal():
                self.accounts.error("broker")
                raise SourceError(f"kafka: {error.str()}")  # others are a broker that is away for a while
        for key, messages in sorted(arrived.items()):
            if (input := self._inputs.get(key)) is not None:
                self._produce(self._taken(input, messages))

    def _taken(self, input: Input, messages: Sequence[KafkaMessage]) -> list[Message]:
        from confluent_kafka import KafkaError

        offsets: list[int] = []
        bodies: list[bytes] = []
        received: list[int] = []
        requests: list[int] = []
        out: list[Message] = []
        for message in messages:
            error = message.error()
            if error is not None:
                if error.code() == KafkaError._PARTITION_EOF:
                    input.at_end_since_s = time.monotonic()
                elif not error.retriable():
                    raise SourceError(f"kafka: {input.name}: {error.str()}")
            elif (mark := _header(message, MARK_HEADER)) == END:
                out += self._decoder.take(input, offsets, bodies, True, received, requests)
                out += self._decoder.pass_over(input, message.offset())
                offsets, bodies, received, requests = [], [], [], []
            else:
                offsets.append(message.offset())
                received.append(0 if mark == RECORDED else _timestamp_ms(message))
                bodies.append(body := message.value() or b"")
                requests.append(request_hash(body) if _header(message, REQUEST_HEADER) is not None else 0)
                input.at_end_since_s = None
        return out + self._decoder.take(input, offsets, bodies, False, received, requests)

    def _idle(self) -> None:
        """Write idle marks for inputs that have stood at their end for `idle_after_s`.

        The mark's time is the furthest watermark that any input is known to have: recorded data of another year must
        not be made late by this machine's clock.
        """
        if self._config.idle_after_s <= 0:
            return
        known = [one.step.emitted_ms for one in self._inputs.values() if one.step.emitted_ms < END_MS]
        furthest = self._furthest_ms()
        time_ms = max([*known, furthest if furthest is not None else 0], default=0)
        now_s = time.monotonic()
        silent = [
            one
            for one in self._inputs.values()
            if one.at_end_since_s is not None
            and now_s - one.at_end_since_s >= self._config.idle_after_s
            and one.step.emitted_ms < time_ms
        ]
        # a mark that is not committed must not go out: the next owner would take rows before it as in time
        if silent and self._commit(silent, idle_ms=time_ms):
            for one in silent:
                self._produce(one.step.on_idle(time_ms))

    def _commit(self, inputs: Iterable[Input], idle_ms: int = 0) -> bool:
        """Commit where these inputs stand; return whether the group still took it from us."""
        from confluent_kafka import KafkaException

        self._sender.flush()
        offsets = [_offset(one, idle_ms) for one in inputs]
        if not offsets:
            self._meters.checkpointed(DECODE)
            return True
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # the group moved on without us: whoever has the partition now emits the same from the older offset
            log.warning("decode: offsets were not committed: %s", error.args[0].str())
            self.accounts.error("commit")
            return False
        self._meters.checkpointed(DECODE)
        return True

    def _produce(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._sender.send(message)
            self.accounts.sent(message.stream)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        from confluent_kafka import OFFSET_BEGINNING, TopicPartition

        if self._stopped():
            return  # leaving: a consumer that closes is not told what was committed, and would wait for it
        found = patiently(lambda: consumer.committed(partitions, timeout=10), "committed offsets")
        start: list[TopicPartition] = []
        self._declare(found)
        for one in found:
            self._say_if_lost(consumer, one)
            committed = committed_of(one.metadata) if one.offset >= 0 else None
            key = (one.topic, one.partition)
            self._inputs[key] = self._decoder.start(*key, self._by_topic[one.topic], committed)
            self.accounts.follow(self._inputs[key])
            start.append(TopicPartition(one.topic, one.partition, one.offset if one.offset >= 0 else OFFSET_BEGINNING))
        consumer.incremental_assign(start)
        self._meters.ready(DECODE)
        log.info("decode: reading %s", ", ".join(sorted(one.name for one in self._inputs.values())))

    def _declare(self, assigned: Iterable[TopicPartition]) -> None:
        """Declare inputs that are new since the start, before their first row: somebody added partitions to a topic."""
        new = {
            name: self._decoder.resolution_ms(self._by_topic[one.topic])
            for one in assigned
            if (name := input_name(one.topic, one.partition)) not in self._declared.inputs
        }
        if new:
            log.warning("decode: new inputs %s; windows that are out already do not hold them", ", ".join(sorted(new)))
            self._declared = Inputs({**self._declared.inputs, **new}, self._declared.scopes)
            self._produce([Message(stream, "inputs", self._declared) for stream in INPUTS_GO_TO])

    def _say_if_lost(self, consumer: Consumer, one: TopicPartition) -> None:
        if one.offset < 0:
            return
        name = input_name(one.topic, one.partition)
        lowest, _ = patiently(lambda: consumer.get_watermark_offsets(one, timeout=10), name)
        if one.offset < lowest:
            log.warning("decode: %s: %d messages were deleted before they were read", name, lowest - one.offset)
            self.accounts.error("deleted_unread", lowest - one.offset)

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = [self._inputs[key] for one in partitions if (key := (one.topic, one.partition)) in self._inputs]
        self._commit(gone)
        self._lost(consumer, partitions)
        consumer.incremental_unassign(partitions)

    def _lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        for one in partitions:
            self._inputs.pop((one.topic, one.partition), None)
            self.accounts.leave((one.topic, one.partition))


def _offset(input: Input, idle_ms: int) -> TopicPartition:
    from confluent_kafka import TopicPartition

    return TopicPartition(input.topic, input.partition, input.step.safe_offset(), committed_text(input, idle_ms))


def _timestamp_ms(message: KafkaMessage) -> int:
    kind, time_ms = message.timestamp()
    return int(time_ms) if kind else 0  # kind 0: the message has none


def _header(message: KafkaMessage, wanted: str) -> bytes | None:
    return next((value for name, value in message.headers() or () if name == wanted), None)
