"""Argo CD: what the shipped template sends; the engine of its notifications rendered the golden messages."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ingest.formats.argocd import _Body
from tests.ingest.event_formats import decode, rows

TEMPLATE = Path(__file__).parents[3] / "deploy" / "argocd" / "argocd-notifications-cm.yaml"
BODY = {
    "app": "checkout",
    "namespace": "shop",
    "revision": "7b1f0c2d9e8a",
    "sync": "Synced",
    "health": "Healthy",
    "phase": "Succeeded",
    "startedAt": "2026-08-22T10:00:05Z",
    "finishedAt": "2026-08-22T10:00:12Z",
    "healthSince": "2026-08-22T10:00:41Z",
}
STARTED_MS, FINISHED_MS, HEALTH_MS = 1_787_392_805_000, 1_787_392_812_000, 1_787_392_841_000


@pytest.mark.parametrize(
    ("phase", "health", "expected"),
    [
        ("Running", "Progressing", [("SyncRunning", "Normal", STARTED_MS)]),
        ("Terminating", "Healthy", [("SyncTerminating", "Normal", FINISHED_MS)]),
        ("Succeeded", "Healthy", [("Deployed", "Normal", FINISHED_MS)]),
        ("Succeeded", "Progressing", [("SyncSucceeded", "Normal", FINISHED_MS)]),
        ("Succeeded", "Degraded", [("HealthDegraded", "Warning", HEALTH_MS)]),
        ("Failed", "Healthy", [("SyncFailed", "Warning", FINISHED_MS)]),
        ("Error", "Degraded", [("SyncFailed", "Warning", FINISHED_MS), ("HealthDegraded", "Warning", HEALTH_MS)]),
        (None, "Missing", [("HealthMissing", "Normal", HEALTH_MS)]),
        (None, "Degraded", [("HealthDegraded", "Warning", HEALTH_MS)]),
    ],
)
def test_what_happened_follows_from_phase_and_health(phase: str | None, health: str, expected: list[Any]) -> None:
    found = rows("argocd", BODY | {"phase": phase, "health": health})
    assert [(row["reason"], row["type"], row["ts_ms"]) for row in found] == expected
    assert {row["entity"] for row in found} == {"demo/service/shop/checkout"}


def test_health_without_a_time_is_when_it_came_and_has_no_identity() -> None:
    (row,) = rows("argocd", BODY | {"health": "Degraded", "healthSince": None}, received_ms=[HEALTH_MS])
    assert (row["ts_ms"], row["identity"]) == (HEALTH_MS, 0)


@pytest.mark.parametrize("body", [{}, {"app": ""}, {"app": "x"}, {"app": "x", "phase": "", "health": "Unknown"}])
def test_what_says_nothing_is_refused(body: dict[str, Any]) -> None:
    assert len(decode("argocd", body | {"z": 1}).letters) == 1


def shipped() -> dict[str, str]:
    manifest = yaml.safe_load(TEMPLATE.read_text())
    assert (manifest["kind"], manifest["metadata"]["name"]) == ("ConfigMap", "argocd-notifications-cm")
    return manifest["data"]


def test_the_template_sends_what_the_format_reads() -> None:
    template = yaml.safe_load(shipped()["template.opsbrain"])["webhook"]["opsbrain"]
    assert template["method"] == "POST"
    keys = set(re.findall(r'^ *"(\w+)": \{\{', template["body"], re.MULTILINE))
    assert set(_Body.__struct_fields__) <= keys
    assert all("toJson" in line for line in template["body"].splitlines() if line.strip().startswith('"'))


def test_every_trigger_sends_the_template_and_is_subscribed() -> None:
    data = shipped()
    triggers = {
        key.removeprefix("trigger."): yaml.safe_load(value) for key, value in data.items() if key.startswith("trigger.")
    }
    assert {name.removeprefix("opsbrain-") for name in triggers} == {
        "on-deployed",
        "on-sync-running",
        "on-sync-failed",
        "on-health-degraded",
    }
    assert all(one["send"] == ["opsbrain"] for trigger in triggers.values() for one in trigger)
    (subscription,) = yaml.safe_load(data["subscriptions"])
    assert set(subscription["triggers"]) == set(triggers)
    service = yaml.safe_load(data["service.webhook.opsbrain"])
    assert {"name": "Authorization", "value": "Bearer $opsbrain-token"} in service["headers"]
    assert service["url"].endswith("/hooks/argocd")
