"""A worker without receivers keeps the store, so that incidents and fixes can be looked at and decided about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine.messages import FIXES, INCIDENTS, Message
from engine.runners.kafka.codec import encode
from engine.types import Fix, Incident
from opsbrain.kafka_config import kafka_config
from opsbrain.kafka_notify import NotifyRole
from opsbrain.settings import Kafka, Settings
from opsbrain.settings import Store as StoreSettings
from opsbrain.store import Store
from tests.opsbrain.samples import fix, incident


class Sent:
    """A message as the client library hands it over."""

    def __init__(self, stream: str, payload: Incident | Fix) -> None:
        (self._wire,) = encode(Message(stream, f"{payload.id}/{payload.revision}", payload, "demo"), 1)

    def error(self) -> None:
        return None

    def topic(self) -> str:
        return f"opsbrain.{self._wire.stream}"

    def key(self) -> bytes:
        return self._wire.key

    def value(self) -> bytes:
        return self._wire.value

    def headers(self) -> list[tuple[str, bytes]]:
        return list(self._wire.headers)


class Consumer:
    """Hands over one incident and one fix, then nothing; notes commits."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.waiting = [Sent(INCIDENTS, incident(1)), Sent(FIXES, fix())]
        self.committed = 0
        made.append(self)

    def subscribe(self, topics: list[str], on_assign: Any, on_revoke: Any) -> None:
        assert sorted(topics) == ["opsbrain.fixes", "opsbrain.incidents"]

    def consume(self, count: int, timeout: float) -> list[Sent]:
        taken, self.waiting = self.waiting, []
        return taken

    def commit(self, asynchronous: bool) -> None:
        self.committed += 1

    def close(self) -> None:
        pass


made: list[Consumer] = []


def test_without_receivers_the_store_is_kept_and_no_outbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    confluent_kafka = pytest.importorskip("confluent_kafka")
    monkeypatch.setattr(confluent_kafka, "Consumer", Consumer)
    monkeypatch.setattr("opsbrain.kafka_notify.SETTLE_S", 0.0)
    made.clear()
    settings = Settings(kafka=Kafka(bootstrap="x:1"), store=StoreSettings(folder=tmp_path / "store"))
    rounds = iter([False, False, True])
    NotifyRole(settings, kafka_config(settings)).run(lambda: next(rounds))
    with Store(tmp_path / "store", create=False) as store:
        assert [one.id for one in store.incidents()] == [incident(1).id]
        assert [one.id for one in store.fixes()] == [fix().id]
    assert [one.name for one in (tmp_path / "store").iterdir()] == ["opsbrain.sqlite"]
    assert made[0].committed == 1
