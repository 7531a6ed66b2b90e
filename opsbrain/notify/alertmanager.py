"""Incidents as alerts of a Prometheus Alertmanager (POST /api/v2/alerts).

Alertmanager knows an alert by its labels. When an update changes them (another severity, another suspect), the alert
under the old labels is ended in the same request, so that one incident never fires twice.

An alert that is old news is not marked as such: labels are its identity, annotations would make the body of a repeat
another one, and Alertmanager passes no headers on. It has `startsAt`, which is event time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from engine.notice import Face, Notice, face_of
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

    def compose(self, incident: Incident, notice: Notice) -> Delivery | None:
        """Return the alerts of this revision: the incident as it is, and the end of the one under labels it had."""
        alert = _alert(incident, notice.fixes)
        alerts = [alert, *_ended(alert, incident, notice.before)]
        body = to_json(alerts)
        return Delivery(event_id(incident), self.name, incident.id, kind_of(incident), body, incident.updated_ms)

    def send(self, delivery: Delivery, marks: Mapping[str, str], now_ms: int) -> str:
        """Send it."""
        return self._poster.post(delivery.body, {**marks, "content-type": "application/json"}, now_ms)


def _alert(incident: Incident, fixes: Sequence[Fix]) -> dict[str, Any]:
    alert: dict[str, Any] = {
        "labels": _labels(incident, face_of(incident)),
        "annotations": _annotations(incident, fixes),
        "startsAt": rfc3339(incident.opened_ms),
    }
    if incident.resolved_ms is not None:
        alert["endsAt"] = rfc3339(incident.resolved_ms)
    return alert


def _ended(alert: dict[str, Any], incident: Incident, before: Face | None) -> list[dict[str, Any]]:
    """Return the end of the alert of the revision before, if this revision's labels leave it behind."""
    if before is None or before == face_of(incident):
        return []
    return [{**alert, "labels": _labels(incident, before), "endsAt": rfc3339(incident.updated_ms)}]


def _labels(incident: Incident, face: Face) -> dict[str, str]:
    labels = {
        "alertname": "OpsBrainIncident",
        "incident": incident.id,
        "scope": incident.scope,
        "entity": face.suspect,
        "severity": face.severity.value,
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
