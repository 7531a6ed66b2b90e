"""An Alertmanager posts its webhook: each alert that fires and resolves is one event of the right entity."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request

from tests.parts.processes import eventually, fetch
from tests.parts.programs import Web
from tests.parts.up import Up, up

TOKEN = "hook-token"


def config(receiver: Up) -> dict[str, Any]:
    url = f"{receiver.url}/hooks/alertmanager"
    hook = {"url": url, "http_config": {"authorization": {"credentials": TOKEN}}, "send_resolved": True}
    route = {"receiver": "opsbrain", "group_by": ["alertname"], "group_wait": "0s", "group_interval": "1s"}
    return {"route": route, "receivers": [{"name": "opsbrain", "webhook_configs": [hook]}]}


def post(web: Web, name: str, pod: str, *, ends_at: datetime | None = None) -> None:
    labels = {"alertname": name, "namespace": "shop", "pod": pod, "severity": "critical"}
    alert: dict[str, Any] = {"labels": labels, "annotations": {"summary": f"{name} of {pod}"}}
    if ends_at is not None:
        alert["endsAt"] = ends_at.isoformat()
    fetch(Request(f"{web.url}/api/v2/alerts", json.dumps([alert]).encode(), {"Content-Type": "application/json"}))


def events(receiver: Up) -> list[tuple[str, str, str]]:
    """Return (entity, reason, type) of each event."""
    rows = receiver.rows("alertmanager").select("entity", "reason", "type").iter_rows()
    return sorted((entity, reason, type) for entity, reason, type in rows)


def test_alerts_become_events_once_though_the_receiver_was_killed(
    alertmanager: Callable[..., Web], tmp_path: Path
) -> None:
    with up(tmp_path, {"receivers.hook_token": TOKEN}) as receiver, alertmanager(config(receiver)) as web:
        post(web, "HighLatency", "store-0")
        first = [("demo/service/shop/store", "HighLatency", "Warning")]
        assert eventually(lambda: events(receiver) == first), web.last_words() + receiver.last_words()
        receiver.kill()
        post(web, "OutOfMemory", "checkout-5d8f7c9b6d-x2x4z")
        receiver.again()
        both = sorted([*first, ("demo/service/shop/checkout", "OutOfMemory", "Warning")])
        assert eventually(lambda: events(receiver) == both), web.last_words() + receiver.last_words()
        post(web, "HighLatency", "store-0", ends_at=datetime.now(UTC) - timedelta(seconds=1))
        resolved = sorted([*both, ("demo/service/shop/store", "HighLatencyResolved", "Normal")])
        assert eventually(lambda: events(receiver) == resolved), events(receiver)
        accounts = receiver.sources()["alertmanager"]
        assert accounts["accepted"] == len(resolved) and accounts["dead_lettered"] == 0
        assert TOKEN not in receiver.last_words()
