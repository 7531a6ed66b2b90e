"""Incidents as CloudEvents 1.0 in structured JSON mode (`application/cloudevents+json`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from engine.types import Fix, Incident, Phase
from engine.values import to_json
from opsbrain.notify.payload import incident_data
from opsbrain.notify.timestamps import rfc3339

CONTENT_TYPE: Final = "application/cloudevents+json"
TYPE_PREFIX: Final = "io.opsbrain.incident."


def kind_of(incident: Incident) -> str:
    """Return what this revision tells: "opened" (the first), "resolved" (the last) or "updated"."""
    if incident.phase is Phase.RESOLVED:
        return "resolved"
    return "opened" if incident.revision <= 1 else "updated"


def event_id(incident: Incident) -> str:
    """Return the event's id: the same revision always has the same, so that a receiver recognises a repeat."""
    return f"{incident.id}.{incident.revision}"


def encode_event(incident: Incident, fixes: Sequence[Fix]) -> bytes:
    """Return the body of the event for one revision of an incident; `time` is event time, never the clock's."""
    return to_json(
        {
            "specversion": "1.0",
            "id": event_id(incident),
            "source": f"/opsbrain/{incident.scope}",
            "type": TYPE_PREFIX + kind_of(incident),
            "subject": incident.id,
            "time": rfc3339(incident.updated_ms),
            "datacontenttype": "application/json",
            "data": incident_data(incident, fixes),
        }
    )
