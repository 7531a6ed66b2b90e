"""Alertmanager's webhook: an alert that fires, fires on, and is resolved."""

from typing import Any

from tests.ingest.event_formats import decode, reasons, rows

ALERT = {
    "status": "firing",
    "labels": {"alertname": "HighLatency", "namespace": "shop", "pod": "store-77tk444p6s-2jpfw", "severity": "page"},
    "annotations": {"summary": "Slow.", "description": "p99 is 2 s"},
    "startsAt": "2026-08-22T10:00:00.5Z",
    "endsAt": "0001-01-01T00:00:00Z",
    "fingerprint": "f1",
}
AT_MS = 1_787_392_800_500


def notification(*alerts: Any, **said: Any) -> dict[str, Any]:
    return {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "alerts": list(alerts)} | said


def test_an_alert_that_fires_is_a_warning_of_the_pods_service() -> None:
    (row,) = rows("alertmanager", notification(ALERT))
    assert row.pop("identity")
    assert row == {
        "ts_ms": AT_MS,
        "offset": 0,
        "entity": "demo/service/shop/store",
        "reason": "HighLatency",
        "type": "Warning",
        "message": "HighLatency firing (page) Slow. p99 is 2 s",
        "count": 1,
        "uid": "f1",
    }


def test_a_resolved_alert_does_not_count_as_another_one() -> None:
    (row,) = rows("alertmanager", notification(ALERT | {"status": "resolved", "endsAt": "2026-08-22T10:05:00Z"}))
    assert (row["reason"], row["type"], row["ts_ms"]) == ("HighLatencyResolved", "Normal", AT_MS + 299_500)


def test_a_group_told_again_repeats_what_was_told() -> None:
    other = ALERT | {"fingerprint": "f2"}
    first = rows("alertmanager", notification(ALERT))
    again = rows("alertmanager", notification(other, ALERT))
    assert [row["identity"] for row in again][1] == first[0]["identity"] != again[0]["identity"]
    began_again = rows("alertmanager", notification(ALERT | {"startsAt": "2026-08-22T11:00:00Z"}))
    assert began_again[0]["identity"] != first[0]["identity"]


def test_alerts_without_a_name_fingerprint_or_time() -> None:
    bare = {"labels": {"node": "n1"}, "annotations": None}
    (row,) = rows("alertmanager", notification(bare), received_ms=[AT_MS])
    assert (row["reason"], row["entity"], row["ts_ms"], row["identity"]) == ("Alert", "demo/node/-/n1", AT_MS, 0)


def test_what_is_no_alert_is_refused_alone() -> None:
    decoded = decode("alertmanager", notification(ALERT, {"labels": 7}, ALERT | {"status": "odd"}))
    assert decoded.rows.height == 1
    assert sorted(reasons(decoded)) == [
        "Expected `object`, got `int` - at `$.labels`",
        "an alert's status is neither firing nor resolved",
    ]


def test_other_versions_and_empty_notifications_are_refused() -> None:
    decoded = decode("alertmanager", notification(ALERT, version="5"), notification(), {"alerts": None})
    assert decoded.rows.is_empty()
    assert reasons(decoded) == [
        "version of the webhook is not 4",
        "it holds no event",
        "Expected `array`, got `null` - at `$.alerts`",
    ]
