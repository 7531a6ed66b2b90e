"""The decode role: the firehose from telemetry topics to partials, with confluent-kafka (rows: `decoder.py`).

It keeps no state of its own. What it commits for an input partition is the lowest offset of any row in an open window,
and in the offset's metadata the watermark that is out, the latest time seen and the position read up to. After a crash
rows are read again from that offset: those before the position in windows that are out are skipped, and the others make
the same partials again, with the same keys and bytes.

Order of a commit:
1. flush the producer: everything up to the position is in the broker
2. commit the offsets with their metadata
An idle mark is committed (as `idle_ms`) before it is emitted, so that it is emitted again after a crash in between.

One `run` is one life: clients of its own, and nothing kept in the end. Whoever runs it runs it again when it could not
go on for a reason that passes (`supervise.py`). While the broker is away it waits, with what it has.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from engine.flow import INPUTS_GO_TO
from engine.messages import Message
from engine.repeats import request_hash
from engine.runners.kafka.accounts import DECODE, DecodeAccounts
from engine.runners.kafka.arrived import by_partition, plain
from engine.runners.kafka.bounds import bounds_of
from engine.runners.kafka.config import END, MARK_HEADER, RECORDED, REQUEST_HEADER, KafkaConfig
from engine.runners.kafka.decoder import Committed, Decoder, Input, committed_of, committed_text
from engine.runners.kafka.fingerprint import check_reads, reads_for
from engine.runners.kafka.order import Order
from engine.runners.kafka.reader import patiently
from engine.runners.kafka.sender import Sender
from engine.runners.kafka.topics import input_name
from engine.runners.kafka.waiting import Stopping, passes, raised
from engine.runners.meters import BROKER_CONNECTED, Meters
from engine.types import END_MS, Inputs
from engine.window import WindowConfig

if TYPE_CHECKING:
    from confluent_kafka import Consumer, TopicPartition
    from confluent_kafka import Message as KafkaMessage

log = logging.getLogger(__name__)

BATCH: Final = 20_000
POLL_S: Final = 0.05
_ANSWER_S: Final = 5.0
_SAMPLE: Final = 16  # messages of a batch whose sizes tell how large the next one may be
_INTERRUPTED_S: Final = 2.0  # a loop that came round later than this was frozen, or waited for the broker


class DecodeLoop:
    """Runs the decode role until stopped: consume, decode, produce, commit."""

    def __init__(
        self,
        config: KafkaConfig,
        window: WindowConfig,
        inputs: Inputs,
        furthest_ms: Callable[[], int | None],
        stopped: Stopping,
        meters: Meters | None = None,
        holds: Callable[[], bool] = lambda: False,
    ) -> None:
        """Read while `holds` says no."""
        self._config = config
        self._meters = meters or Meters()
        self.accounts = DecodeAccounts(self._meters)
        self._decoder = Decoder(window, self._meters)
        self._declared = inputs
        self._furthest_ms = furthest_ms
        self._stopped = stopped
        self._holds = holds
        self._held = False
        self._leaving = False
        self._broken: Exception | None = None
        self._order = Order(self._read_again)
        self._batch = BATCH
        self._batch_bytes = bounds_of(config.memory_limit_bytes).batch_bytes
        self._reads_for = reads_for(config, window)
        self._by_topic = {one.topic: one for one in config.telemetry}
        self._inputs: dict[tuple[str, int], Input] = {}
        self._came_round_s = 0.0

    def run(self) -> None:
        """Run until stopped, with a last commit on the way out; raise what keeps it from going on."""
        self._sender = Sender(self._config, self._meters, self._stopped)
        self._consumer = self._new_consumer()
        self._leaving, self._broken = False, None
        try:
            self._work()
        finally:
            self._leaving = True
            for key in list(self._inputs):
                self._leave(key)
            self._consumer.close()
            self._sender.close()

    def _new_consumer(self) -> Consumer:
        from confluent_kafka import Consumer

        bounds = bounds_of(self._config.memory_limit_bytes)
        return Consumer(
            self._config.client(
                group_id=self._config.group("decode"),
                enable_auto_commit=False,
                enable_partition_eof=True,
                auto_offset_reset="earliest",
                session_timeout_ms=int(self._config.session_timeout_s * 1000),
                partition_assignment_strategy="cooperative-sticky",
                queued_max_messages_kbytes=bounds.prefetch_bytes // 1024,
                fetch_max_bytes=bounds.fetch_bytes,
            )
        )

    def _work(self) -> None:
        self._consumer.subscribe(
            sorted(self._by_topic),
            on_assign=self._kept(self._assigned),
            on_revoke=self._kept(self._revoked),
            on_lost=self._kept(self._lost),
        )
        self._produce([Message(stream, "inputs", self._declared) for stream in INPUTS_GO_TO])
        self._meters.checkpointed(DECODE)
        committed_s = self._came_round_s = time.monotonic()
        while not self._stopped():
            self._meters.beat(DECODE)
            self._brake()
            self._poll()
            self._mind_interruptions()
            if time.monotonic() - committed_s >= self._config.checkpoint_every_s:
                if self._commit(self._inputs.values()):
                    self._idle()
                committed_s = time.monotonic()
        if self._meters.value(BROKER_CONNECTED, 1):  # else a commit would wait as long as the session
            self._commit(self._inputs.values())

    def _kept(self, told: Callable[[Consumer, list[TopicPartition]], None]) -> Callable[..., None]:
        """Keep what a callback raises until the client has returned: it must not pass through the client."""

        def call(consumer: Consumer, partitions: list[TopicPartition]) -> None:
            try:
                if self._broken is None and not self._leaving:
                    told(consumer, partitions)
            except Exception as error:  # noqa: BLE001  (raised right after the client returns)
                self._broken = error

        return call

    def _brake(self) -> None:
        """Leave telemetry in the broker for a while, or take it up again. The group is told nothing of it."""
        held = self._holds()
        if held and not self._held:
            self._consumer.pause(self._consumer.assignment())
        elif self._held and not held:
            self._consumer.resume(self._consumer.assignment())
        self._held = held

    def _mind_interruptions(self) -> None:
        """Count no time as silence in which nothing could have been heard: frozen, held, or without a broker."""
        now_s = time.monotonic()
        late = now_s - self._came_round_s > max(_INTERRUPTED_S, self._config.idle_after_s / 2)
        self._came_round_s = now_s
        if late or self._held or not self._meters.value(BROKER_CONNECTED, 1):
            for one in self._inputs.values():
                if one.at_end_since_s is not None:
                    one.at_end_since_s = now_s

    def _poll(self) -> None:
        with self._meters.stage("consume"):
            consumed = self._consumer.consume(self._batch, POLL_S)
        self._raise_if_broken()
        with self._meters.stage("sort"):
            arrived = by_partition(consumed)
        if sum(map(len, arrived.values())) < len(consumed):
            self._mind_errors(consumed)
        if sample := consumed[:_SAMPLE]:
            mean_bytes = sum(len(one) for one in sample) / len(sample)
            self._batch = max(_SAMPLE, min(BATCH, int(self._batch_bytes / max(mean_bytes, 1))))
        for key, messages in sorted(arrived.items()):
            if (input := self._inputs.get(key)) is not None and (next := self._order.taken(key, messages)):
                self._produce(self._taken(input, next))

    def _read_again(self, key: tuple[str, int], offset: int) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        log.warning("decode: %s/%d goes on behind %d, which was not delivered: reading again from there", *key, offset)
        self.accounts.error("undelivered")
        try:
            self._consumer.seek(TopicPartition(*key, offset))
        except KafkaException as error:
            raise raised(error.args[0], f"{input_name(*key)} cannot be read again") from error

    def _raise_if_broken(self) -> None:
        if self._broken is not None:
            raise self._broken

    def _mind_errors(self, consumed: Sequence[KafkaMessage]) -> None:
        for message in consumed:
            if message.topic() is None and (error := message.error()) is not None and error.fatal():
                self.accounts.error("broker")
                raise raised(error, "cannot read")  # others are a broker that is away for a while

    def _taken(self, input: Input, messages: Sequence[KafkaMessage]) -> list[Message]:
        from confluent_kafka import KafkaError

        with self._meters.stage("sort"):
            columns = plain(messages)
        if columns is not None:
            input.at_end_since_s = None
            return self._decoder.take(input, columns.offsets, columns.bodies, False, columns.received_ms)
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
                    input.read_to = max(input.read_to, message.offset() or 0)
                elif not passes(error):
                    raise raised(error, f"{input.name} cannot be read")
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
            and one.has_read_again
        ]
        # a mark that is not committed must not go out: the next owner would take rows before it as in time
        if silent and self._commit(silent, idle_ms=time_ms):
            for one in silent:
                self._produce(one.step.on_idle(time_ms))

    def _commit(self, inputs: Iterable[Input], idle_ms: int = 0) -> bool:
        """Commit where these inputs stand; return whether the group still took it from us."""
        from confluent_kafka import KafkaException

        self._sender.flush()
        # one that was just begun does not hold again what is in its open windows: what was committed of it stands
        offsets = [self._offset(one, idle_ms) for one in inputs if one.has_read_again]
        if not offsets:
            self._meters.checkpointed(DECODE)
            return True
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            # the group moved on without us: whoever has the partition now emits the same from the older offset;
            # or the broker is away, which is said by `watch.py`
            log.info("decode: offsets were not committed: %s", error.args[0].str())
            self.accounts.error("commit")
            return False
        self._meters.checkpointed(DECODE)
        return True

    def _produce(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._sender.send(message)
            self.accounts.sent(message.stream)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._stopped():
            return  # leaving: a consumer that closes is not told what was committed, and would wait for it
        found = self._found(consumer, partitions)
        self._declare(found)
        for one in found:
            key = (one.topic, one.partition)
            self._order.begin(key, one.offset if one.offset >= 0 else None)
            self._inputs[key] = self._decoder.start(*key, self._by_topic[one.topic], self._stands(consumer, one))
            self.accounts.follow(self._inputs[key])
        consumer.incremental_assign([_reads(one) for one in found])
        self._held = False  # what is new is not paused
        self._meters.ready(DECODE)
        log.info("decode: reading %s", ", ".join(sorted(one.name for one in self._inputs.values())))

    def _found(self, consumer: Consumer, partitions: list[TopicPartition]) -> list[TopicPartition]:
        """Return the partitions with what was committed; where nothing was, with the offset of `start_from_ms`."""
        from confluent_kafka import KafkaException, TopicPartition

        def committed() -> list[TopicPartition]:
            answers: list[TopicPartition] = consumer.committed(partitions, timeout=_ANSWER_S)
            if wrong := [one.error for one in answers if one.error is not None]:
                raise KafkaException(wrong[0])
            return answers

        found = patiently(committed, "committed offsets", self._stopped)
        if (start_ms := self._config.start_from_ms) is None:
            return found
        new = [one for one in found if one.offset < 0]
        asked = [TopicPartition(one.topic, one.partition, start_ms) for one in new]
        times = patiently(lambda: consumer.offsets_for_times(asked, timeout=_ANSWER_S), "offsets", self._stopped)
        # behind the last message there is none that the broker took later: what comes next is
        starts = [
            TopicPartition(
                one.topic, one.partition, one.offset if one.offset >= 0 else self._bounds_of(consumer, one)[1]
            )
            for one in times
        ]
        return [one for one in found if one.offset >= 0] + starts

    def _stands(self, consumer: Consumer, one: TopicPartition) -> Committed | None:
        """Return where the decoding of a partition stands, None at its very beginning."""
        self._say_if_lost(consumer, one)
        if one.offset < 0:
            return None
        if not one.metadata:
            return Committed(0, -1, one.offset)
        committed = committed_of(one.metadata)
        check_reads(committed.reads_for, self._reads_for, self._config.group(DECODE))
        return committed

    def _bounds_of(self, consumer: Consumer, one: TopicPartition) -> tuple[int, int]:
        name = input_name(one.topic, one.partition)
        low, high = patiently(lambda: consumer.get_watermark_offsets(one, timeout=_ANSWER_S), name, self._stopped)
        return int(low), int(high)

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
        lowest, _ = self._bounds_of(consumer, one)
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
            self._leave((one.topic, one.partition))

    def _leave(self, key: tuple[str, int]) -> None:
        self._inputs.pop(key, None)
        self._order.forget(key)
        self.accounts.leave(key)

    def _offset(self, input: Input, idle_ms: int) -> TopicPartition:
        from confluent_kafka import TopicPartition

        text = committed_text(input, idle_ms, self._reads_for)
        return TopicPartition(input.topic, input.partition, input.step.safe_offset(), text)


def _reads(one: TopicPartition) -> TopicPartition:
    from confluent_kafka import OFFSET_BEGINNING, TopicPartition

    return TopicPartition(one.topic, one.partition, one.offset if one.offset >= 0 else OFFSET_BEGINNING)


def _timestamp_ms(message: KafkaMessage) -> int:
    kind, time_ms = message.timestamp()
    return int(time_ms) if kind else 0  # kind 0: the message has none


def _header(message: KafkaMessage, wanted: str) -> bytes | None:
    return next((value for name, value in message.headers() or () if name == wanted), None)
