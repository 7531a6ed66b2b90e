"""What telemetry names is scrubbed once, by the rules of texts, and one sender stays one entity in all formats."""

import json

import pytest

from engine.redaction import hashed
from ingest.identity import Identity
from ingest.registry import format_of
from ingest.scrub import Scrubber

PERSON = "joe@example.com"
RESOURCE = {"attributes": [{"key": "service.name", "value": {"stringValue": PERSON}}]}
AT_NS = "1544712660300000000"
SPAN = {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b175", "name": "x"}
TIMES = {"startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": "1544712661000000000"}
POINT = {"asDouble": 1, "timeUnixNano": AT_NS}
BODIES = {
    "otlp-spans": {"resourceSpans": [{"resource": RESOURCE, "scopeSpans": [{"spans": [SPAN | TIMES]}]}]},
    "otlp-logs": {
        "resourceLogs": [
            {
                "resource": RESOURCE,
                "scopeLogs": [{"logRecords": [{"timeUnixNano": AT_NS, "body": {"stringValue": "x"}}]}],
            }
        ]
    },
    "otlp-metrics": {
        "resourceMetrics": [
            {"resource": RESOURCE, "scopeMetrics": [{"metrics": [{"name": "g", "gauge": {"dataPoints": [POINT]}}]}]}
        ]
    },
    "prometheus-adapter": {
        "timestamp": "2025-01-01T00:00:00Z",
        "value": "1",
        "name": "g",
        "labels": {"service": PERSON},
    },
    "alertmanager": {
        "version": "4",
        "alerts": [
            {
                "status": "firing",
                "labels": {"alertname": "A", "service": PERSON},
                "startsAt": "2025-08-22T10:50:00Z",
                "fingerprint": "f",
            }
        ],
    },
    "opencost": {
        "code": 200,
        "data": [
            {
                PERSON: {
                    "name": PERSON,
                    "properties": {"namespace": "default", "controllerKind": "deployment", "controller": PERSON},
                    "window": {"start": "2025-08-21T00:00:00Z", "end": "2025-08-22T00:00:00Z"},
                    "totalCost": 1.6,
                }
            }
        ],
    },
}


def entities(format: str, scrubber: Scrubber) -> set[str]:
    decoded = format_of(format, Identity("demo"), scrubber).decode([json.dumps(BODIES[format]).encode()], [0], "in", [])
    return set(decoded.rows["entity"])


@pytest.mark.parametrize("format", BODIES)
def test_one_sender_is_one_entity_in_all_formats(format: str) -> None:
    assert entities(format, Scrubber()) == {f"demo/service/default/{hashed(PERSON)}"}
    assert entities(format, Scrubber(enabled=False)) == {f"demo/service/default/{PERSON}"}
    assert entities(format, Scrubber(off=("email",))) == {f"demo/service/default/{PERSON}"}


def test_two_names_stay_two_and_others_as_they_are() -> None:
    identity = Identity("demo", clean=Scrubber().name)
    assert identity.service(PERSON) != identity.service("jim@example.com")
    assert identity.service("store", "shop") == "demo/service/shop/store"
    assert identity.service("x", "password=hunter2") == f"demo/service/{hashed('password=hunter2')}/x"
    assert Identity("demo").service(PERSON) == f"demo/service/default/{PERSON}"


def test_a_pods_name_is_cleaned_once_its_workload_is_known() -> None:
    identity = Identity("demo", clean=Scrubber().name)
    labels = {"pod": f"{PERSON}-77tk444p6s-x2x9z", "namespace": "shop"}
    assert identity.of_labels(labels) == identity.of_pod(labels["pod"], "shop") == identity.service(PERSON, "shop")


def test_what_an_invisible_character_hid_is_found() -> None:
    assert PERSON not in Identity("demo", clean=Scrubber().name).service("joe@exam\u200bple.com")


def test_overrides_match_what_was_said() -> None:
    identity = Identity("demo", overrides={f"service={PERSON}": "demo/service/shop/joe"}, clean=Scrubber().name)
    assert identity.of_labels({"service": PERSON}) == "demo/service/shop/joe"
