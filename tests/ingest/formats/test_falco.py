"""Findings of Falco, as it and Falcosidekick write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.checks import FORMAT_CHECKS
from ingest.formats.falco import Falco
from ingest.identity import Identity
from ingest.registry import format_of

DEMO = Identity("demo")
SAMPLES = (Path(__file__).parents[2] / "golden/falco/findings.jsonl").read_bytes().splitlines()
FINDING: dict[str, Any] = json.loads(SAMPLES[0])
STORE = "demo/service/shop/store"


def decode(*messages: Any) -> tuple[list[dict[str, Any]], list[Any]]:
    bodies = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in messages]
    decoded = format_of("falco", DEMO).decode(bodies, range(len(bodies)), "in")
    return decoded.rows.to_dicts(), list(decoded.letters)


@pytest.mark.parametrize("check", FORMAT_CHECKS, ids=lambda check: check.__name__)
def test_conforms(check: Any) -> None:
    check(lambda: format_of("falco", Identity("demo")), SAMPLES)


def test_the_samples() -> None:
    rows, letters = decode(*SAMPLES)
    assert not letters
    assert [(row["entity"], row["reason"], row["type"]) for row in rows] == [
        (STORE, "TerminalShellInContainer", "Warning"),
        ("demo/node/-/node-1", "ReadSensitiveFileUntrusted", "Warning"),
        ("demo/service/shop/unattributed", "CreateModifyConfigmapWithPrivateCredentials", "Normal"),
        (STORE, "OutboundConnectionToC2Servers", "Warning"),
    ]
    assert rows[0]["ts_ms"] == 1_685_022_245_478
    assert rows[0]["message"].startswith("Terminal shell in container: 13:44:05.478445995: Critical A shell was")
    assert rows[1]["uid"] == "c5ba4ebc-1ea1-4e6e-9c5b-1d4ea7d9b3ad"


def test_a_repeat_is_recognised_and_another_finding_is_another() -> None:
    rows, _ = decode(FINDING, FINDING, FINDING | {"output": "other"}, FINDING | {"uuid": "u"}, FINDING | {"uuid": "u"})
    first, again, other, one, two = (row["identity"] for row in rows)
    assert first == again != other
    assert one == two != first


@pytest.mark.parametrize("priority", ["Emergency", "Alert", "CRITICAL", "error", "Warning"])
def test_what_is_loud_is_a_warning(priority: str) -> None:
    assert decode(FINDING | {"priority": priority})[0][0]["type"] == "Warning"


@pytest.mark.parametrize("priority", ["Notice", "Informational", "info", "Debug"])
def test_what_is_not_is_normal(priority: str) -> None:
    assert decode(FINDING | {"priority": priority})[0][0]["type"] == "Normal"


@pytest.mark.parametrize(
    ("fields", "entity"),
    [
        ({"k8s.deployment.name": "store", "k8s.ns.name": "shop"}, STORE),
        ({"k8smeta.pod.name": "store-77tk444p6s-2jpfw", "k8smeta.ns.name": "shop"}, STORE),
        ({"container.name": "store"}, "demo/node/-/falco-7nqlz"),
        ({"k8s.pod.name": None, "k8s.ns.name": 7}, "demo/node/-/falco-7nqlz"),
        ({}, "demo/node/-/falco-7nqlz"),
    ],
)
def test_whom_it_is_about(fields: dict[str, Any], entity: str) -> None:
    assert decode(FINDING | {"output_fields": fields})[0][0]["entity"] == entity


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"priority": "Loud"}, "priority is none of Falco's"),
        ({"time": "soon"}, "time is missing"),
        ({"rule": ""}, "no reason"),
        ({"output": 7}, "Expected `str`"),
    ],
)
def test_what_cannot_be_used_is_a_dead_letter(change: dict[str, Any], reason: str) -> None:
    rows, letters = decode(FINDING | change)
    assert not rows
    assert letters[0].reason.startswith(reason)


def test_secrets_do_not_come_through() -> None:
    bad = FINDING | {"priority": "Loud", "output": "curl -H 'Authorization: Bearer hunter2hunter2'"}
    rows, letters = decode(FINDING | {"output": "run mysql --password hunter2", "rule": "token=hunter2"}, bad)
    assert "hunter2" not in str(rows) + str(letters)


def test_an_array_of_findings() -> None:
    rows, letters = decode([FINDING, {}, FINDING | {"output": "other"}])
    assert (len(rows), [letter.rows for letter in letters]) == (2, [1])


json_values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)


@settings(max_examples=80, deadline=None)
@given(st.sampled_from([*FINDING, "uuid"]), json_values, st.dictionaries(st.text(), json_values, max_size=2))
def test_any_field_may_hold_anything(key: str, value: Any, fields: dict[str, Any]) -> None:
    body = json.dumps(FINDING | {"output_fields": FINDING["output_fields"] | fields} | {key: value}).encode()
    decoded = Falco(DEMO).decode([body], [3], "in")
    assert decoded.rows.height + sum(letter.rows for letter in decoded.letters) == 1
