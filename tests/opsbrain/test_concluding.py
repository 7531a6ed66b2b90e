"""Conclusions of a running service: stored and told once, however often a crash makes them be said."""

from __future__ import annotations

from pathlib import Path

from engine.messages import FIXES, INCIDENTS, Message
from engine.runners.meters import Meters
from engine.types import DeadLetter, Phase
from opsbrain.collect import Collected
from opsbrain.concluding import Conclusions, DeadLetterLog
from opsbrain.notify.deliverer import Deliverer
from opsbrain.notify.delivery import Notifier
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.meters import NotifyMeters
from opsbrain.notify.outbox import FILE_NAME, Outbox
from opsbrain.notify.receiver import Receiver
from opsbrain.notify.webhook import WebhookNotifier
from opsbrain.secrets import Secret
from opsbrain.settings import Webhook
from opsbrain.store import Store
from tests.opsbrain.samples import T0, fix, incident

SECRET = "whsec_" + "dGVzdC10ZXN0LXRlc3QtdGVzdC10ZXN0LXRlc3Q="


def said(*revisions: int) -> Collected:
    collected = Collected()
    for revision in revisions:
        phase = Phase.RESOLVED if revision == 3 else Phase.OPEN
        collected(Message(INCIDENTS, f"i/{revision}", incident(revision, phase)))
        collected(Message(FIXES, f"f/{revision}", fix(revision)))
    return collected


def test_each_revision_is_stored_and_told_once_and_in_order(tmp_path: Path) -> None:
    woken: list[bool] = []
    with Receiver([SECRET], now_s=lambda: T0 / 1000) as receiver, Store(tmp_path) as store:
        webhook = WebhookNotifier(Webhook(name="on-call", url=Secret(receiver.url), secrets=(Secret(SECRET),)))
        outbox = Outbox(tmp_path / FILE_NAME)
        conclude = Conclusions(store, outbox, [webhook], lambda: woken.append(True))
        courier = Dispatcher(Outbox(tmp_path / FILE_NAME), [webhook])
        for collected in (said(2, 1), said(1, 2), said(2, 3)):  # as after a crash: some of it again
            conclude(collected, T0)
            assert not collected.incidents
            courier.run_due(T0)
        assert [one.revision for one in store.incident_revisions()] == [1, 2, 3]
        assert [entry.delivery.kind for entry in outbox.entries()] == ["opened", "updated", "resolved"]
        assert [one.signature.ok for one in receiver.received] == [True] * 3
        assert woken == [True] * 3


def test_nobody_is_told_of_the_past_but_of_what_is_still_open(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        webhook = WebhookNotifier(Webhook(name="on-call", url=Secret("http://127.0.0.1:9"), secrets=()))
        outbox = Outbox(tmp_path / FILE_NAME)
        conclude = Conclusions(store, outbox, [webhook], lambda: None, lambda now_ms: now_ms < T0)
        conclude(said(1), T0 - 1)
        assert outbox.entries() == []
        conclude(Collected(), T0)
        conclude(Collected(), T0 + 1)
        assert [one.delivery.kind for one in outbox.entries()] == ["opened"]


def test_what_was_over_before_the_start_is_history(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        webhook = WebhookNotifier(Webhook(name="on-call", url=Secret("http://127.0.0.1:9"), secrets=()))
        outbox = Outbox(tmp_path / FILE_NAME)
        conclude = Conclusions(store, outbox, [webhook], lambda: None, lambda now_ms: now_ms < T0)
        conclude(said(1, 2, 3), T0 - 1)
        conclude(Collected(), T0)
        assert outbox.entries() == []
        assert [one.revision for one in store.incident_revisions()] == [1, 2, 3]


def deliverer(outbox: Outbox, *notifiers: Notifier) -> Deliverer:
    names = [one.name for one in notifiers]
    return Deliverer(outbox, notifiers, lambda: T0, 900_000, NotifyMeters(Meters(), names), 86_400_000)


def test_a_deliverer_stops_at_once_when_nothing_is_under_way() -> None:
    webhook = WebhookNotifier(Webhook(name="on-call", url=Secret("http://127.0.0.1:9"), secrets=()))
    delivers = deliverer(Outbox(":memory:"), webhook)
    assert not delivers.alive
    delivers.start()
    assert delivers.alive
    delivers.stop(within_s=10)
    assert not delivers.alive
    assert deliverer(Outbox(":memory:")).alive  # nobody to look after


def test_dead_letters_are_said_once_a_minute(caplog):
    log = DeadLetterLog()
    letters = [
        DeadLetter("events", 1, "other", "x"),
        DeadLetter("logs", 1, "no JSON\x1b[31m", "x", rows=1_500),
        DeadLetter("logs", 2, "other", "x"),
    ]
    for now_ms in (0, 10_000, 59_999, 60_000):
        log.take(letters, now_ms)
    log.take([], 200_000)
    assert [one.getMessage() for one in caplog.records] == [
        "dead letters: events 1 row, logs 1,501 rows; most often: 1,500 of logs: no JSON [31m",
        "dead letters: events 3 rows, logs 4,503 rows; most often: 4,500 of logs: no JSON [31m",
    ]
