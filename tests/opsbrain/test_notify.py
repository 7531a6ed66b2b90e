from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import jsonschema
import msgspec
import pytest

from engine.errors import ConfigError, Permanent, Retryable
from engine.notice import Notice, face_of
from engine.types import Phase, Ranking, Severity
from opsbrain.notify.alertmanager import AlertmanagerNotifier
from opsbrain.notify.backoff import LONGEST_MS, wait_ms
from opsbrain.notify.cloudevents import encode_event
from opsbrain.notify.delivery import Delivery
from opsbrain.notify.dispatch import Dispatcher
from opsbrain.notify.http_answer import retry_after_s
from opsbrain.notify.outbox import Outbox
from opsbrain.notify.payload import render_schema
from opsbrain.notify.receiver import Receiver
from opsbrain.notify.registry import build_notifiers
from opsbrain.notify.webhook import WebhookNotifier
from opsbrain.secrets import Secret
from opsbrain.settings import Alertmanager, Notify, Webhook
from tests.opsbrain.samples import GATEWAY, ORDERS, T0, fix, incident

ROOT = Path(__file__).resolve().parents[2]
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFB"
NOW = T0 + 500_000
TOLD = Notice((fix(),))


def webhook(url: str, **more: object) -> WebhookNotifier:
    secrets = (Secret(SECRET),)
    return WebhookNotifier(Webhook(**({"name": "on-call", "url": Secret(url), "secrets": secrets} | more)))  # type: ignore[arg-type]


def receiver(*answers: tuple[int, dict[str, str]], secrets: tuple[str, ...] = (SECRET,)) -> Receiver:
    return Receiver(secrets, answers, now_s=lambda: NOW / 1000)


def closed_port() -> str:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{one.getsockname()[1]}/"


# --- the event


def test_an_event_is_a_cloudevent_with_event_time_and_the_documented_data():
    event = msgspec.json.decode(encode_event(incident(), [fix()]))
    assert event["specversion"] == "1.0"
    assert event["id"] == "inc-0123456789abcdef.1"
    assert event["type"] == "io.opsbrain.incident.opened"
    assert event["source"] == "/opsbrain/demo"
    assert event["subject"] == "inc-0123456789abcdef"
    assert event["time"] == "2023-11-14T22:16:20.000Z"
    data = event["data"]
    jsonschema.validate(data, msgspec.json.decode(render_schema()))
    assert data["causes"][0]["entity"] == "demo/service/shop/payments"
    assert data["causes"][0]["evidence"][0]["expected"] == [38.0, 55.0]
    assert data["causes"][0]["evidence"][1]["observed"] is None
    assert [one["outcome"] for one in data["fixes"][0]["verdicts"]] == ["passed"] * 4 + ["inconclusive"]
    assert data["fixes"][0]["outcome"] == "inconclusive"


def test_the_kind_follows_the_revision():
    kinds = [
        msgspec.json.decode(encode_event(one, []))["type"].rpartition(".")[2]
        for one in (incident(1), incident(2), incident(3, Phase.RESOLVED))
    ]
    assert kinds == ["opened", "updated", "resolved"]


def test_the_same_revision_gives_the_same_bytes():
    assert encode_event(incident(), [fix()]) == encode_event(incident(), [fix()])


def test_a_huge_incident_is_cut_and_says_so():
    entities = tuple(f"demo/service/shop/s{number:03d}" for number in range(200))
    data = msgspec.json.decode(encode_event(incident(entities=entities), []))["data"]
    assert len(data["entities"]) == 50 and data["more"] == {"entities": 150}


def test_an_abstention_is_told():
    data = msgspec.json.decode(encode_event(incident(ranking=Ranking((), "no topology")), []))["data"]
    assert data["causes"] == [] and data["abstained"] == "no topology"


def test_the_schema_in_the_docs_is_current():
    assert (ROOT / "docs" / "incident-event.schema.json").read_text() == render_schema(), (
        "run: python -m opsbrain.notify.payload > docs/incident-event.schema.json"
    )


# --- the webhook


def test_a_webhook_arrives_signed_and_verifies():
    with receiver() as there:
        notifier = webhook(there.url)
        delivery = notifier.compose(incident(), Notice((fix(),)))
        assert delivery is not None
        assert notifier.send(delivery, {}, NOW) == "HTTP 204"
    (got,) = there.received
    assert got.signature.ok, got.signature.reason
    assert got.headers["content-type"] == "application/cloudevents+json"
    assert got.headers["webhook-id"] == delivery.id
    assert got.body == delivery.body


def test_a_receiver_with_another_secret_sees_that_it_does_not_verify():
    with receiver(secrets=(OTHER,)) as there:
        notifier = webhook(there.url)
        notifier.send(notifier.compose(incident(), Notice()), {}, NOW)  # type: ignore[arg-type]
    assert not there.received[0].signature.ok


def test_during_rotation_a_receiver_may_know_either_secret():
    for known in (SECRET, OTHER):
        with receiver(secrets=(known,)) as there:
            notifier = webhook(there.url, secrets=(Secret(SECRET), Secret(OTHER)))
            notifier.send(notifier.compose(incident(), Notice()), {}, NOW)  # type: ignore[arg-type]
        assert there.received[0].signature.ok


@pytest.mark.parametrize("status", [429, 500, 502, 503, 408])
def test_what_may_work_later_is_retryable(status):
    with receiver((status, {"retry-after": "17"})) as there, pytest.raises(Retryable, match=str(status)) as caught:
        webhook(there.url).send(Delivery("a", "on-call", "i", "opened", b"{}", T0), {}, NOW)
    assert caught.value.retry_after_s == 17


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 410, 413, 422])
def test_what_will_never_work_tells_the_operator(status):
    answer = (status, {"location": "http://127.0.0.1:1/"})
    with receiver(answer) as there, pytest.raises(Permanent, match=rf"HTTP {status}.*; operator action: "):
        webhook(there.url).send(Delivery("a", "on-call", "i", "opened", b"{}", T0), {}, NOW)
    assert len(there.received) == 1


def test_nobody_listening_is_retryable_and_the_address_is_not_told():
    url = closed_port() + "token-hunter2"
    with pytest.raises(Retryable, match=r"^notify\.webhooks\.on-call: ConnectError") as caught:
        webhook(url).send(Delivery("a", "on-call", "i", "opened", b"{}", T0), {}, NOW)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "hooks.example.com", "ftp://x/", "http://", "http://[::1"])
def test_a_bad_address_is_refused_at_start(url):
    with pytest.raises(ConfigError, match=r"^notify\.webhooks\.on-call: the address"):
        webhook(url)


def test_only_the_kinds_asked_for_are_composed():
    notifier = webhook("http://x/", kinds=("resolved",))
    assert notifier.compose(incident(1), Notice()) is None
    assert notifier.compose(incident(2, Phase.RESOLVED), Notice()) is not None


def test_retry_after_is_bounded():
    assert retry_after_s("999999999", 0) == 86_400
    assert retry_after_s("-3", 0) == 0
    assert retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT", NOW) == 0


# --- the outbox


def test_the_same_delivery_is_kept_once():
    outbox = Outbox(":memory:")
    delivery = Delivery("inc.1", "hook", "inc", "opened", b"{}", T0)
    assert outbox.enqueue(delivery, NOW)
    assert not outbox.enqueue(delivery, NOW + 1)
    outbox.delivered(delivery, NOW, "HTTP 200")
    assert not outbox.enqueue(delivery, NOW + 2)
    assert outbox.due(NOW + 10, ["hook"]) == []


def test_what_is_pending_survives_a_restart(tmp_path):
    path = tmp_path / "state" / "outbox.sqlite"
    first = Outbox(path)
    delivery = Delivery("inc.1", "hook", "inc", "opened", b"\x00body", T0)
    first.enqueue(delivery, NOW)
    first.postponed(delivery, NOW, Retryable("down", 0))
    first.close()
    second = Outbox(path)
    assert second.due(NOW, ["hook"]) == []
    (entry,) = second.due(second.next_due_ms() or 0, ["hook"])
    assert entry.delivery == delivery and entry.attempts == 1 and entry.last == "down"


def test_a_resolved_never_overtakes_its_opened():
    outbox = Outbox(":memory:")
    opened = Delivery("inc.1", "hook", "inc", "opened", b"1", T0)
    resolved = Delivery("inc.2", "hook", "inc", "resolved", b"2", T0)
    other = Delivery("oth.1", "hook", "oth", "opened", b"3", T0)
    for one in (opened, resolved, other):
        outbox.enqueue(one, NOW)
    assert [entry.delivery for entry in outbox.due(NOW, ["hook"])] == [opened, other]
    outbox.postponed(opened, NOW, Retryable("down", 0))
    assert [entry.delivery for entry in outbox.due(NOW, ["hook"])] == [other]
    outbox.refused(opened, NOW, Permanent("no"))
    assert [entry.delivery for entry in outbox.due(NOW, ["hook"])] == [resolved, other]


def test_waits_double_up_to_a_bound_and_honour_retry_after():
    waits = [wait_ms(attempt, 0, "x") for attempt in range(1, 60)]
    assert 5_000 <= waits[0] <= 6_250 and 10_000 <= waits[1] <= 12_500
    assert max(waits) <= LONGEST_MS * 1.25 and waits[-1] >= LONGEST_MS
    assert wait_ms(1, 3600, "x") >= 3_600_000


def test_a_delivery_that_grows_too_old_is_given_up():
    outbox = Outbox(":memory:", give_up_after_ms=60_000)
    delivery = Delivery("inc.1", "hook", "inc", "opened", b"1", T0)
    outbox.enqueue(delivery, NOW)
    now = NOW
    while outbox.find(delivery).state == "pending":
        now = outbox.next_due_ms() or now
        outbox.postponed(delivery, now, Retryable("HTTP 503", 0))
    entry = outbox.find(delivery)
    assert entry.state == "failed" and "gave up after" in entry.last and "operator action" in entry.last
    assert now - NOW <= 60_000


def test_old_deliveries_are_forgotten_but_not_an_incidents_last_word():
    outbox = Outbox(":memory:")
    for number in (1, 2):
        delivery = Delivery(f"inc.{number}", "hook", "inc", "opened", b"", T0)
        outbox.enqueue(delivery, NOW)
        outbox.delivered(delivery, NOW, "HTTP 200")
    assert outbox.forget(NOW + 1) == 1
    assert [entry.delivery.id for entry in outbox.entries("inc")] == ["inc.2"]


# --- all together


def test_from_a_failing_receiver_to_a_delivery():
    with receiver((503, {"retry-after": "30"}), (500, {})) as there:
        outbox = Outbox(":memory:")
        dispatcher = Dispatcher(outbox, [webhook(there.url)])
        assert len(dispatcher.notify(incident(), TOLD, NOW)) == 1
        assert len(dispatcher.notify(incident(), TOLD, NOW)) == 1
        assert outbox.pending() == 1
        assert [one.state for one in dispatcher.run_due(NOW)] == ["pending"]
        assert dispatcher.run_due(NOW + 29_000) == []
        later = outbox.next_due_ms()
        assert later is not None and later >= NOW + 30_000
        assert [one.state for one in dispatcher.run_due(later)] == ["pending"]
        (entry,) = dispatcher.run_due(outbox.next_due_ms() or 0)
        assert entry.state == "delivered" and entry.attempts == 3 and entry.last == "HTTP 204"
    assert len({one.headers["webhook-id"] for one in there.received}) == 1


def test_a_dead_receiver_holds_up_nobody_and_is_tried_once_a_round():
    with receiver() as there:
        dead = webhook(closed_port(), name="dead")
        dispatcher = Dispatcher(Outbox(":memory:"), [dead, webhook(there.url)])
        for number in range(3):
            dispatcher.notify(incident(id=f"inc-{number}"), Notice(), NOW)
        states = [(one.delivery.notifier, one.state) for one in dispatcher.run_due(NOW)]
    assert states.count(("on-call", "delivered")) == 3 and states.count(("dead", "pending")) == 1


def alertmanager(url: str) -> AlertmanagerNotifier:
    return AlertmanagerNotifier(Alertmanager(url=Secret(url)))


def test_alertmanager_gets_an_alert_and_its_end():
    with receiver() as there:
        dispatcher = Dispatcher(Outbox(":memory:"), [alertmanager(there.url)])
        dispatcher.notify(incident(1), TOLD, NOW)
        dispatcher.notify(incident(2, Phase.RESOLVED), replace(TOLD, before=face_of(incident(1))), NOW)
        assert [one.state for one in dispatcher.run_due(NOW)] == ["delivered", "delivered"]
    first, last = (msgspec.json.decode(one.body) for one in there.received)
    assert [one.path for one in there.received] == ["/api/v2/alerts"] * 2
    assert first[0]["labels"] == {
        "alertname": "OpsBrainIncident",
        "incident": "inc-0123456789abcdef",
        "scope": "demo",
        "entity": "demo/service/shop/payments",
        "severity": "critical",
    }
    assert first[0]["startsAt"] == "2023-11-14T22:15:20.000Z" and "endsAt" not in first[0]
    assert "payments" in first[0]["annotations"]["description"]
    assert len(last) == 1 and last[0]["endsAt"] == "2023-11-14T22:17:20.000Z"


def test_alertmanager_ends_the_alert_under_labels_that_changed():
    outbox = Outbox(":memory:")
    dispatcher = Dispatcher(outbox, [alertmanager("http://127.0.0.1:1")])
    warning = incident(2, severity=Severity.WARNING)
    dispatcher.notify(incident(1), Notice(), NOW)
    dispatcher.notify(warning, Notice((), face_of(incident(1))), NOW)
    dispatcher.notify(replace(warning, revision=3), Notice((), face_of(warning)), NOW)
    bodies = [msgspec.json.decode(entry.delivery.body) for entry in outbox.entries()]
    assert [len(body) for body in bodies] == [1, 2, 1]
    assert bodies[1][0]["labels"]["severity"] == "warning" and "endsAt" not in bodies[1][0]
    assert bodies[1][1]["labels"]["severity"] == "critical" and "endsAt" in bodies[1][1]


def test_a_firing_alert_is_sent_again_until_it_is_resolved():
    with receiver() as there:
        dispatcher = Dispatcher(Outbox(":memory:"), [alertmanager(there.url)])
        dispatcher.notify(incident(1), Notice(), NOW)
        dispatcher.run_due(NOW)
        assert dispatcher.refresh(NOW + 239_000) == 0
        assert dispatcher.refresh(NOW + 240_000) == 1
        dispatcher.run_due(NOW + 240_000)
        assert dispatcher.refresh(NOW + 480_000) == 1
        dispatcher.notify(incident(2, Phase.RESOLVED), Notice(), NOW + 480_001)
        dispatcher.run_due(NOW + 480_001)
        assert dispatcher.refresh(NOW + 10**9) == 0
    assert len(there.received) == 4


def test_notifiers_are_built_from_settings():
    config = Notify(
        webhooks=(Webhook(name="a", url=Secret("http://x/")),), alertmanager=Alertmanager(url=Secret("http://am:9093/"))
    )
    assert [one.name for one in build_notifiers(config)] == ["a", "alertmanager"]
    assert build_notifiers(Notify()) == []


def test_entities_without_a_cause_are_labelled_by_the_first():
    notifier = alertmanager("http://am")
    delivery = notifier.compose(incident(ranking=Ranking((), "none"), entities=(GATEWAY, ORDERS)), Notice())
    assert delivery is not None
    assert msgspec.json.decode(delivery.body)[0]["labels"]["entity"] == GATEWAY
