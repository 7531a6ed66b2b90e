"""Kubernetes events and objects, in every form in which a cluster tells them; the samples come from a real one."""

import json

import polars as pl
import pytest

from ingest.identity import Identity
from ingest.registry import format_of
from tests.ingest.golden import golden

DEMO = Identity("demo")
POD = "store-6b5f8dc5b8-8jxgk"
EVENT = {
    "apiVersion": "v1",
    "kind": "Event",
    "metadata": {"name": "p.17", "namespace": "shop", "uid": "u-1", "resourceVersion": "8"},
    "involvedObject": {"kind": "Pod", "namespace": "shop", "name": POD, "uid": "p-1"},
    "reason": "BackOff",
    "message": "Back-off restarting failed container",
    "type": "Warning",
    "firstTimestamp": "2025-08-22T09:00:00Z",
    "lastTimestamp": "2025-08-22T10:00:00Z",
    "count": 5,
}
OBJECT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "store",
        "namespace": "shop",
        "uid": "d-1",
        "resourceVersion": "17",
        "creationTimestamp": "2025-08-22T09:00:00Z",
        "managedFields": [{"time": "2025-08-22T10:00:00Z"}, {"time": "2025-08-22T09:30:00Z"}, "odd"],
    },
}
AT_MS = 1_755_856_800_000


def decode(name, *messages, received_ms=()):
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    return format_of(name, DEMO).decode(bodies, range(len(bodies)), "in", received_ms)


def test_a_watched_event_is_the_event_itself():
    plain = decode("kubernetes-events", EVENT).rows
    watched = decode("kubernetes-events", {"type": "MODIFIED", "object": EVENT}).rows
    exported = decode("kubernetes-event-exporter", EVENT).rows
    assert plain.equals(watched)
    assert plain.equals(exported)
    assert plain.drop("identity").to_dicts() == [
        {
            "ts_ms": AT_MS,
            "offset": 0,
            "entity": "demo/service/shop/store",
            "reason": "BackOff",
            "type": "Warning",
            "message": "Back-off restarting failed container",
            "count": 1,
            "uid": "u-1",
        }
    ]


def test_the_new_api_names_the_same_occurrence():
    new = {
        "apiVersion": "events.k8s.io/v1",
        "metadata": EVENT["metadata"],
        "regarding": EVENT["involvedObject"],
        "note": EVENT["message"],
        "reason": "BackOff",
        "type": "Warning",
        "eventTime": None,
        "deprecatedLastTimestamp": EVENT["lastTimestamp"],
        "deprecatedCount": 5,
    }
    assert decode("kubernetes-events", new).rows.equals(decode("kubernetes-events", EVENT).rows)


def test_an_event_said_once_more_is_another_row_and_the_same_one_is_not():
    again = EVENT | {"count": 6}
    rows = decode("kubernetes-events", EVENT, {"type": "MODIFIED", "object": again}, EVENT).rows
    first, second, third = rows["identity"]
    assert first != second
    assert first == third


def test_a_series_counts_up_too():
    series = [EVENT | {"series": {"count": n, "lastObservedTime": f"2025-08-22T10:00:0{n}.000001Z"}} for n in (1, 2)]
    rows = decode("kubernetes-events", *series).rows
    assert rows["ts_ms"].to_list() == [AT_MS + 1_000, AT_MS + 2_000]
    assert rows["identity"].n_unique() == 2


def test_what_tells_nothing_is_dropped_and_counted():
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Event", "metadata": {"resourceVersion": "9"}}}
    gone = {"type": "DELETED", "object": EVENT}
    decoded = decode("kubernetes-events", bookmark, gone, {"type": "ADDED", "object": EVENT}, bookmark)
    assert decoded.rows["offset"].to_list() == [2]
    assert decoded.dropped == {"bookmark": 2, "deleted event": 1}
    assert not decoded.letters

    decoded = decode("kubernetes-objects", {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {}}})
    assert decoded.rows.is_empty()
    assert decoded.dropped == {"bookmark": 1}


@pytest.mark.parametrize("name", ["kubernetes-events", "kubernetes-objects"])
def test_what_the_api_says_when_a_watch_expired_is_a_dead_letter(name):
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "reason": "Expired",
        "code": 410,
    }
    decoded = decode(name, {"type": "ERROR", "object": status})
    assert decoded.rows.is_empty()
    assert len(decoded.letters) == 1


@pytest.mark.parametrize("missing", ["involvedObject", "reason", "lastTimestamp"])
def test_an_event_that_says_too_little_is_a_dead_letter(missing):
    event = {key: value for key, value in EVENT.items() if key not in (missing, "firstTimestamp")}
    decoded = decode("kubernetes-events", event)
    assert decoded.rows.is_empty()
    assert decoded.letters[0].reason


def test_an_object_is_as_it_was_seen():
    told = {"type": "MODIFIED", "object": OBJECT, "observed_at": "2025-08-22T10:00:01.5Z"}
    rows = decode("kubernetes-objects", told, told | {"type": "DELETED"}).rows
    assert rows["ts_ms"].to_list() == [AT_MS + 1_500] * 2
    assert rows["deleted"].to_list() == [False, True]
    assert rows["entity"].to_list() == ["demo/service/shop/store"] * 2
    assert rows["identity"].n_unique() == 2


def test_without_a_time_of_its_own_an_object_has_that_of_its_message_or_of_its_last_write():
    forms = [OBJECT, {"type": "ADDED", "object": OBJECT}]
    assert decode("kubernetes-objects", *forms, received_ms=[7 + AT_MS, 8 + AT_MS]).rows["ts_ms"].to_list() == [
        AT_MS + 7,
        AT_MS + 8,
    ]
    rows = decode("kubernetes-objects", *forms).rows
    assert rows["ts_ms"].to_list() == [AT_MS] * 2
    assert rows["identity"].n_unique() == 1


def test_a_secret_itself_has_a_type_of_its_own():
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "BOOKMARK",
        "metadata": {"name": "s"},
        "data": {"a": "aHVudGVyMg=="},
    }
    (row,) = decode("kubernetes-objects", secret, received_ms=[AT_MS]).rows.to_dicts()
    assert row["object_kind"] == "Secret"
    assert "aHVudGVyMg" not in row["manifest"]


def test_the_events_of_a_rollout_an_eviction_and_a_lost_node_find_their_entities():
    decoded = decode("kubernetes-events", *golden("kubernetes-events"))
    found = set(decoded.rows.select("reason", "entity").iter_rows())
    store, big = "demo/service/shop/store", "demo/service/shop/big"
    assert found == {
        ("ScalingReplicaSet", store),
        ("SuccessfulCreate", store),
        ("SuccessfulDelete", store),
        ("Scheduled", store),
        ("TaintManagerEviction", store),
        ("FailedScheduling", big),
        ("RemovingNode", "demo/node/-/node-3"),
    }


def test_the_objects_of_a_rollout_are_one_entity():
    decoded = decode("kubernetes-objects", *golden("kubernetes-objects"))
    entities = decoded.rows.group_by("entity").agg(pl.col("object_kind").unique().sort()).sort("entity").rows()
    assert entities == [
        ("demo/node/-/node-2", ["Node"]),
        ("demo/service/shop/store", ["Deployment", "Pod", "ReplicaSet"]),
    ]
