"""Delivery in threads: each receiver by itself, and as it should be under trouble, with a clock moved by hand."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Mapping

import pytest

from engine.errors import Retryable
from engine.notice import Notice
from engine.runners.meters import Meters
from engine.types import Incident
from opsbrain.notify.deliverer import ROUND_S, Deliverer
from opsbrain.notify.delivery import Delivery, Notifier
from opsbrain.notify.lease import Lease
from opsbrain.notify.marks import marks
from opsbrain.notify.meters import NotifyMeters
from opsbrain.notify.outbox import SCRATCH, Outbox
from opsbrain.notify.receiver import Receiver
from opsbrain.notify.webhook import WebhookNotifier
from opsbrain.secrets import Secret
from opsbrain.settings import Webhook
from tests.opsbrain.samples import T0, incident


class Scripted:
    """A receiver that does what it is told for each request."""

    refresh_ms = 0

    def __init__(self, name: str, act: Callable[[Delivery, int], str]) -> None:
        self.name = name
        self.sent: list[str] = []
        self._act = act

    def compose(self, incident: Incident, notice: Notice) -> Delivery | None:
        raise NotImplementedError

    def send(self, delivery: Delivery, marks: Mapping[str, str], now_ms: int) -> str:
        self.sent.append(delivery.id)
        return self._act(delivery, now_ms)


def taken(delivery: Delivery, now_ms: int) -> str:
    return "HTTP 204"


def told(number: int, notifier: str = "a", subject: str = "") -> Delivery:
    return Delivery(f"inc-{number}.1", notifier, subject or f"inc-{number}", "opened", b"{}", T0)


def deliverer(outbox: Outbox, *notifiers: Notifier, clock: Callable[[], int] = lambda: T0) -> Deliverer:
    meters = NotifyMeters(Meters(), [one.name for one in notifiers])
    return Deliverer(outbox, notifiers, clock, 900_000, meters, 86_400_000)


def test_a_receiver_that_hangs_holds_up_nobody() -> None:
    hanging, heard = threading.Event(), threading.Event()

    def hang(delivery: Delivery, now_ms: int) -> str:
        hanging.wait(20)
        return "HTTP 204"

    def hear(delivery: Delivery, now_ms: int) -> str:
        heard.set()
        return "HTTP 204"

    outbox = Outbox(SCRATCH)
    delivers = deliverer(outbox, Scripted("a", hang), Scripted("b", hear))
    outbox.enqueue(told(1, "a"), T0)
    outbox.enqueue(told(1, "b"), T0)
    delivers.start()
    assert heard.wait(10)
    hanging.set()
    delivers.stop(within_s=10)
    assert not delivers.alive


def test_what_could_not_be_noted_is_not_sent_again_every_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsbrain.notify.trouble._FIRST_S", 0.0)
    full = True
    note = Outbox.delivered

    def delivered(outbox: Outbox, delivery: Delivery, now_ms: int, answer: str) -> None:
        if full:
            raise sqlite3.OperationalError("database or disk is full")
        note(outbox, delivery, now_ms, answer)

    monkeypatch.setattr(Outbox, "delivered", delivered)
    outbox, receiver = Outbox(":memory:"), Scripted("a", taken)
    for number in (1, 2):
        outbox.enqueue(told(number), T0)
    (courier,) = deliverer(outbox, receiver)._couriers
    for _ in range(5):
        courier.round(T0)
    assert receiver.sent == ["inc-1.1"]
    full = False
    courier._trouble.over()
    courier.round(T0)
    assert receiver.sent == ["inc-1.1", "inc-2.1"]
    assert outbox.pending() == 0


def test_a_dead_receiver_is_asked_once_a_round_and_what_waits_for_its_turn_keeps_nobody_busy() -> None:
    def refuse(delivery: Delivery, now_ms: int) -> str:
        raise Retryable("HTTP 503", 0)

    outbox, receiver = Outbox(":memory:"), Scripted("a", refuse)
    for number in (1, 2):
        outbox.enqueue(told(number, subject="inc"), T0)
    (courier,) = deliverer(outbox, receiver)._couriers
    assert courier.round(T0) == ROUND_S
    assert courier.round(T0 + 1) == ROUND_S, "the second waits for the first"
    assert receiver.sent == ["inc-1.1"]


def test_a_long_queue_is_signed_with_the_time_of_sending() -> None:
    now_ms, stamps = T0, []

    def slow(delivery: Delivery, at_ms: int) -> str:
        nonlocal now_ms
        stamps.append(now_ms - at_ms)
        now_ms += 300
        return "HTTP 204"

    outbox = Outbox(":memory:")
    for number in range(20):
        outbox.enqueue(told(number), T0)
    (courier,) = deliverer(outbox, Scripted("a", slow), clock=lambda: now_ms)._couriers
    while outbox.pending():
        assert courier.round(now_ms) in (0.0, ROUND_S)
    assert len(stamps) == 20 and max(stamps) < 1_000


def test_a_key_is_of_incident_revision_and_receiver_and_a_reminder_keeps_it() -> None:
    keys = {marks(told(n, name), T0, 900_000)["idempotency-key"] for n in (1, 2) for name in ("a", "b")}
    assert len(keys) == 4
    first = told(1)
    assert first.again().id == "inc-1.1+1" and first.again().again().id == "inc-1.1+2"
    assert first.again().again().key == first.key


@pytest.mark.parametrize(("late_ms", "stale"), [(0, False), (900_000, False), (900_001, True)])
def test_old_news_bears_a_mark_outside_of_what_is_signed(late_ms: int, stale: bool) -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    now_ms = incident().updated_ms + late_ms
    with Receiver([secret], now_s=lambda: now_ms / 1000) as receiver:
        webhook = WebhookNotifier(Webhook(name="a", url=Secret(receiver.url), secrets=(Secret(secret),)))
        outbox = Outbox(":memory:")
        delivery = webhook.compose(incident(), Notice())
        assert delivery is not None
        outbox.enqueue(delivery, now_ms)
        (courier,) = deliverer(outbox, webhook, clock=lambda: now_ms)._couriers
        courier.round(now_ms)
    (got,) = receiver.received
    assert got.signature.ok and got.body == delivery.body
    assert got.headers["idempotency-key"] == delivery.key
    assert got.headers.get("opsbrain-stale") == ("true" if stale else None)


def test_what_others_tell_now_is_forgotten_even_while_it_is_being_sent() -> None:
    outbox = Outbox(SCRATCH)

    def taken_away(delivery: Delivery, now_ms: int) -> str:
        outbox.drop([delivery.subject])
        raise Retryable("HTTP 503", 0)

    receiver = Scripted("a", taken_away)
    outbox.enqueue(told(1), T0)
    (courier,) = deliverer(outbox, receiver)._couriers
    courier.round(T0)
    assert outbox.entries() == [] and receiver.sent == ["inc-1.1"]


def test_what_was_delivered_stays_known_when_others_take_over_but_not_what_lasts() -> None:
    outbox = Outbox(SCRATCH)
    for one in (told(1, "hook"), told(1, "lasting")):
        outbox.enqueue(one, T0)
        outbox.delivered(one, T0, "HTTP 204")
    outbox.drop(["inc-1"], ["lasting"])
    assert [one.delivery.notifier for one in outbox.entries()] == ["hook"]


def test_who_was_frozen_waits_before_it_speaks_again() -> None:
    now_s = 0.0
    lease = Lease(10.0, lambda: now_s)
    assert lease.holds()
    now_s = 10.0
    assert not lease.holds(), "nobody listened to the group for as long as it takes to be replaced"
    lease.renew()
    assert not lease.holds()
    now_s = 11.0
    assert lease.holds()
    lease.renew()
    assert lease.holds()


def test_an_outbox_of_an_earlier_version_is_taken_over(tmp_path) -> None:
    path = tmp_path / "outbox.sqlite"
    Outbox(path).close()
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE deliveries DROP COLUMN at_ms")
        db.execute(
            "INSERT INTO deliveries (id, notifier, subject, kind, body, state, attempts, enqueued_ms, next_ms, last)"
            " VALUES ('inc-1.1', 'a', 'inc-1', 'opened', x'7b7d', 'pending', 0, 5, 5, '')"
        )
    outbox = Outbox(path)
    (entry,) = outbox.due(10, ["a"])
    assert entry.delivery.at_ms == 5
    assert outbox.enqueue(told(2), T0)
