"""The stateful roles: detect, join, fit and scope, as Faust agents.

Faust is a member of the consumer group, takes part in rebalances and delivers. State is ours: each step has one `Host`
a partition, whose snapshot names the input positions that it contains. Those positions are the truth, whatever the
group committed or Faust delivers: what lies below them is passed over, and what lies between them and the group's
offset, a message, or the end of the topic (a snapshot was lost, Faust dropped messages in a rebalance) is read by us.

Order of a checkpoint, every `checkpoint_every_s`, without a pause from 1 to 3 in which a rebalance could come between:
1. flush the producer: everything that the steps said is in the broker
2. write the snapshots: chunks, flush, manifests, flush
3. tombstone the snapshots that they replace
4. commit the positions that they contain as the group's offsets
After a crash the steps say again what they said since their last snapshot, with the same keys and bytes.

Before partitions are given away a last snapshot is written (1 to 3); the group's offsets stay behind and do not matter.

One `run` is one life: clients and an application of Faust of its own, and no state that outlives it. Whoever runs it
runs it again when it could not go on for a reason that passes (`supervise.py`): state comes back from the snapshots.
While the broker is away it waits, with what it has.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from engine.detect import DetectStep
from engine.errors import OpsBrainError, Retryable, StateMismatch
from engine.fit import FitStep
from engine.flow import FLOW, EngineConfig, Step, Wire
from engine.messages import FEATURES, Message
from engine.runners.kafka.aside import Aside
from engine.runners.kafka.bounds import bounds_of
from engine.runners.kafka.codec import decode, shards_of
from engine.runners.kafka.config import KafkaConfig
from engine.runners.kafka.credentials import faust_credentials
from engine.runners.kafka.fingerprint import REMEDY, check_state, fingerprint
from engine.runners.kafka.queues import bounded_in_bytes
from engine.runners.kafka.reader import TopicReader
from engine.runners.kafka.sender import Sender
from engine.runners.kafka.snapshots import Snapshot, Snapshots
from engine.runners.kafka.transport import abandon, diskless_app, quick_transport
from engine.runners.kafka.waiting import RETRY_S, Stopping
from engine.runners.meters import STATE_SERIES, Meters
from engine.types import Mark

if TYPE_CHECKING:
    import faust

log = logging.getLogger(__name__)

ROLE: Final = "steps"
_BUFFER: Final = 512  # messages a stream; with 32 Faust was seen to fall to a tenth of its speed
_SHARE_OF_TIME: Final = 0.02  # checkpoints become rarer when they would take more of this thread's time than this
_RESTORING: Final = "restoring the state of the partitions that the group has given"
_TOLD: Final = {"dropped": ("repeat",), "errors": ("undelivered",)}
_POLL_S: Final = 0.1
_STOP_S: Final = 2.5
_NEWS: Final = 0.02  # weight of one message's size in the mean
_MISSED_AFTER_S: Final = 3.0  # what Faust delivers is taken within milliseconds, unless the loop is busy elsewhere


@dataclass(slots=True)
class Host:
    """One step on one partition: its state and the input positions that it contains.

    committed   what of the positions the group knows
    changed     there is something that no snapshot holds yet
    busy        it is in the middle of a message, in another thread, and must be left alone
    behind      by stream, a position that was not the topic's end, and since when it has stood there (monotonic clock)
    """

    wire: Wire
    partition: int
    shards: Sequence[int]
    step: Step
    positions: dict[str, int]
    committed: dict[str, int] = field(default_factory=dict)
    changed: bool = False
    busy: bool = False
    behind: dict[str, tuple[int, float]] = field(default_factory=dict)

    def snapshot(self, made_with: Mapping[str, str]) -> Snapshot:
        """Return the state with its positions, and with what it depends on."""
        state = {"version": 1, "shards": list(self.shards), "step": self.step.snapshot()}
        return Snapshot(self.wire.step, self.partition, dict(self.positions), state, made_with)


class Stateful:
    """Runs the stateful steps of the partitions that the group gives to this worker."""

    def __init__(
        self, engine: EngineConfig, config: KafkaConfig, stopped: Stopping, meters: Meters | None = None
    ) -> None:
        self._engine = engine
        self._config = config
        self._stopped = stopped
        self._made_with = fingerprint(engine)
        self._meters = meters or Meters()
        self._told = {one.step: self._meters.component(one.step, **_TOLD) for one in FLOW}
        self._meters.owned[ROLE] = self.positions
        self._meters.wait(ROLE, "the group has not given partitions of our topics yet")
        self._hosts: dict[tuple[str, int], Host] = {}
        self._assigned: frozenset[int] = frozenset()
        self._streams = {config.topic(stream): stream for wire in FLOW for stream in wire.reads}
        self._furthest_ms: int | None = None
        self._mean_bytes = 0.0
        self._aside = Aside()

    def furthest_ms(self) -> int | None:
        """Return the furthest watermark that any input of this worker's shards has reached, or None."""
        return self._furthest_ms

    def mean_bytes(self) -> float:
        """Return how large messages of partials have been of late; may be asked from any thread."""
        return self._mean_bytes

    def positions(self) -> dict[tuple[str, int], int]:
        """Return the offset of the next message of what this worker's steps read; may be asked from any thread."""
        return {
            (self._config.topic(stream), host.partition): position
            for host in list(self._hosts.values())
            for stream, position in dict(host.positions).items()
        }

    async def run(self) -> None:
        """Run until stopped, with a last checkpoint on the way out; raise what keeps it from going on."""
        self._died: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._meters.checkpointed(ROLE)
        self._sender = Sender(self._config, self._meters, self._stopped)
        self._reader = TopicReader(self._config, self._config.group(ROLE), self._stopped)
        self._snapshots = Snapshots(self._config, self._sender, self._reader)
        try:
            await self._live()
        finally:
            self._reader.close()
            self._sender.close()

    async def _live(self) -> None:
        self._app = self._build()
        self._app.finalize()
        starting = asyncio.ensure_future(self._app.start())
        others = [
            asyncio.ensure_future(one)
            for one in (self._app._crashed.wait(), self._until_stopped(), self._checkpoints())
        ]
        try:
            await self._first_of(starting, others)
            await self._checkpoint()
        finally:
            self._forget()
            for one in (*others, starting):
                one.cancel()
            await self._leave()

    async def _leave(self) -> None:
        """Leave the group, or at least be no member of it any more: all that matters is committed already."""
        stopping = asyncio.ensure_future(self._app.stop())
        done, _ = await asyncio.wait([stopping], timeout=_STOP_S)
        if not done or stopping.exception() is not None:
            abandon(self._app)

    def _forget(self) -> None:
        self._hosts.clear()
        self._snapshots.forget()
        self._assigned = frozenset()

    async def _first_of(self, starting: asyncio.Future[Any], others: Sequence[asyncio.Future[Any]]) -> None:
        """Wait until asked to stop; raise what ended one of the parts before."""
        waiting: set[asyncio.Future[Any]] = {starting, self._died, *others}
        while True:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if starting in done and (error := starting.exception()) is not None:
                raise Retryable(f"kafka: cannot join the group: {error!r}", RETRY_S) from error
            for one in done:
                one.result()
            if self._app._crashed.is_set():
                raise Retryable(f"kafka: the group's client gave up: {self._app.crash_reason!r}", RETRY_S)
            if done - {starting}:
                return

    async def _until_stopped(self) -> None:
        while not self._stopped():
            self._meters.beat(ROLE)
            await asyncio.sleep(_POLL_S)

    def _build(self) -> faust.App:
        quiet_faust()
        app = diskless_app(
            self._config.group(ROLE),
            broker=[f"kafka://{one.strip()}" for one in self._config.bootstrap.split(",")],
            broker_credentials=faust_credentials(self._config.security),
            store="memory://",
            web_enabled=False,
            topic_disable_leader=True,
            key_serializer="raw",
            value_serializer="raw",
            topic_partitions=self._config.partitions,
            broker_session_timeout=self._config.session_timeout_s,
            broker_heartbeat_interval=min(1.0, self._config.session_timeout_s / 6),
            broker_rebalance_timeout=max(30.0, self._config.session_timeout_s),
            broker_commit_interval=1.0,
            consumer_max_fetch_size=min(1 << 20, bounds_of(self._config.memory_limit_bytes).buffered_bytes // 4),
            consumer_auto_offset_reset="earliest",
            stream_wait_empty=False,
            stream_buffer_maxsize=_BUFFER,
            stream_recovery_delay=0.0,
            # there is no table: this is what makes Faust give partition p of all topics to the same worker
            table_standby_replicas=1,
        )
        app.transport = quick_transport(app)
        bounded_in_bytes(app, bounds_of(self._config.memory_limit_bytes).buffered_bytes)
        for wire in FLOW:
            topics = [self._config.topic(stream) for stream in wire.reads]
            channel = app.topic(*topics, key_serializer="raw", value_serializer="raw", acks=True)
            app.agent(channel, name=f"opsbrain.{wire.step}")(self._agent(wire))
        app.on_partitions_assigned.connect(self._on_assigned)
        app.on_partitions_revoked.connect(self._on_revoked)
        return app

    def _agent(self, wire: Wire) -> Callable[[Any], Awaitable[None]]:
        async def agent(stream: Any) -> None:
            try:
                async for event in stream.noack().events():
                    if stream.app is self._app:  # one that was abandoned may still deliver
                        await self._take(wire, event)
            except Exception as error:  # noqa: BLE001  (stage boundary: Faust would restart the agent behind the message)
                self._fail(error)

        return agent

    def _fail(self, error: Exception) -> None:
        if not self._died.done():
            self._died.set_exception(error)

    async def _take(self, wire: Wire, event: Any) -> None:
        message = event.message
        if self._died.done() or message.partition not in self._assigned:
            return
        host = self._host(wire, message.partition)
        stream = self._streams[message.topic]
        if message.offset > host.positions[stream]:
            self._read(host, stream, message.offset)
        if message.offset < host.positions[stream]:
            self._told[wire.step].received[stream] += 1
            self._told[wire.step].dropped["repeat"] += 1
            return
        if stream == FEATURES:
            self._mean_bytes += (len(event.value) - self._mean_bytes) * _NEWS
        taken = decode(stream, event.key, event.value, dict(message.headers or ()))
        if isinstance(host.step, FitStep):
            host.busy = True  # a fit may take minutes: the other steps go on meanwhile
            said = await self._aside.run(partial(self._step, host), taken)
            host.busy = False
            if self._hosts.get((wire.step, message.partition)) is not host:
                return  # the partition was taken away meanwhile: whoever has it now does this again
        else:
            said = self._step(host, taken)
        self._took(host, stream, message.offset, taken, said)

    def _read(self, host: Host, stream: str, end: int) -> None:
        """Take the messages before `end` straight from the topic: nobody delivered them."""
        topic, position = self._config.topic(stream), host.positions[stream]
        log.info("steps: '%s' reads %s/%d from %d to %d", host.wire.step, topic, host.partition, position, end)
        for message in self._reader.between(topic, host.partition, position, end):
            taken = decode(stream, message.key(), message.value(), dict(message.headers() or ()))
            self._took(host, stream, message.offset(), taken, self._step(host, taken))
        host.positions[stream] = end

    def _step(self, host: Host, taken: Message) -> Sequence[Message]:
        with self._meters.stage(host.wire.step):
            return host.step.on_message(taken)

    def _took(self, host: Host, stream: str, offset: int, taken: Message, said: Sequence[Message]) -> None:
        self._meters.beat(ROLE)  # also while much is read at once, and the loop does not come round
        told = self._told[host.wire.step]
        told.received[stream] += 1
        for message in said:
            self._sender.send(message)
            told.sent[message.stream] += 1
        host.positions[stream] = offset + 1
        host.changed = True
        if isinstance(host.step, DetectStep) and isinstance(taken.payload, Mark):
            furthest = host.step.furthest_ms()
            if furthest is not None:
                self._furthest_ms = max(furthest, self._furthest_ms or furthest)

    def _host(self, wire: Wire, partition: int) -> Host:
        if (wire.step, partition) not in self._hosts:
            self._load(partition)
        return self._hosts[wire.step, partition]

    def _load(self, partition: int) -> None:
        """Bring every step of a partition to where it was, and to where the group believes it to be."""
        saved = self._snapshots.load(partition)
        committed = self._reader.committed(self._streams, partition)
        for wire in FLOW:
            host = self._resumed(wire, partition, saved.get(wire.step))
            self._hosts[wire.step, partition] = host
            for stream in wire.reads:
                host.committed[stream] = committed.get(self._config.topic(stream), 0)
                if host.committed[stream] > host.positions[stream]:
                    self._read(host, stream, host.committed[stream])
        log.info("steps: loaded partition %d", partition)

    def _resumed(self, wire: Wire, partition: int, saved: Snapshot | None) -> Host:
        shards = shards_of(partition, self._config.partitions, self._engine.window.shards)
        known = saved.positions if saved is not None else {}
        positions = {
            stream: known[stream] if stream in known else self._reader.lowest(self._config.topic(stream), partition)
            for stream in wire.reads
        }
        if saved is None:
            return Host(wire, partition, shards, self._engine.build(wire.step, shards), positions)
        check_state(saved.made_with, self._made_with, f"the snapshot of '{wire.step}' on partition {partition}")
        if saved.state["shards"] != shards:
            raise StateMismatch(
                f"kafka: the snapshot of '{wire.step}' on partition {partition} is of {len(saved.state['shards'])} "
                f"shards, settings make {len(shards)}; set pipeline.shards back, or {REMEDY}"
            )
        try:
            step = self._engine.build(wire.step, shards, saved.state["step"])
        except StateMismatch as error:
            raise StateMismatch(
                f"kafka: the snapshot of '{wire.step}' on partition {partition}: {error}; go on with the program that "
                f"wrote it, or {REMEDY}"
            ) from error
        return Host(wire, partition, shards, step, positions)

    async def _checkpoints(self) -> None:
        pause_s = self._config.checkpoint_every_s
        while True:
            await asyncio.sleep(pause_s)
            self._look_after()
            began_s = time.thread_time()  # what it costs us; a broker that is away costs nothing
            await self._checkpoint()
            pause_s = max(self._config.checkpoint_every_s, (time.thread_time() - began_s) / _SHARE_OF_TIME)

    def _look_after(self) -> None:
        """Load partitions on which nothing arrived yet, and read what was sent and not delivered for a while."""
        for partition in sorted(self._assigned):
            self._host(FLOW[0], partition)
        if self._meters.waiting.get(ROLE) == _RESTORING:
            self._meters.ready(ROLE)
        busy = {host.wire for host in self._hosts.values() if host.busy}
        for host in self._hosts.values():
            for stream in host.wire.reads if host.wire not in busy else ():
                if (end := self._missed(host, stream)) is not None:
                    self._told[host.wire.step].errors["undelivered"] += end - host.positions[stream]
                    self._read(host, stream, end)

    def _missed(self, host: Host, stream: str) -> int | None:
        """Return the end of a topic that has had more for a while than was delivered, or None."""
        position, now_s = host.positions[stream], time.monotonic()
        end = self._end(self._config.topic(stream), host.partition)
        if end <= position:
            host.behind.pop(stream, None)
            return None
        stood, since_s = host.behind.get(stream, (position, now_s))
        if stood != position:
            since_s = now_s
        host.behind[stream] = position, since_s
        return end if now_s - since_s >= _MISSED_AFTER_S else None

    def _end(self, topic: str, partition: int) -> int:
        from faust.types import TP

        end = self._app.consumer.highwater(TP(topic, partition))
        return 0 if end is None else int(end)

    async def _checkpoint(self) -> None:
        from faust.types import TP

        self._save()
        # also positions that a snapshot of an earlier owner brought, and nobody committed
        behind = {
            TP(self._config.topic(stream), host.partition): (host, stream, position)
            for host in self._hosts.values()
            for stream, position in host.positions.items()
            if not host.changed and position > host.committed.get(stream, 0)
        }
        if behind and await self._app.consumer._commit({tp: one[2] for tp, one in behind.items()}):  # 4
            for host, stream, position in behind.values():
                host.committed[stream] = position
            behind = {}
        if not behind:
            self._meters.checkpointed(ROLE)
        detecting = [one.step for one in self._hosts.values() if isinstance(one.step, DetectStep)]
        self._meters.set(STATE_SERIES, sum(one.series_count() for one in detecting))

    def _save(self) -> None:
        hosts = [one for one in self._hosts.values() if one.changed and not one.busy]
        if hosts:
            with self._meters.stage("snapshot"):
                self._sender.flush()  # 1
                self._snapshots.write([host.snapshot(self._made_with) for host in hosts])  # 2 and 3
        for host in hosts:
            host.changed = False

    async def _on_assigned(self, app: faust.App, assigned: Iterable[Any], **more: Any) -> None:
        if app is not self._app:
            return
        topics: dict[int, set[str]] = {}
        for one in assigned:
            topics.setdefault(one.partition, set()).add(one.topic)
        for partition, present in sorted(topics.items()):
            if missing := self._streams.keys() - present:
                text = f"kafka: partition {partition} came without that of {', '.join(sorted(missing))}"
                self._fail(Retryable(f"{text}; do workers of another version share the group?", RETRY_S))
        self._assigned = frozenset(topics)
        self._meters.wait(ROLE, _RESTORING)
        log.info("steps: %s", ", ".join(str(one) for one in sorted(self._assigned)) or "no partitions")

    async def _on_revoked(self, app: faust.App, revoked: Iterable[Any], **more: Any) -> None:
        if app is not self._app:
            return
        try:
            if not self._died.done():
                self._save()
        except OpsBrainError as error:
            self._fail(error)
        self._forget()


def quiet_faust() -> None:
    """Silence what Faust and its driver log: what an operator needs to know is said by us, once."""
    for name in ("faust", "mode", quick_transport.__module__):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
