"""Incidents as alerts of a Prometheus Alertmanager (POST /api/v2/alerts).

Alertmanager knows an alert by its labels. When an update changes them (another severity, another suspect), the alert
under the old labels is ended in the same request, so that one incident never fires twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from engine.types import Fix, Incident
from engine.values import to_json
from opsbrain.notify.cloudevents import event_id, kind_of
from opsbrain.notify.delivery import Delivery
from opsbrain.notify.post import Poster
from opsbrain.notify.timestamps import rfc3339
from opsbrain.settings import Alertmanager

NAME: Final = "alertmanager"
_MAX_TEXT: Final = 1024


class AlertmanagerNotifier:
    """Tells one Alertmanager; a firing alert is sent again every `refresh_s`, else it counts as resolved there."""

    name = NAME

    def __init__(self, config: Alertmanager) -> None:
        """Reveal the address; raise ConfigError that names the key when it cannot be had."""
        base = config.url.reveal("notify.alertmanager.url").rstrip("/")
        self._poster = Poster(f"{base}/api/v2/alerts", "notify.alertmanager", config.timeout_s)
        self.refresh_ms = config.refresh_s * 1000

    def compose(self, incident: Incident, fixes: Sequence[Fix], previous: bytes | None) -> Delivery | None:
        """Return the alerts of this revision: the incident as it is, and the end of what its old labels had."""
        alerts = [_alert(incident, fixes), *_ended(previous, incident)]
        return Delivery(event_id(incident), self.name, incident.id, kind_of(incident), to_json(alerts))

    def send(self, delivery: Delivery, now_ms: int) -> str:
        """Send it."""
        return self._poster.post(delivery.body, {"content-type": "application/json"}, now_ms)


def _alert(incident: Incident, fixes: Sequence[Fix]) -> dict[str, Any]:
    alert: dict[str, Any] = {
        "labels": _labels(incident),
        "annotations": _annotations(incident, fixes),
        "startsAt": rfc3339(incident.opened_ms),
    }
    if incident.resolved_ms is not None:
        alert["endsAt"] = rfc3339(incident.resolved_ms)
    return alert


def _labels(incident: Incident) -> dict[str, str]:
    suspects = [one.entity for one in incident.ranking.causes[:1]] or list(incident.entities[:1])
    labels = {
        "alertname": "OpsBrainIncident",
        "incident": incident.id,
        "scope": incident.scope,
        "entity": suspects[0] if suspects else "",
        "severity": incident.severity.value,
    }
    return {name: value for name, value in labels.items() if value}


def _annotations(incident: Incident, fixes: Sequence[Fix]) -> dict[str, str]:
    causes = [
        f"{number}. {cause.entity} ({cause.score:.2f}): " + "; ".join(one.text for one in cause.evidence[:3])
        for number, cause in enumerate(incident.ranking.causes[:3], start=1)
    ]
    texts = {
        "summary": incident.title,
        "description": "\n".join(causes) or incident.ranking.abstained or "",
        "fix": "; ".join(f"{fix.title} ({fix.outcome.value})" for fix in fixes[:3]),
    }
    return {name: text[:_MAX_TEXT] for name, text in texts.items() if text}


def _ended(previous: bytes | None, incident: Incident) -> list[dict[str, Any]]:
    """Return the alerts of `previous` that this revision's labels leave behind, with their end."""
    if previous is None:
        return []
    labels = _labels(incident)
    left = [one for one in msgspec.json.decode(previous) if one["labels"] != labels and "endsAt" not in one]
    return [{**one, "endsAt": rfc3339(incident.updated_ms)} for one in left]
