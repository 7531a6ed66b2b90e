"""Log records in every shape that shippers give them: when, whose, what and how bad each is."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path
from typing import Any

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks import FORMAT_CHECKS
from ingest.identity import Identity
from ingest.log_records import level_of, read_record
from ingest.registry import format_of

GOLDEN = Path(__file__).parents[2] / "golden/fluentbit"
DEMO = Identity("demo")
AT_MS = 1_755_856_800_000
STORE, DB, UNKNOWN = "demo/service/shop/store", "demo/node/-/db-1", "demo/service/default/unattributed"
POD = "store-77tk444p6s-2jpfw"
KUBERNETES = {"pod_name": POD, "namespace_name": "shop", "labels": {"app": "store"}, "host": "n1"}
FILE = f"/var/log/containers/{POD}_shop_store-{'3ad7b26d' * 8}.log"

SAMPLES = [
    *(line for file in sorted(GOLDEN.glob("*.jsonl")) for line in file.read_bytes().splitlines()),
    *(file.read_bytes() for file in sorted(GOLDEN.glob("*.json"))),
    *(file.read_bytes() for file in sorted(GOLDEN.glob("*.bin"))),
]


def decode(*messages: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    decoded = format_of("fluentbit", DEMO).decode(bodies, range(len(bodies)), "in")
    return decoded.rows.to_dicts(), list(decoded.letters)


def row(record: Any) -> dict[str, Any]:
    rows, letters = decode(record)
    assert not letters
    assert len(rows) == 1
    return rows[0]


def rows_of(file: str) -> list[tuple[int, str, str, str]]:
    body = (GOLDEN / file).read_bytes()
    rows, letters = decode(*(body.splitlines() if file.endswith(".jsonl") else [body]))
    assert not letters
    return [(one["ts_ms"] - AT_MS, one["entity"], one["severity"], one["body"]) for one in rows]


@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check: Any) -> None:
    check(lambda: format_of("fluentbit", Identity("demo")), SAMPLES)


def test_out_kafka() -> None:
    assert rows_of("out_kafka.jsonl") == [
        (123, STORE, "error", "2025-08-22 10:00:00,123 [main] ERROR c.e.Shop - payment 4711 failed"),
        (1_123, STORE, "info", "GET /cart 200"),
        (2_123, STORE, "info", "GET /cart 200"),
        (3_500, STORE, "warn", '{"level":"warn","msg":"slow","took_ms":812}'),
        (4_500, STORE, "error", "no stock for 17"),
        (5_500, STORE, "info", "order 18 placed"),
        (6_500, STORE, "info", '{"remote_addr":"10.0.0.9","request":"GET /cart HTTP/1.1","status":200}'),
    ]


def test_out_http() -> None:
    assert rows_of("out_http.json") == [
        (123, STORE, "info", "no filter ran"),
        (1_123, STORE, "warn", "WARN java_sql_timestamp"),
        (2_000, STORE, "info", "epoch"),
        (3_123, STORE, "info", "epoch_ms"),
    ]


def test_metadata_that_is_flattened_lifted_or_in_the_tag() -> None:
    assert [(ts, entity) for ts, entity, *_ in rows_of("flattened.jsonl")] == [
        (500, STORE),
        (1_500, STORE),
        (2_500, STORE),
    ]


def test_syslog_gelf_rsyslog_journal_kernel_and_ecs() -> None:
    assert rows_of("hosts.jsonl") == [
        (500, DB, "error", "could not fork"),
        (1_250, DB, "info", "checkpoint complete"),
        (2_250, STORE, "fatal", "out of memory"),
        (3_250, DB, "error", " session closed"),
        (4_250, DB, "info", " session opened"),
        (5_250, DB, "error", "terminating connection"),
        (6_250, DB, "warn", "thermal limit"),
        (7_250, "demo/service/default/store", "error", "boom"),
    ]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("out_kafka_msgpack.bin", [(500, "a map a message")]),
        ("out_http_msgpack.bin", [(123, "line 0"), (1_123, "line 1"), (2_123, "line 2")]),
        ("out_http_msgpack_v2.bin", [(0, "line 0"), (1_000, "line 1")]),
        ("forward.bin", [(0, "one"), (1_000, "two")]),
        ("forward_packed.bin", [(0, "one"), (1_000, "two")]),
    ],
)
def test_message_pack(file: str, expected: list[tuple[int, str]]) -> None:
    found = rows_of(file)
    assert [(ts, body) for ts, _, _, body in found] == expected
    assert {entity for _, entity, *_ in found} == {STORE}


def test_a_compressed_batch() -> None:
    entries = msgpack.packb([1755856800, {"log": "one"}])
    body = msgpack.packb(["app", gzip.compress(entries), {"compressed": "gzip"}])
    assert row(body)["body"] == "one"
    rows, letters = decode(msgpack.packb(["app", gzip.compress(entries)[:-9], {"compressed": "gzip"}]))
    assert (rows, len(letters)) == ([], 1)


# --- Times ---

TIMES = {
    "@timestamp": 1755856800.25,
    "date": "2025-08-22T10:00:00.250000Z",
    "time": "2025-08-22T10:00:00.250000000Z",
    "timestamp": 1755856800250,
    "ts": 1755856800.25,
    "eventTime": 1755856800250999999,
    "@time": 1755856800250999,
    "timereported": "2025-08-22T10:00:00.25",
    "timegenerated": "2025-08-22 10:00:00.250999",
}


@pytest.mark.parametrize(("key", "stamp"), TIMES.items())
def test_a_time_under_any_key_that_is_usual(key: str, stamp: Any) -> None:
    assert row({key: stamp, "log": "x", "kubernetes": KUBERNETES})["ts_ms"] == AT_MS + 250
    assert row({key: stamp, "message": "x", "host": "db-1"})["ts_ms"] == AT_MS + 250


def test_the_first_time_that_can_be_one_counts() -> None:
    assert row({"date": "today", "time": "12 ms", "ts": 1755856800, "log": "x"})["ts_ms"] == AT_MS
    assert (
        row({"@timestamp": {}, "date": [], "time": 1755856800, "log": "x", "kubernetes": KUBERNETES})["ts_ms"] == AT_MS
    )
    assert row({"@timestamp": 1755856800, "time": "2025-08-22T11:00:00Z", "log": "x"})["ts_ms"] == AT_MS


# --- Levels ---


@pytest.mark.parametrize(
    ("said", "severity"),
    [
        *(
            ({"level": number}, word)
            for number, word in enumerate(("fatal", "fatal", "fatal", "error", "warn", "info"))
        ),
        ({"severity": 7}, "debug"),
        ({"level": "3"}, "error"),
        ({"level": 50}, "error"),
        ({"level": 30.0}, "info"),
        ({"level": 55}, "warn"),  # no level, so the text speaks
        ({"level": True}, "warn"),
        ({"level": "gold"}, "warn"),
        ({"pri": "<11>"}, "error"),
        ({"pri": 191}, "debug"),
        ({"pri": "x"}, "warn"),
        ({"priority": 0}, "fatal"),
        ({"PRIORITY": "4"}, "warn"),
        ({"syslogseverity-text": "crit"}, "fatal"),
        ({"log.level": "ERROR"}, "error"),
        ({"@level": "debug"}, "debug"),
        ({}, "warn"),
    ],
)
def test_levels_are_words_or_numbers(said: dict[str, Any], severity: str) -> None:
    assert row({"date": 1755856800, "message": "WARN x", "host": "db-1", **said})["severity"] == severity
    if said.keys() <= {"level", "severity", "log.level"}:
        assert row({"date": 1755856800, "log": "WARN x", "kubernetes": KUBERNETES, **said})["severity"] == severity


@pytest.mark.parametrize("value", [None, True, -1, 8, 0.5, float("nan"), float("inf"), [], {}, "", 1e300])
def test_what_is_no_level(value: Any) -> None:
    assert level_of("level", value) is None


# --- Texts ---


@pytest.mark.parametrize(
    ("said", "body"),
    [
        ({"log": "a", "message": "b"}, "a"),
        ({"log": "", "message": "b"}, "b"),
        ({"log": {"message": "b", "level": "warn"}}, "b"),
        ({"message": 7, "msg": "b"}, "b"),
        ({"event": "b"}, "b"),
        ({"parsed": {"msg": "b"}}, "b"),
        ({"log": ""}, ""),
        ({"method": "GET", "status": 500}, '{"method":"GET","status":500}'),
    ],
)
def test_the_text(said: dict[str, Any], body: str) -> None:
    assert row({"date": 1755856800, "stream": "stdout", "kubernetes": KUBERNETES, **said})["body"] == body


def test_a_record_that_says_nothing_is_a_dead_letter() -> None:
    rows, letters = decode({"@timestamp": 1755856800, "stream": "stdout", "kubernetes": KUBERNETES, "log": None})
    assert not rows
    assert letters[0].reason == "no text under log, message or msg, nor any other key"


def test_colours_are_not_text() -> None:
    found = row({"date": 1755856800, "log": "\x1b[31mERROR\x1b[0m no stock"})
    assert (found["body"], found["severity"]) == ("ERROR no stock", "error")


# --- Senders ---


@pytest.mark.parametrize(
    ("said", "entity"),
    [
        ({"kubernetes": KUBERNETES}, STORE),
        ({"kubernetes": {"pod_name": POD}, "kubernetes_namespace": {"name": "shop"}}, STORE),
        ({"kubernetes": "broken", "host": "db-1"}, DB),
        ({"kubernetes": {"pod_name": 7}}, UNKNOWN),
        ({"kubernetes": {"labels": {"app": "store"}, "namespace_name": "shop"}}, STORE),
        ({"pod_name": POD, "namespace_name": "shop"}, STORE),
        ({"k8s.pod.name": POD, "k8s.namespace.name": "shop"}, STORE),
        ({"path": FILE}, STORE),
        ({"tag": "kube" + FILE.replace("/", ".")}, STORE),
        ({"file": f"/var/log/pods/shop_{POD}_0b1c-9d1e/store/0.log"}, STORE),
        ({"path": "/var/log/syslog", "host": "db-1"}, DB),
        ({"hostname": "db-1"}, DB),
        ({"host": {"name": "db-1"}}, DB),
        ({"host": "db-1", "service": "store", "namespace": "shop"}, STORE),
        ({"service.name": "store", "service.namespace": "shop"}, STORE),
        ({"container_name": "/store", "container_id": "0b1c"}, "demo/service/default/store"),
        ({"_SYSTEMD_UNIT": "store.service"}, "demo/service/default/store"),
        ({}, UNKNOWN),
    ],
)
def test_whose_it_is(said: dict[str, Any], entity: str) -> None:
    assert row({"date": 1755856800, "log": "x", **said})["entity"] == entity


# --- Messages of many records ---

LINE = {"date": 1755856800, "log": "x"}
BAD = {"date": "soon", "log": "bad"}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([LINE, BAD, LINE]).encode(),
        b"\n".join(json.dumps(one).encode() for one in (LINE, BAD, LINE)),
        b"".join(json.dumps(one).encode() for one in (LINE, BAD, LINE)),
        b"".join(msgpack.packb([one["date"], {"log": one["log"]}]) for one in (LINE, BAD, LINE)),
        msgpack.packb(["tag", [[one["date"], {"log": one["log"]}] for one in (LINE, BAD, LINE)]]),
    ],
)
def test_a_bad_record_takes_no_other_along(body: bytes) -> None:
    rows, letters = decode(LINE, body)
    assert [one["offset"] for one in rows] == [0, 1, 1]
    assert [(letter.offset, letter.part, letter.rows) for letter in letters] == [(1, 0, 1)]
    assert "bad" in letters[0].body


def test_many_bad_records_are_few_letters_that_count_them_all() -> None:
    rows, letters = decode([*["a text of no use at all"] * 150_000, LINE])
    assert len(rows) == 1
    assert len(letters) <= 102
    assert sum(letter.rows for letter in letters) == 150_000
    assert len({letter.key for letter in letters}) == len(letters)


def test_compressed_batches_are_undone_within_a_limit_for_them_all() -> None:
    batch = gzip.compress(b"\x92\x00\xc6" + (9 << 20).to_bytes(4, "big") + b" " * (9 << 20))
    rows, letters = decode(msgpack.packb(["app", batch, {"compressed": "gzip"}]) * 50)
    assert not rows
    assert 1 <= len(letters) <= 3, "the second would make it more than 16 MB"


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"\x90",
            b"\x91\x01",
            b"\x80",
            b"\xdc\xff\xff",
            b"\xdf\xff\xff\xff\xff",
            b"\x81\xa1a",
            b"\x92\xa1t\xc4\x01\xc1",
        ),
        *(b"\x91" * 5_000, b"\x81\xa1a" * 5_000 + b"\x01", b"\x82\xa1a\x01\xc1", b"\x92\xc7\xff\x00\x80"),
        msgpack.packb(["t", msgpack.packb(["t", msgpack.packb(["t", b""])])]),
        msgpack.packb([msgpack.ExtType(0, b"\x00" * 7), {"log": "x"}]),
        msgpack.packb([1755856800, {"log": "x"}]) + b"and then noise" * 50,
    ],
)
def test_hostile_message_pack_is_refused(body: bytes) -> None:
    rows, letters = decode(body)
    assert 1 <= len(letters) <= 2
    assert len(rows) <= 1


# --- Promises ---

words = st.sampled_from(["", "x", "password=hunter2", POD, "db-1", FILE, "2025-08-22T10:00:00Z", "3", "ERROR"])
KEYS = (
    *("@timestamp", "date", "time", "log", "message", "msg", "level", "severity", "pri", "kubernetes", "host"),
    *("kubernetes_pod_name", "kubernetes_namespace", "service", "tag", "path", "labels", "pod_name", "namespace_name"),
    "log_processed",
)
keys = st.sampled_from(KEYS)
values = st.recursive(
    words | st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys | words, inner, max_size=4),
    max_leaves=8,
)
records = st.dictionaries(keys | words, values, max_size=6).map(lambda one: {"date": 1755856800, "log": "x"} | one)


@settings(max_examples=150, deadline=None)
@given(st.lists(records, min_size=1, max_size=4))
def test_every_record_is_a_row_or_a_letter_however_they_are_packed(sent: list[dict[str, Any]]) -> None:
    bodies = [json.dumps(one, allow_nan=False, default=str).encode() for one in _finite(sent)]
    rows, letters = decode(*bodies)
    assert len(rows) + sum(letter.rows for letter in letters) == len(sent)
    together, others = decode(b"\n".join(bodies))
    assert [one | {"offset": 0} for one in rows] == together
    assert len(others) == len(letters)
    packed, refused = decode(b"".join(msgpack.packb(one) for one in _finite(sent)))
    assert packed == together
    assert sum(letter.rows for letter in refused) == len(letters)
    assert "hunter2" not in str(rows) + str(letters) + str(refused)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and value - value != 0 else value


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=80) | st.binary(max_size=40).map(lambda tail: b"\x92\xa1t" + tail))
def test_any_bytes_are_accounted_for(body: bytes) -> None:
    rows, letters = decode(body)
    assert rows or letters or b"[" in body or b"\x90" in body or b"\xdc\x00\x00" in body or b"\xff\xff\xff" in body


@given(records)
def test_reading_a_record_never_fails(record: dict[str, Any]) -> None:
    found = read_record(_finite(record), DEMO)
    assert len(found.entity.split("/")) == 4


SECRET = "hunter2hunter2"
PLACES: list[Any] = [
    {"log": "x", "host": f"password={SECRET}"},
    {"log": "x", "kubernetes": {"pod_name": f"token={SECRET}", "namespace_name": f"pwd={SECRET}"}},
    {"log": f"password={SECRET}"},
    {"message": f"Authorization: Bearer {SECRET}", "host": "db-1"},
    {"status": 1, "headers": {"authorization": f"Bearer {SECRET}", "cookie": f"a={SECRET}"}},
    {"status": 1, "password": SECRET},
    {"status": 1, "nested": {"deep": [{"client_secret": SECRET}]}},
    {"log_processed": {"msg": f"token: {SECRET}"}},
    {"log": None, "date": "soon", "password": SECRET},
    {"date": "soon", "log": f"--password {SECRET}", "kubernetes": {"annotations": {"api_key": SECRET}}},
]


@pytest.mark.parametrize("said", PLACES)
def test_a_secret_comes_through_nowhere(said: dict[str, Any]) -> None:
    record = {"date": 1755856800, **said}
    stamp = struct.pack(">II", 1755856800, 0)
    packed = msgpack.packb([msgpack.ExtType(0, stamp), said])
    for body in (json.dumps(record).encode(), packed, json.dumps(record).encode()[:-1], packed[:-1], packed + b"\xc1"):
        rows, letters = decode(body)
        assert rows or letters
        assert SECRET not in str(rows) + str(letters)
