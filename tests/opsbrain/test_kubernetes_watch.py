"""A watch over a scripted cluster and a keep that refuses anywhere: what is handed over, and what a restart knows."""

import json
import logging

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.errors import Retryable
from ingest.identity import Identity
from ingest.registry import format_of
from opsbrain.keep import TooLarge
from opsbrain.pull.kubernetes_api import EVENTS, OBJECTS, Expired
from opsbrain.pull.kubernetes_seen import Seen, Told
from opsbrain.pull.kubernetes_watch import KubernetesWatch

PODS = next(one for one in OBJECTS if one.kind == "Pod")
T0_MS = 1_755_856_800_000


class Cluster:
    """A cluster of pods whose whole history is a script; it forgets versions before `oldest`."""

    def __init__(self):
        self.history = []
        self.oldest = 0
        self.served = 0  # how many lines a watch may still give before its connection breaks

    def write(self, name, uid=None):
        told = "MODIFIED" if self.now().get(name) else "ADDED"
        self.history.append((told, pod(name, uid or f"u-{name}", len(self.history) + 1)))

    def delete(self, name):
        gone = self.now()[name]
        metadata = gone["metadata"] | {"resourceVersion": str(len(self.history) + 1)}
        self.history.append(("DELETED", gone | {"metadata": metadata}))

    def now(self):
        there = {}
        for told, one in self.history:
            there[one["metadata"]["name"]] = None if told == "DELETED" else one
        return {name: one for name, one in there.items() if one}

    def list(self, resource):
        items = [
            {key: value for key, value in one.items() if key not in ("kind", "apiVersion")}
            for one in self.now().values()
        ]
        return items, str(len(self.history))

    def watch(self, resource, version):
        if int(version) < self.oldest:
            raise Expired("gone")
        for told, one in self.history[int(version) :]:
            yield json.dumps({"type": told, "object": one}).encode()

    def close(self):
        pass


class Kept:
    def __init__(self):
        self.bodies = []
        self.refuse_at = None
        self.lose_answer = False

    def keep(self, format, body):
        if self.refuse_at == len(self.bodies):
            self.refuse_at = None
            if self.lose_answer:  # it was kept, but we never learned
                self.bodies.append(body)
            raise Retryable("full", 1.0)
        self.bodies.append(body)

    def rows(self, format="kubernetes-objects"):
        decoded = format_of(format, Identity("demo")).decode(self.bodies, range(len(self.bodies)), "in")
        assert not decoded.letters
        return decoded.rows


class Clock:
    def __init__(self):
        self.ms = T0_MS

    def __call__(self):
        self.ms += 7
        return self.ms


def pod(name, uid, version):
    metadata = {"name": name, "namespace": "shop", "uid": uid, "resourceVersion": str(version)}
    metadata["managedFields"] = [{"manager": "kubelet"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n1"}}


def watch(cluster, path, kept, clock, resource=PODS):
    return KubernetesWatch("test", resource, cluster, Seen(path), kept, clock)


def told(kept):
    found = [json.loads(body) for body in kept.bodies]
    return [(one["type"], one["object"]["metadata"]["name"]) for one in found]


def test_a_list_then_a_watch_then_nothing_twice(tmp_path):
    cluster, kept, clock = Cluster(), Kept(), Clock()
    cluster.write("a")
    one = watch(cluster, tmp_path / "seen", kept, clock)
    one.poll(0)
    cluster.write("a")
    cluster.write("b")
    cluster.delete("a")
    one.poll(0)
    one.poll(0)
    assert told(kept) == [("ADDED", "a"), ("MODIFIED", "a"), ("ADDED", "b"), ("DELETED", "a")]
    assert b"managedFields" not in b"".join(kept.bodies)
    assert all(json.loads(body)["object"]["kind"] == "Pod" for body in kept.bodies)

    watch(cluster, tmp_path / "seen", kept, clock).poll(0)  # a restart
    assert len(kept.bodies) == 4


def test_what_vanished_while_the_cluster_forgot_is_told(tmp_path):
    cluster, kept, clock = Cluster(), Kept(), Clock()
    for name in ("store-78764646b-j82sb", "b", "c"):
        cluster.write(name)
    watch(cluster, tmp_path / "seen", kept, clock).poll(0)
    del kept.bodies[:]
    cluster.delete("store-78764646b-j82sb")
    cluster.write("c")
    cluster.delete("b")
    cluster.write("b", uid="another")
    cluster.oldest = len(cluster.history)
    again = watch(cluster, tmp_path / "seen", kept, clock)
    again.poll(0)  # learns that the version is gone
    again.poll(0)
    gone, fresh = told(kept)[:2], told(kept)[2:]
    assert gone == [("DELETED", "store-78764646b-j82sb"), ("DELETED", "b")]  # before the b that was made again
    assert sorted(fresh) == [("ADDED", "b"), ("ADDED", "c")]
    rows = kept.rows().filter(deleted=True)
    assert rows["entity"][0] == "demo/service/shop/store"


@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["write", "delete", "poll", "forget", "restart"]), st.sampled_from("abc"))
    ),
    refuse_at=st.integers(0, 12),
    lose_answer=st.booleans(),
)
@example(steps=[("write", "a"), ("poll", "a"), ("delete", "a")], refuse_at=0, lose_answer=True)
@settings(max_examples=150)
def test_whatever_breaks_where_each_version_is_one_row_and_the_end_is_known(
    tmp_path_factory, steps, refuse_at, lose_answer
):
    path = tmp_path_factory.mktemp("seen") / "seen"
    cluster, kept, clock = Cluster(), Kept(), Clock()
    kept.refuse_at, kept.lose_answer = refuse_at, lose_answer
    one = watch(cluster, path, kept, clock)

    def poll():
        nonlocal one
        try:
            one.poll(0)
        except Retryable:
            one = watch(cluster, path, kept, clock)  # as after kill -9: nothing is closed

    for step, name in steps:
        if step == "write":
            cluster.write(
                name,
                f"u-{name}-{len(cluster.history)}"
                if name not in cluster.now()
                else cluster.now()[name]["metadata"]["uid"],
            )
        elif step == "delete" and name in cluster.now():
            cluster.delete(name)
        elif step == "poll":
            poll()
        elif step == "forget":
            cluster.oldest = len(cluster.history)
        elif step == "restart":
            one = watch(cluster, path, kept, clock)
    for _ in range(4):
        poll()

    rows = kept.rows()
    assert len({*kept.bodies}) == rows.select("identity", "ts_ms").n_unique(), "one version has two times"
    assert rows.unique(["identity", "ts_ms"])["identity"].n_unique() == len({*kept.bodies}), "one version is two rows"
    last = {}
    for body in kept.bodies:
        found = json.loads(body)
        last[found["object"]["metadata"]["uid"]] = found
    there = {one["metadata"]["uid"]: one["metadata"]["resourceVersion"] for one in cluster.now().values()}
    live = {uid: one["object"]["metadata"]["resourceVersion"] for uid, one in last.items() if one["type"] != "DELETED"}
    assert live == there


def test_events_are_listed_in_their_order_and_their_end_is_no_news(tmp_path):
    cluster, kept = Cluster(), Kept()
    times = {"late": "2025-08-22T10:00:02Z", "early": "2025-08-22T10:00:01Z"}
    for name, at in times.items():
        about = {"kind": "Pod", "namespace": "shop", "name": "store-78764646b-j82sb"}
        event = {"lastTimestamp": at, "reason": "BackOff", "involvedObject": about, "count": 1}
        cluster.history.append(
            ("ADDED", event | {"metadata": pod(name, f"u-{name}", len(cluster.history) + 1)["metadata"]})
        )
    one = watch(cluster, tmp_path / "seen", kept, Clock(), EVENTS)
    one.poll(0)
    cluster.delete("late")
    one.poll(0)
    assert told(kept) == [("ADDED", "early"), ("ADDED", "late")]
    assert kept.rows("kubernetes-events")["entity"].unique().to_list() == ["demo/service/shop/store"]


def test_what_is_too_large_is_named_and_left_out(tmp_path, caplog):
    cluster, kept = Cluster(), Kept()
    cluster.write("huge")
    cluster.write("b")
    keep = kept.keep

    def picky(format, body):
        if b"huge" in body:
            raise TooLarge("2 MB is more than 1 MB")
        keep(format, body)

    kept.keep = picky
    with caplog.at_level(logging.WARNING):
        watch(cluster, tmp_path / "seen", kept, Clock()).poll(0)
    assert told(kept) == [("ADDED", "b")]
    assert "shop/huge" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b'{"type":"ADDED"}',
        b'{"type":1,"object":{}}',
        b'{"type":"ERROR","object":{"code":500}}',
        b"\xff",
    ],
)
def test_what_no_cluster_says_is_tried_again_later(tmp_path, line):
    cluster, kept = Cluster(), Kept()
    cluster.watch = lambda resource, version: iter([line])
    with pytest.raises(Retryable):
        watch(cluster, tmp_path / "seen", kept, Clock()).poll(0)


def test_a_watch_that_ends_with_gone_lists_anew(tmp_path):
    cluster, kept = Cluster(), Kept()
    cluster.watch = lambda resource, version: iter([b'{"type":"ERROR","object":{"kind":"Status","code":410}}'])
    one = watch(cluster, tmp_path / "seen", kept, Clock())
    one.poll(0)
    cluster.write("a")
    one.poll(0)
    assert told(kept) == [("ADDED", "a")]


def test_the_file_survives_a_torn_end_and_is_rewritten_when_most_of_it_is_old(tmp_path, monkeypatch):
    monkeypatch.setattr("opsbrain.pull.kubernetes_seen._SPARE_LINES", 10)
    path = tmp_path / "seen"
    seen = Seen(path)
    seen.open()
    for version in range(100):
        seen.tell([Told("u", str(version), T0_MS)])
        seen.move(str(version))
    assert len(path.read_bytes().splitlines()) < 30
    with path.open("ab") as file:
        file.write(b'["told","x","7",')
    again = Seen(path)
    again.open()
    assert (again.cursor, list(again.known)) == ("99", ["u"])
    assert path.stat().st_mode & 0o777 == 0o600
