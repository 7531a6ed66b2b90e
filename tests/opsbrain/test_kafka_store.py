"""The notify role of a worker without a broker: what it keeps, whom it tells, and what it commits when."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from engine.errors import Retryable, SourceError
from engine.messages import FIXES, INCIDENTS, Message
from engine.notice import Notice
from engine.runners.kafka.codec import encode
from engine.types import Fix, Incident, Phase
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_notify import NotifyRole, _is_message
from opsbrain.notify.outbox import Outbox
from opsbrain.notify.receiver import Received, Receiver
from opsbrain.secrets import Secret
from opsbrain.settings import Alertmanager, Kafka, Notify, Settings, Webhook
from opsbrain.settings import Store as StoreSettings
from opsbrain.store import Store
from tests.opsbrain.samples import fix, incident

pytest.importorskip("confluent_kafka")


class Sent:
    """A message as the client library hands it over."""

    def __init__(self, payload: Incident | Fix, offset: int) -> None:
        stream = INCIDENTS if isinstance(payload, Incident) else FIXES
        notice = Notice((fix(),)) if isinstance(payload, Incident) else None
        key = f"{payload.id}/{payload.revision}"
        (self._wire,) = encode(Message(stream, key, payload, "demo", notice), 1)
        self._offset = offset

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return f"opsbrain.{self._wire.stream}"

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return self._wire.key

    def value(self) -> bytes:
        return self._wire.value

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self._wire.headers)


@dataclass
class Group:
    """What a broker holds: one partition of each topic, and what the group has committed there."""

    incidents: list[Sent] = field(default_factory=list)
    fixes: list[Sent] = field(default_factory=list)
    committed: dict[str, tuple[int, str]] = field(default_factory=dict)
    commits: int = 0
    paused: bool = False

    def add(self, *payloads: Incident | Fix) -> None:
        for one in payloads:
            log = self.incidents if isinstance(one, Incident) else self.fixes
            log.append(Sent(one, len(log)))

    def consumer(self, config: dict[str, Any]) -> Consumer:
        return Consumer(self, config)


class Consumer:
    """Reads from where the group stands, like a worker that has just been given the partitions."""

    def __init__(self, group: Group, config: dict[str, Any]) -> None:
        self.group = group
        self.on_commit = config["on_commit"]
        self.at = {topic: at for topic, (at, _) in group.committed.items()}
        group.paused = False

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        assert sorted(topics) == ["opsbrain.fixes", "opsbrain.incidents"]
        self.lost = callbacks["on_lost"]

    def consume(self, count: int, timeout: float) -> list[Sent]:
        if self.group.paused:
            return []
        taken: list[Sent] = []
        for log in (self.group.incidents, self.group.fixes):
            for one in log[self.at.get(log[0].topic(), 0) if log else 0 :][: count - len(taken)]:
                taken.append(one)
                self.at[one.topic()] = one.offset() + 1
        return taken

    def committed(self, partitions: list[Any], timeout: float) -> list[Any]:
        from confluent_kafka import OFFSET_INVALID, TopicPartition

        return [
            TopicPartition(one.topic, one.partition, *self.group.committed.get(one.topic, (OFFSET_INVALID, "")))
            for one in partitions
        ]

    def commit(self, offsets: list[Any]) -> None:
        self.group.commits += 1
        self.group.committed |= {one.topic: (one.offset, one.metadata or "") for one in offsets}
        self.on_commit(None, offsets)

    def assignment(self) -> list[Any]:
        return []

    def pause(self, partitions: list[Any]) -> None:
        self.group.paused = True

    def resume(self, partitions: list[Any]) -> None:
        self.group.paused = False

    def close(self) -> None:
        pass


@dataclass
class Workers:
    """One worker after the other on the same group, each with the same receivers."""

    group: Group
    settings: Settings

    def run_until(self, done: Callable[[], bool], rounds: int = 2_000) -> None:
        """Run a new worker until something is so, and end it as a kill would: nothing is committed at the end."""
        left = iter(range(rounds))

        def stopped() -> bool:
            if done():
                raise Killed
            assert next(left, None) is not None, "not there"
            threading.Event().wait(0.002)  # others are at work meanwhile
            return False

        role = NotifyRole(self.settings, kafka_config(self.settings))
        with pytest.raises(Killed):
            role.run(stopped)

    def offset(self) -> int:
        return self.group.committed.get("opsbrain.incidents", (0, ""))[0]


class Killed(Exception):
    """The worker is gone."""


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> Group:
    group = Group()
    monkeypatch.setattr("confluent_kafka.Consumer", group.consumer)
    monkeypatch.setattr("opsbrain.kafka_notify._COMMIT_EVERY_S", 0.0)
    return group


def workers(group: Group, folder: Path, *receivers: Receiver, **more: Any) -> Workers:
    hooks = tuple(Webhook(name=f"r{n}", url=Secret(one.url)) for n, one in enumerate(receivers))
    notify = Notify(**({"webhooks": hooks} | more))
    return Workers(group, Settings(kafka=Kafka(bootstrap="x:1"), store=StoreSettings(folder=folder), notify=notify))


def ids(receiver: Receiver) -> list[str]:
    return [one.headers["idempotency-key"] for one in receiver.received]


def bodies(receiver: Receiver) -> dict[str, set[bytes]]:
    found: dict[str, set[bytes]] = {}
    for one in receiver.received:
        found.setdefault(one.headers["idempotency-key"], set()).add(one.body)
    return found


def test_without_receivers_the_store_is_kept_and_no_outbox(tmp_path: Path, group: Group) -> None:
    group.add(incident(1), fix())
    run = workers(group, tmp_path / "store")
    run.run_until(lambda: run.offset() == 1)
    with Store(tmp_path / "store", create=False) as store:
        assert [one.id for one in store.incidents()] == [incident(1).id]
        assert [one.id for one in store.fixes()] == [fix().id]
    assert [one.name for one in (tmp_path / "store").iterdir()] == ["opsbrain.sqlite"]


def test_offsets_are_committed_when_all_have_been_told_and_not_before(tmp_path: Path, group: Group) -> None:
    with Receiver(answers=[(500, {})]) as slow, Receiver() as fast:
        run = workers(group, tmp_path, slow, fast)
        group.add(incident(1), incident(2))
        run.run_until(lambda: len(fast.received) == 2 and bool(slow.received) and group.commits > 0)
        assert run.offset() == 0
        assert group.committed["opsbrain.incidents"][1] == '{"r0":[0,1,2],"r1":[2]}'
        run.run_until(lambda: run.offset() == 2)
    assert len(fast.received) == 2, "who had been told does not hear it again"
    assert ids(slow) == [ids(slow)[0], *ids(slow)[:1], ids(slow)[2]]
    assert len(set(ids(slow)) | set(ids(fast))) == 4
    assert all(len(one) == 1 for one in (bodies(slow) | bodies(fast)).values())
    assert group.committed["opsbrain.incidents"] == (2, "")


def test_what_a_dead_worker_still_owed_is_told_by_another_with_the_same_key_and_body(
    tmp_path: Path, group: Group
) -> None:
    refusing = [(503, {"retry-after": "3600"})]
    with Receiver(answers=refusing) as receiver:
        run = workers(group, tmp_path / "one", receiver)
        group.add(incident(1))
        run.run_until(lambda: bool(receiver.received))
        other = workers(group, tmp_path / "two", receiver)
        other.run_until(lambda: other.offset() == 1)
    first, second = receiver.received
    assert first.body == second.body
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_an_alert_that_lasts_is_repeated_by_whoever_has_the_partition(tmp_path: Path, group: Group) -> None:
    with Receiver() as receiver:
        config = Alertmanager(url=Secret(receiver.url), refresh_s=86_400)
        run = workers(group, tmp_path, alertmanager=config)
        group.add(incident(1), incident(2), incident(1, id="inc-other"))
        run.run_until(lambda: group.committed == {"opsbrain.incidents": (1, '{"alertmanager":[1,2,3]}')})
        assert len(receiver.received) == 3
        group.add(incident(3, Phase.RESOLVED))
        run.run_until(lambda: group.committed == {"opsbrain.incidents": (2, '{"alertmanager":[2,4]}')})
        assert len(receiver.received) == 6
    keys = ids(receiver)
    assert sorted(keys[3:5]) == sorted(keys[1:3]), "the last words that are not resolved, and nothing else"


def test_a_full_disk_is_said_once_and_nothing_is_committed_meanwhile(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    full = True
    written = Store.put_incidents

    def put(store: Store, items: list[Incident]) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        written(store, items)

    monkeypatch.setattr(Store, "put_incidents", put)
    monkeypatch.setattr("opsbrain.notify.trouble._FIRST_S", 0.01)
    monkeypatch.setattr("opsbrain.notify.trouble._LONGEST_S", 0.01)
    caplog.set_level(logging.WARNING, "opsbrain.shelf")
    rounds = 0

    def written_again() -> bool:
        nonlocal full, rounds
        rounds += 1
        if rounds == 50:
            assert len(receiver.received) == 1, "people are told all the same"
            assert group.commits == 0
            full = False
        return run.offset() == 1

    with Receiver() as receiver:
        run = workers(group, tmp_path, receiver)
        group.add(incident(1), fix())
        run.run_until(written_again)
    with Store(tmp_path, create=False) as store:
        assert len(store.incidents()) == len(store.fixes()) == 1
    assert [one.getMessage() for one in caplog.records] == [
        f"notify: {tmp_path} cannot be written (people are told all the same, nothing is committed): "
        "database or disk is full; trying again",
        f"notify: {tmp_path} cannot be written (people are told all the same, nothing is committed): works again",
    ]


def test_no_more_is_taken_than_fits_while_the_store_cannot_be_written(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "store").write_text("a file where the folder should be")
    monkeypatch.setattr("opsbrain.shelf.MOST_UNSAVED", 3)
    monkeypatch.setattr("opsbrain.kafka_notify._BATCH", 1)
    group.add(*(incident(1, id=f"inc-{n}") for n in range(20)))
    with Receiver() as receiver:
        run = workers(group, tmp_path / "store", receiver)
        run.run_until(lambda: group.paused and len(receiver.received) >= 3)
        assert len(receiver.received) <= 5
        assert group.commits == 0
        (tmp_path / "store").unlink()
        run.run_until(lambda: run.offset() == 20)
    assert len(set(ids(receiver))) == 20


def test_old_news_is_marked_as_such(tmp_path: Path, group: Group) -> None:
    def stale(one: Received) -> bool:
        return one.headers.get("opsbrain-stale") == "true"

    with Receiver() as receiver:
        run = workers(group, tmp_path, receiver)
        recent = 4_000_000_000_000
        group.add(incident(1), incident(1, id="inc-new", updated_ms=recent))
        run.run_until(lambda: run.offset() == 2)
    assert [stale(one) for one in receiver.received] == [True, False]


def test_what_was_read_before_a_partition_was_lost_is_told_by_who_has_it_now(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    from confluent_kafka import TopicPartition

    consume, rounds = Consumer.consume, iter(range(1_000))

    def interrupted(self: Consumer, count: int, timeout: float) -> list[Sent]:
        if count == 1:
            return consume(self, count, timeout)
        self.lost(self, [TopicPartition("opsbrain.incidents", 0)])
        return []

    monkeypatch.setattr(Consumer, "consume", interrupted)
    with Receiver() as receiver:
        group.add(incident(1))
        workers(group, tmp_path, receiver).run_until(lambda: next(rounds) > 20)
        assert receiver.received == []
    assert group.committed == {}


def test_a_full_disk_in_a_rebalance_ends_a_life_and_not_the_worker(
    tmp_path: Path, group: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    from confluent_kafka import TopicPartition

    def full(self: Outbox, subjects: object, refreshing: object = ()) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def interrupted(self: Consumer, count: int, timeout: float) -> list[Sent]:
        taken = consume(self, count, timeout)
        if count == 1 and not taken:
            self.lost(self, [TopicPartition("opsbrain.incidents", 0)])  # raises nothing: the client is in between
        return taken

    consume = Consumer.consume
    monkeypatch.setattr(Consumer, "consume", interrupted)
    monkeypatch.setattr(Outbox, "drop", full)
    with Receiver() as receiver:
        run = workers(group, tmp_path, receiver)
        group.add(incident(1))
        role = NotifyRole(run.settings, kafka_config(run.settings))
        with pytest.raises(Retryable, match="database or disk is full"):
            role.run(lambda: False)


class Trouble:
    """An error as the client library hands it over."""

    def __init__(self, code: int, topic: str | None, fatal: bool = False) -> None:
        from confluent_kafka import KafkaError

        self._error, self._topic = KafkaError(code, "trouble", fatal), topic

    def error(self) -> Any:
        return self._error

    def topic(self) -> str | None:
        return self._topic


def test_what_passes_ends_no_worker() -> None:
    from confluent_kafka import KafkaError

    for code in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.FENCED_LEADER_EPOCH, KafkaError._TRANSPORT):
        assert not _is_message(Trouble(code, "opsbrain.incidents"))
    with pytest.raises(Retryable):  # a new client would work
        _is_message(Trouble(KafkaError._FATAL, None, fatal=True))
    with pytest.raises(SourceError):
        _is_message(Trouble(KafkaError.TOPIC_AUTHORIZATION_FAILED, "opsbrain.incidents"))
